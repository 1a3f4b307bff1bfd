"""The properties of data sources: described, shown, and changed by requests or people."""

from __future__ import annotations

from datetime import datetime

from connectors.notion.simulator.converting import convert
from connectors.notion.simulator.errors import Body, validation
from connectors.notion.simulator.records import (
    DataSource,
    Kind,
    Option,
    Property,
    Related,
    RichText,
    User,
)
from connectors.notion.simulator.showing import address
from connectors.notion.simulator.shown_values import option_body, partial_user
from connectors.notion.simulator.store import Happened, Store, ids
from connectors.notion.simulator.texts import show_text
from connectors.notion.simulator.times import shown


def of(kind: Kind, *options: str) -> Property:
    """A property for `Store.add_database`; its id and its name come there."""
    return Property("", "", kind, [Option("", name) for name in options])


def relation(to: DataSource) -> Property:
    return Property("", "", "relation", related=Related(to.id))


def relate_both_ways(store: Store, one: DataSource, name: str, other: DataSource, back: str) -> None:
    """A relation that both data sources show."""
    there = Property("", name, "relation", related=Related(other.id))
    here = Property("", back, "relation", related=Related(one.id))
    with store.lock:
        store.add_property(one, there)
        store.add_property(other, here)
        there.related, here.related = Related(other.id, here.id), Related(one.id, there.id)


def show_source(store: Store, source: DataSource) -> Body:
    properties: Body = {own.name: _show(store, source, own) for own in source.properties.values()}
    return {
        "object": "data_source",
        "id": source.id,
        "title": [show_text(RichText(source.name))],
        "description": [],
        "parent": {"type": "database_id", "database_id": source.database},
        "database_parent": {"type": "workspace", "workspace": True},
        "is_inline": False,
        "in_trash": source.in_trash,
        "archived": source.in_trash,
        "created_time": shown(source.created_at),
        "last_edited_time": shown(source.edited_at),
        "created_by": partial_user(source.created_by),
        "last_edited_by": partial_user(source.created_by),
        "properties": properties,
        "icon": None,
        "cover": None,
        "url": address(source.database),
        "public_url": None,
    }


def _show(store: Store, source: DataSource, own: Property) -> Body:
    found: Body = {"id": own.id, "name": own.name, "description": None, "type": own.kind}
    return found | {own.kind: _configuration(store, source, own)}


def _configuration(store: Store, source: DataSource, own: Property) -> Body:
    options: list[Body] = [option_body(option) | {"description": None} for option in own.options]
    match own.kind:
        case "select" | "multi_select":
            return {"options": options}
        case "status":
            group: Body = {"id": own.id, "name": "To-do", "color": "gray"}
            return {"options": options, "groups": [group | {"option_ids": [option.id for option in own.options]}]}
        case "number":
            return {"format": own.format}
        case "unique_id":
            return {"prefix": own.prefix}
        case "formula":
            return {"expression": own.expression}
        case "relation":
            return _relation(store, own)
        case "rollup":
            return _rollup(store, source, own)
        case _:
            return {}


def _relation(store: Store, own: Property) -> Body:
    related = own.related
    if related is None:
        raise ValueError(f"{own.name} leads nowhere")
    there = store.sources[related.data_source]
    found: Body = {"data_source_id": there.id, "database_id": there.database}
    if related.synced is None:
        return found | {"type": "single_property", "single_property": {}}
    synced = there.properties[related.synced]
    return found | {
        "type": "dual_property",
        "dual_property": {"synced_property_id": synced.id, "synced_property_name": synced.name},
    }


def _rollup(store: Store, source: DataSource, own: Property) -> Body:
    rolled = own.rolled_up
    relation_ = source.properties.get(rolled.relation) if rolled else None
    if rolled is None or relation_ is None or relation_.related is None:
        raise ValueError(f"{own.name} rolls up nothing")
    there = store.sources[relation_.related.data_source].properties.get(rolled.property)
    return {
        "function": rolled.function,
        "relation_property_id": relation_.id,
        "relation_property_name": relation_.name,
        "rollup_property_id": rolled.property,
        "rollup_property_name": there.name if there else "",
    }


def keep_unique(source: DataSource, own: Property | None, name: str) -> None:
    if any(other.name == name and other is not own for other in source.properties.values()):
        raise validation(f"{name} is already a property of this data source.")


def keep_title(old: Property | None, new: Property | None) -> None:
    """A data source has one title from its start, which stays it."""
    if (old is not None and old.kind == "title") != (new is not None and new.kind == "title"):
        raise validation("A data source has one title property, which stays it.")


def rename(store: Store, source: DataSource, own: Property, name: str, by: User, at: datetime) -> None:
    """The id stays (Notion: data sources)."""
    keep_unique(source, own, name)
    own.name = name
    _changed(store, source, by, at)


def configure(store: Store, source: DataSource, own: Property, new: Property, by: User, at: datetime) -> None:
    """Of the same kind, with other options or another format. Options that go leave the pages, too."""
    kept = {option.id for option in new.options}
    gone = {option.id for option in own.options} - kept
    for page in store.by_source[source.id].values() if gone else ():
        value = page.values.get(own.id)
        if isinstance(value, str) and value in gone:
            page.values[own.id] = None
        elif isinstance(value, tuple):
            page.values[own.id] = tuple(id_ for id_ in ids(value) if id_ not in gone)
    _single(store, own)
    new.id, new.name = own.id, own.name
    source.properties[own.id] = new
    _changed(store, source, by, at)


def change_type(store: Store, source: DataSource, own: Property, new: Property, by: User, at: datetime) -> None:
    """The id and the name stay; values that say nothing in the new type are lost."""
    keep_title(own, new)
    _single(store, own)
    new.id, new.name = own.id, own.name
    for option in new.options:
        option.id = option.id or store.new_id()
    for page in store.by_source[source.id].values():
        for one in (page, *(old for _, old in page.past if old is not None)):
            one.values[own.id] = convert(store, own, new, one.values.get(own.id))
    source.properties[own.id] = new
    _changed(store, source, by, at)


def remove(store: Store, source: DataSource, own: Property, by: User, at: datetime) -> None:
    keep_title(own, None)
    _single(store, own)
    del source.properties[own.id]
    for page in store.by_source[source.id].values():
        page.values.pop(own.id, None)
    _changed(store, source, by, at)


def _single(store: Store, own: Property) -> None:
    """A relation that both sides showed is shown by the other one alone from now on."""
    if own.related is not None and own.related.synced is not None:
        other = store.sources[own.related.data_source].properties[own.related.synced]
        other.related = other.related and Related(other.related.data_source)


def add(store: Store, source: DataSource, own: Property, by: User, at: datetime) -> None:
    store.add_property(source, own)
    _changed(store, source, by, at)


def _changed(store: Store, source: DataSource, by: User, at: datetime) -> None:
    source.edited_at = at
    store.tell(Happened("data_source.schema_updated", source.id, by, at))
