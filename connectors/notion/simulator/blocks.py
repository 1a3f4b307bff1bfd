"""Bodies of pages: read from requests, to the limits of each (Notion: request limits)."""

from __future__ import annotations

from datetime import datetime

from connectors.notion.simulator.errors import Body, validation
from connectors.notion.simulator.reading import Given
from connectors.notion.simulator.records import Block
from connectors.notion.simulator.store import Store
from connectors.notion.simulator.texts import read_texts, show_text

TYPES = (
    "paragraph", "heading_1", "heading_2", "heading_3", "bulleted_list_item", "numbered_list_item", "to_do", "toggle",
    "quote", "callout", "code", "divider", "bookmark", "embed", "image",
)  # fmt: skip
LEVELS = 2


def read_blocks(store: Store, given: Given, by: str, at: datetime) -> list[Block]:
    """At most 100 in a list, two levels, 1,000 in all."""
    found = [_read(store, one, by, at, 1) for one in given.items(store.settings.items)]
    if _count(found) > store.settings.blocks:
        raise Given(_count(found), f"{given.path}.blocks").refuse(f"≤ `{store.settings.blocks}`")
    return found


def _count(blocks: list[Block]) -> int:
    return sum(1 + _count(block.children) for block in blocks)


def _read(store: Store, given: Given, by: str, at: datetime, level: int) -> Block:
    members = given.members()
    type_ = next((name for name in TYPES if name in members), None)
    if type_ is None:
        raise validation(f"body failed validation: {given.path} should be a block with one of {', '.join(TYPES)}.")
    inner = given.fields("object", "type", type_)[type_].members()
    content: Body = {name: one.value for name, one in inner.items() if name != "children"}
    if "rich_text" in inner:
        content["rich_text"] = [show_text(piece) for piece in read_texts(inner["rich_text"], store.settings)]
        content.setdefault("color", "default")
    block = Block(store.new_id(), type_, content, at, by)
    if "children" in inner:
        if level == LEVELS:
            raise inner["children"].refuse("not present")
        block.children = [_read(store, one, by, at, level + 1) for one in inner["children"].items(store.settings.items)]
    return block


def find(blocks: list[Block], id_: str) -> Block | None:
    for block in blocks:
        found = block if block.id == id_ else find(block.children, id_)
        if found is not None:
            return found
    return None


def insert(own: list[Block], new: list[Block], after: str | None) -> None:
    """At the end, or behind a block."""
    if after is None:
        own.extend(new)
        return
    at = next((at for at, block in enumerate(own) if block.id == after), None)
    if at is None:
        raise validation(f"Block with ID {after} is not a child of this block.")
    own[at + 1 : at + 1] = new
