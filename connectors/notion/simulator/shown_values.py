"""Values of properties as answers show them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from connectors.notion.simulator.errors import Body
from connectors.notion.simulator.records import Date, File, Option, Page, Property, Value
from connectors.notion.simulator.store import Store, empty, ids, texts
from connectors.notion.simulator.texts import show_text
from connectors.notion.simulator.times import exact, minute, shown


def partial_user(id_: str) -> Body:
    return {"object": "user", "id": id_}


def value_of(page: Page, own: Property) -> Value:
    """What a property holds, also where the page itself says it."""
    match own.kind:
        case "created_by":
            return page.created_by
        case "last_edited_by":
            return page.edited_by
        case "created_time":
            return minute(page.created_at).isoformat()
        case "last_edited_time":
            return minute(page.edited_at).isoformat()
        case "unique_id":
            return page.number
        case _:
            return page.values.get(own.id, empty(own.kind))


def show_value(store: Store, own: Property, page: Page, value: Value) -> object:
    """What stands under the kind's name."""
    match own.kind:
        case "title" | "rich_text" | "multi_select" | "people" | "relation" | "files":
            return _list(store, own, value)
        case "created_by" | "last_edited_by":
            return partial_user(str(value))
        case "created_time":
            return shown(page.created_at)
        case "last_edited_time":
            return shown(page.edited_at)
        case "rollup":
            return _rollup(store, own, page)
        case _:
            return _one(own, value)


def _list(store: Store, own: Property, value: Value) -> Sequence[object]:
    match own.kind:
        case "multi_select":
            return [show_option(own, id_) for id_ in ids(value)]
        case "people":
            return [partial_user(id_) for id_ in ids(value)]
        case "relation":
            return [{"id": id_} for id_ in ids(value)]
        case "files":
            files = value if isinstance(value, tuple) else ()
            return [_file(store, one) for one in files if isinstance(one, File)]
        case _:
            return [show_text(piece) for piece in texts(value)]


def _one(own: Property, value: Value) -> object:
    match own.kind:
        case "select" | "status":
            return show_option(own, value) if isinstance(value, str) else None
        case "date":
            return show_date(value)
        case "unique_id":
            return {"prefix": own.prefix, "number": value}
        case "formula":
            return _formula(value)
        case _:
            return value


def show_option(own: Property, id_: str) -> Body | None:
    found = next((option for option in own.options if option.id == id_), None)
    return None if found is None else option_body(found)


def option_body(option: Option) -> Body:
    return {"id": option.id, "name": option.name, "color": option.color}


def show_date(value: Value) -> Body | None:
    if not isinstance(value, Date):
        return None
    return {"start": value.start, "end": value.end, "time_zone": value.time_zone}


def _file(store: Store, file: File) -> Body:
    if file.hosted:
        expires = exact(store.clock())
        return {"name": file.name, "type": "file", "file": {"url": file.url, "expiry_time": expires}}
    return {"name": file.name, "type": "external", "external": {"url": file.url}}


def _formula(value: Value) -> Body:
    kind: Literal["boolean", "number", "date", "string"] = "string"
    if isinstance(value, bool):
        kind = "boolean"
    elif isinstance(value, int | float):
        kind = "number"
    elif isinstance(value, Date):
        kind = "date"
    return {"type": kind, kind: show_date(value) if kind == "date" else value}


def _rollup(store: Store, own: Property, page: Page) -> Body:
    """Over at most the first 25 related pages (Notion: property items): how many, a sum, or their values."""
    rolled = own.rolled_up
    if rolled is None:
        return {"type": "unsupported", "unsupported": {}, "function": "count"}
    related = [store.by_id[id_] for id_ in ids(page.values.get(rolled.relation)) if id_ in store.by_id]
    related = related[: store.settings.references]
    found: Body = {"function": rolled.function}
    if rolled.function == "count":
        return found | {"type": "number", "number": len(related)}
    theirs = [(one, store.sources[one.data_source].properties.get(rolled.property)) for one in related]
    if rolled.function == "sum":
        numbers = [value_of(one, their) for one, their in theirs if their is not None]
        total = sum(one for one in numbers if isinstance(one, int | float))
        return found | {"type": "number", "number": total}
    if rolled.function == "show_original":
        shown_ = [
            {"type": their.kind, their.kind: show_value(store, their, one, value_of(one, their))}
            for one, their in theirs
            if their is not None
        ]
        return found | {"type": "array", "array": shown_}
    return found | {"type": "unsupported", "unsupported": {}}
