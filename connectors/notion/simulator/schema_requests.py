"""PATCH /data_sources/{id}: what a request changes of a data source's properties."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from connectors.notion.simulator.errors import validation
from connectors.notion.simulator.reading import Fields, Given
from connectors.notion.simulator.records import KINDS, DataSource, Kind, Option, Property, Related, RolledUp, User
from connectors.notion.simulator.schema import add, change_type, configure, keep_title, keep_unique, remove, rename
from connectors.notion.simulator.store import Store
from connectors.notion.simulator.texts import color_of, read_texts

FUNCTIONS = ("count", "sum", "show_original")
"""What is computed here of a rollup."""


def update(store: Store, source: DataSource, body: Given, by: User, at: datetime) -> None:
    """The title, and properties by id or name: null removes, a name renames, a kind sets. All of it or nothing."""
    fields = body.fields("title", "properties", "icon", "in_trash", "archived", "parent")
    name = (
        "".join(piece.content for piece in read_texts(fields["title"], store.settings)) if "title" in fields else None
    )
    in_trash = fields["in_trash"].boolean() if "in_trash" in fields else source.in_trash
    given = fields["properties"].members() if "properties" in fields else {}
    steps = [_planned(store, source, called, one, by, at) for called, one in given.items()]
    source.in_trash = in_trash
    source.name = source.name if name is None else name
    for step in steps:
        step()


def _planned(store: Store, source: DataSource, called: str, given: Given, by: User, at: datetime) -> Callable[[], None]:
    """Raises ApiError where the change makes no sense; what is returned makes it."""
    own = source.find(called)
    if given.value is None:
        gone = _known(own, called)
        keep_title(gone, None)
        return lambda: remove(store, source, gone, by, at)
    fields = given.fields("name", "type", "description", *KINDS)
    kind = next((kind for kind in KINDS if kind in fields), None)
    new = None if kind is None else _read(store, source, kind, fields[kind], own)
    name = fields["name"].text() if "name" in fields else None
    if name is not None:
        keep_unique(source, own, name)
    if new is None:
        found = _known(own, called)
        return lambda: rename(store, source, found, name or called, by, at)
    if own is None:
        keep_title(None, new)
        new.name = name or called
        return lambda: add(store, source, new, by, at)
    changed = own
    keep_title(changed, new)

    def step() -> None:
        if changed.kind == new.kind:
            configure(store, source, changed, new, by, at)
        else:
            change_type(store, source, changed, new, by, at)
        if name is not None:
            rename(store, source, source.properties[changed.id], name, by, at)

    return step


def _known(own: Property | None, called: str) -> Property:
    if own is None:
        raise validation(f"{called} is not a property that exists.")
    return own


def _read(store: Store, source: DataSource, kind: Kind, given: Given, own: Property | None) -> Property:
    """A property's configuration; what it does not say stays where the kind stays."""
    found = Property("", "", kind)
    members = given.members()
    match kind:
        case "select" | "multi_select" | "status" if "options" in members:
            found.options = _options(store, members["options"], own if own and own.kind == kind else None)
        case "number" if "format" in members:
            found.format = members["format"].text()
        case "formula" if "expression" in members:
            found.expression = members["expression"].text()
        case "unique_id" if "prefix" in members and members["prefix"].value is not None:
            found.prefix = members["prefix"].text()
        case "relation":
            found.related = _related(store, given)
        case "rollup":
            found.rolled_up = _rolled_up(store, source, given)
        case _:
            found.options = own.options if own is not None and own.kind == kind else []
    return found


def _options(store: Store, given: Given, own: Property | None) -> list[Option]:
    known = {option.name: option for option in own.options} if own else {}
    found: list[Option] = []
    for one in given.items(100):
        fields = one.fields("id", "name", "color", "description")
        name = fields["name"].text(100)
        found.append(known.get(name) or Option(store.new_id(), name, color_of(fields["color"])))
    return found


def _related(store: Store, given: Given) -> Related:
    id_ = given.fields("data_source_id", "type", "single_property", "dual_property")["data_source_id"].id()
    if id_ not in store.sources:
        raise validation(f"Could not find data_source with ID: {id_}.")
    return Related(id_)


def _rolled_up(store: Store, source: DataSource, given: Given) -> RolledUp:
    fields = given.fields(
        "function", "relation_property_id", "relation_property_name", "rollup_property_id", "rollup_property_name"
    )
    relation_ = source.find(_either(fields, "relation_property"))
    if relation_ is None or relation_.related is None:
        raise validation("A rollup needs a relation of this data source.")
    there = store.sources[relation_.related.data_source].find(_either(fields, "rollup_property"))
    if there is None:
        raise validation("A rollup needs a property of the related data source.")
    return RolledUp(relation_.id, there.id, fields["function"].one_of(*FUNCTIONS))


def _either(fields: Fields, name: str) -> str:
    return fields[f"{name}_id" if f"{name}_id" in fields else f"{name}_name"].text()
