"""GET /pages/{id}/properties/{property}: values in full, page by page (Notion: property items)."""

from __future__ import annotations

from connectors.notion.simulator.errors import Body, validation
from connectors.notion.simulator.records import PAGED, Page, Property
from connectors.notion.simulator.shown_values import partial_user, show_value, value_of
from connectors.notion.simulator.store import Store, ids, texts
from connectors.notion.simulator.texts import show_text


def property_item(store: Store, page: Page, given: str, size: int, cursor: str | None) -> Body:
    own = store.sources[page.data_source].find(given)
    if own is None:
        raise validation(f"{given} is not a property that exists.")
    value = value_of(page, own)
    if own.kind not in PAGED:
        item: Body = {"object": "property_item", "id": own.id, "type": own.kind}
        return item | {own.kind: show_value(store, own, page, value)}
    items = _items(page, own)
    at = _start(cursor, len(items))
    rest = len(items) > at + size
    next_cursor = str(at + size) if rest else None
    next_url = f"/v1/pages/{page.id}/properties/{own.id}?start_cursor={next_cursor}" if rest else None
    results: list[Body] = [
        {"object": "property_item", "id": own.id, "type": own.kind, own.kind: one} for one in items[at : at + size]
    ]
    return {
        "object": "list",
        "results": results,
        "next_cursor": next_cursor,
        "has_more": rest,
        "type": "property_item",
        "property_item": {"id": own.id, "next_url": next_url, "type": own.kind, own.kind: {}},
    }


def _items(page: Page, own: Property) -> list[Body]:
    value = value_of(page, own)
    match own.kind:
        case "relation":
            return [{"id": id_} for id_ in ids(value)]
        case "people":
            return [partial_user(id_) for id_ in ids(value)]
        case _:
            return [show_text(piece) for piece in texts(value)]


def _start(cursor: str | None, most: int) -> int:
    if cursor is None:
        return 0
    if not cursor.isdecimal() or int(cursor) > most:
        raise validation(f"The start_cursor provided is invalid: {cursor}")
    return int(cursor)
