"""Pages, users, databases and values as answers show them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from connectors.notion.simulator.errors import Body
from connectors.notion.simulator.records import (
    PAGED,
    Block,
    Connection,
    Database,
    Page,
    Property,
    RichText,
    User,
)
from connectors.notion.simulator.shown_values import partial_user, show_value, value_of
from connectors.notion.simulator.store import Store, ids, texts
from connectors.notion.simulator.texts import cut, show_text
from connectors.notion.simulator.times import shown

HOSTED_FOR = 3600


def show_user(user: User, workspace: User) -> Body:
    found: Body = {"object": "user", "id": user.id, "name": user.name, "avatar_url": None, "type": user.type}
    if user.type == "person":
        return found | {"person": {"email": user.email}}
    bot: Body = {
        "owner": {"type": "workspace", "workspace": True},
        "workspace_id": workspace.id,
        "workspace_name": workspace.name,
        "workspace_limits": {"max_file_upload_size_in_bytes": 5 << 20},
    }
    return found | {"bot": bot}


def show_database(store: Store, database: Database) -> Body:
    sources: list[Body] = [{"id": id_, "name": store.sources[id_].name} for id_ in database.data_sources]
    return {
        "object": "database",
        "id": database.id,
        "title": [show_text(RichText(database.title))],
        "description": [],
        "parent": {"type": "workspace", "workspace": True},
        "is_inline": False,
        "in_trash": False,
        "archived": False,
        "is_locked": False,
        "created_time": shown(database.created_at),
        "last_edited_time": shown(database.created_at),
        "data_sources": sources,
        "icon": None,
        "cover": None,
        "url": address(database.id),
        "public_url": None,
    }


def address(id_: str) -> str:
    return f"https://www.notion.so/{id_.replace('-', '')}"


def show_page(store: Store, page: Page, only: Collection[str] = ()) -> Body:
    """`only` are the ids of the properties that were asked for, none for all."""
    source = store.sources[page.data_source]
    properties: Body = {
        own.name: show_property(store, page, own) for own in source.properties.values() if not only or own.id in only
    }
    return {
        "object": "page",
        "id": page.id,
        "created_time": shown(page.created_at),
        "last_edited_time": shown(page.edited_at),
        "created_by": partial_user(page.created_by),
        "last_edited_by": partial_user(page.edited_by),
        "cover": None,
        "icon": None,
        "parent": {"type": "data_source_id", "data_source_id": source.id, "database_id": source.database},
        "archived": page.in_trash,
        "in_trash": page.in_trash,
        "is_archived": False,
        "is_locked": page.locked,
        "properties": properties,
        "url": address(page.id),
        "public_url": None,
    }


def show_property(store: Store, page: Page, own: Property) -> Body:
    """Notion, property items: only the first 25 of what is long."""
    value = value_of(page, own)
    most = store.settings.references
    found: Body = {"id": own.id, "type": own.kind}
    if own.kind == "relation" and store.settings.relation_tells_more:
        found["has_more"] = len(ids(value)) > most
    if own.kind in ("title", "rich_text"):
        value = tuple(cut(texts(value), store.settings))
    elif own.kind in PAGED:
        value = ids(value)[:most]
    return found | {own.kind: show_value(store, own, page, value)}


def show_block(block: Block, page: Page) -> Body:
    return {
        "object": "block",
        "id": block.id,
        "parent": {"type": "page_id", "page_id": page.id},
        "created_time": shown(block.created_at),
        "last_edited_time": shown(block.created_at),
        "created_by": partial_user(block.created_by),
        "last_edited_by": partial_user(block.created_by),
        "has_children": bool(block.children),
        "in_trash": False,
        "type": block.type,
        block.type: block.content,
    }


def listing(results: Sequence[Body], next_cursor: str | None, kind: str, **more: object) -> Body:
    """A page of results, as every paginated answer has it."""
    return {
        "object": "list",
        "results": list(results),
        "next_cursor": next_cursor,
        "has_more": next_cursor is not None,
        "type": kind,
        **more,
    }


def show_me(connection: Connection, workspace: User) -> Body:
    return show_user(connection.bot, workspace)
