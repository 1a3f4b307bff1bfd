"""Rows and pages of one entity, both ways; and whether a data source is as the configuration takes it to be. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from connectors.notion.fields import Entity
from connectors.notion.values import LISTS, OPTIONS, PLAIN, READABLE, TEXTS, WRITABLE, CannotHold, Kind
from connectors.service import Reference, Remote, Rows
from schemas.resolution import Fields

MINUTE_US = 60_000_000
"""What is said to have been edited in a minute may have been until its end (Notion: pages)."""
_TEXTUAL = frozenset({"text", "character varying", "character", "uuid", "name"})
_TYPES: Mapping[str, frozenset[str]] = {
    **dict.fromkeys((*TEXTS, *PLAIN, *OPTIONS), _TEXTUAL),
    "number": frozenset({"smallint", "integer", "bigint", "numeric", "real", "double precision"}),
    "checkbox": frozenset({"boolean"}),
    "date": frozenset({"date", "timestamp with time zone", "timestamp without time zone"}),
    "multi_select": frozenset({"text[]", "character varying[]"}),
    **dict.fromkeys(LISTS, _TEXTUAL | {"text[]", "character varying[]"}),
}
"""Of these properties, the types of columns that have the same values; of a relation any that refers to a key."""


@dataclass(frozen=True, slots=True)
class Property:
    """Of a data source's schema. `options` are those of a select or status."""

    id: str
    name: str
    type: str
    options: tuple[str, ...] = ()
    relation: str | None = None
    """The data source whose pages it names."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What is not as the configuration takes it to be; `advice` is what to do about it."""

    table: str
    column: str | None
    sentence: str
    advice: str


@dataclass(frozen=True, slots=True)
class Bound:
    """A column with the property that it was found to be."""

    column: str
    there: Property
    kind: Kind

    @property
    def relation(self) -> str | None:
        return self.kind.field.relation


@dataclass(frozen=True, slots=True)
class EntityMapping:
    """One entity, once its data source's schema is known."""

    entity: Entity
    key: Property
    bound: tuple[Bound, ...]
    written: Mapping[str, Bound] = field(default_factory=dict)
    """Those that are ever written, by column."""

    @property
    def pins(self) -> dict[str, str]:
        """By what the configuration calls them, the ids of the properties."""
        return {self.entity.sync_key: self.key.id} | {one.kind.field.property: one.there.id for one in self.bound}

    def references(self, rows: Iterable[Fields]) -> Iterator[tuple[str, str]]:
        """Tables and key values that rows name."""
        for row in rows:
            for name, one in self.written.items():
                if one.relation is not None and (value := row.get(name)) is not None:
                    yield one.relation, value

    def properties(self, row: Fields, rows: Rows) -> dict[str, Any]:
        """What is sent for these fields, by property id. Raises CannotHold, which names the column."""
        found: dict[str, Any] = {}
        for name, one in self.written.items():
            if name not in row:
                continue
            if one.relation is None:
                found[one.there.id] = {one.there.type: _naming(name, one.kind.written, _json(row[name]))}
            elif (pages := self._pages(one, row[name], rows)) is not None:
                found[one.there.id] = {"relation": [{"id": page} for page in pages]}
        return found

    def _pages(self, one: Bound, value: str | None, rows: Rows) -> Sequence[str] | None:
        """Those that a relation is to name. None: it is left as it is, as its row has no page, and an empty one would
        be told as a person's doing. Where nothing comes back it is emptied: it may name another row still."""
        found = _pages(one, value, rows)
        return () if found is None and not self.entity.both_ways else found

    def shown(self, row: Fields, rows: Rows) -> dict[str, Any]:
        """What these fields hold once they were sent; without what cannot be sent now."""
        found: dict[str, Any] = {}
        for name, one in self.written.items():
            if name not in row:
                continue
            if one.relation is not None:
                if (pages := self._pages(one, row[name], rows)) is not None:
                    found[name] = _json(row[name]) if pages else None
                continue
            try:
                found[name] = one.kind.shown(_json(row[name]))
            except CannotHold:
                found[name] = _json(row[name])  # it is refused when it is sent, with the reason
        return found

    def holds(self, page: Mapping[str, Any]) -> bool:
        """Whether the page is in this data source, and not in another by now."""
        return bare(str(page["parent"].get("data_source_id", ""))) == bare(self.entity.data_source)

    def remote(
        self, page: Mapping[str, Any], full: Mapping[str, Sequence[Any]] | None = None, bot: str | None = None
    ) -> Remote:
        """A page as `connectors.service.Remote`. `full` are the items of properties that the page tells in part, `bot`
        is who we are."""
        by_id = {one["id"]: one for one in page["properties"].values()}
        fields: dict[str, Any] = {}
        untold: dict[str, str] = {}
        for one in self.bound:
            shown = by_id.get(one.there.id)
            if shown is None:
                untold[one.column] = "the page has no such property"
                continue
            value = (full or {}).get(one.there.id, shown.get(shown["type"]))
            try:
                fields[one.column] = self._told(one, str(shown["type"]), value)
            except CannotHold as error:
                untold[one.column] = str(error)
        key = by_id.get(self.key.id)
        text = "" if key is None else "".join(item["plain_text"] for item in key[key["type"]])
        edited = datetime.fromisoformat(page["last_edited_time"])
        author = page.get("last_edited_by") or {}
        latest = round(edited.timestamp()) * 1_000_000 + MINUTE_US
        return Remote(
            page["id"], page["last_edited_time"], fields, text or None, latest,
            gone=bool(page.get("in_trash")), author=author.get("id"), untold=untold,
            created=f"{page['created_time']} {page['id']}", ours=_by(page, "created_by", bot),
            untouched=_by(page, "created_by", bot) and _by(page, "last_edited_by", bot)
            and page["created_time"] == page["last_edited_time"],
        )  # fmt: skip

    def _told(self, one: Bound, type_: str, value: Any) -> Any:
        if type_ != one.there.type:
            raise CannotHold(f"{one.there.name} is of type {type_} by now")
        if one.relation is None:
            return one.kind.told(value)
        if len(value) > 1:
            raise CannotHold(f"{one.there.name} names {len(value)} pages, and the column one")
        return Reference(one.relation, value[0]["id"]) if value else None


def bind(
    entity: Entity, schema: Sequence[Property], sources: Mapping[str, str]
) -> tuple[EntityMapping | None, list[Difference]]:
    """An entity with the properties of its data source, and what is wrong with them. `sources` are the data sources of
    tables. None: without a property for the key nothing can be done."""
    find = _finder(entity, schema)
    key = find(entity.sync_key)
    wrong: list[Difference] = []
    if key is None or key.type != "rich_text":
        what = "there is none" if key is None else f"it is of type {key.type}"
        sentence = f"The property {entity.sync_key} is to hold the key of {entity.table}'s rows, as text: {what}."
        wrong.append(Difference(entity.table, None, sentence, f"Add a text property {entity.sync_key} in Notion."))
    bound: list[Bound] = []
    for one in entity.fields:
        found = find(one.property)
        if found is None:
            sentence = f"Column {one.column} of {entity.table} has no property {one.property} in Notion."
            wrong.append(Difference(entity.table, one.column, sentence, "Add it there, or correct the property's id."))
            continue
        kind = Kind(found.type, entity.types.get(one.column, "text"), one)
        if (why := _misfit(kind, found, sources)) is not None:
            sentence = f"Column {one.column} of {entity.table} does not fit the property {found.name}: {why}."
            wrong.append(
                Difference(entity.table, one.column, sentence, "Change the property's type, or the configuration.")
            )
            continue
        wrong += _missing_options(entity.table, kind, found)
        bound.append(Bound(one.column, found, kind))
    wrong += _twice(entity.table, bound)
    if key is None or key.type != "rich_text":
        return None, wrong
    written = {one.column: one for one in bound if one.kind.field.direction != "in"}
    return EntityMapping(entity, key, tuple(bound), written), wrong


def _finder(entity: Entity, schema: Sequence[Property]) -> Callable[[str], Property | None]:
    """By id, as the property that once had that name, or as the one that has it now."""
    by_id, by_name = {one.id: one for one in schema}, {one.name: one for one in schema}

    def find(named: str) -> Property | None:
        return by_id.get(named) or by_id.get(entity.pinned.get(named, "")) or by_name.get(named)

    return find


def _misfit(kind: Kind, found: Property, sources: Mapping[str, str]) -> str | None:
    reads = kind.field.direction == "in"
    if found.type not in WRITABLE:
        return None if reads and found.type in READABLE else f"a {found.type} cannot be written"
    if kind.field.relation is not None:
        if found.type != "relation":
            return f"it is of type {found.type}, and the field names a relation"
        wanted = sources.get(kind.field.relation)
        same = found.relation is None or wanted is None or bare(found.relation) == bare(wanted)
        return None if same else f"it names pages of another data source than that of {kind.field.relation}"
    if found.type == "relation":
        return "it is a relation, and the field does not say of which entity"
    types = _TYPES.get(found.type)
    if types is not None and kind.column not in types:
        return f"it is of type {found.type}, and the column of type {kind.column}"
    return None


def _missing_options(table: str, kind: Kind, found: Property) -> Iterator[Difference]:
    """A status with a name that is not there is refused; a select would get a new option (Notion: property values)."""
    for value, option in kind.field.options.items():
        if option not in found.options and found.type in ("status", "select", "multi_select"):
            sentence = f"The property {found.name} has no option {option}, which {value} stands for."
            yield Difference(table, kind.field.column, sentence, "Add the option in Notion, or correct options.")
    values: dict[str, str] = {}
    for value, option in kind.field.options.items():
        if (first := values.setdefault(option, value)) != value:
            sentence = f"Options of column {kind.field.column} of {table} say {option} of both {first} and {value}."
            yield Difference(table, kind.field.column, sentence, "Give each value a name of its own.")
    if found.type in ("people", "created_by", "last_edited_by"):
        for value, id_ in kind.field.options.items():
            if not _is_id(id_):
                sentence = (
                    f"Options of column {kind.field.column} of {table}: {id_}, for {value}, is no id of a person."
                )
                yield Difference(table, kind.field.column, sentence, "Name people by the ids that Notion has of them.")


def _twice(table: str, bound: Sequence[Bound]) -> Iterator[Difference]:
    columns: dict[str, str] = {}
    for one in bound:
        if (first := columns.setdefault(one.there.id, one.column)) != one.column:
            sentence = f"Columns {first} and {one.column} of {table} are the same property {one.there.name}."
            yield Difference(table, one.column, sentence, "Give each its own property.")


def _pages(one: Bound, value: str | None, rows: Rows) -> list[str] | None:
    """None: the row that it names has no page."""
    if value is None:
        return []
    assert one.relation is not None
    page = rows.get((one.relation, value))
    return None if page is None else [page]


def _json(text: str | None) -> Any:
    """A canonical value; numbers keep their digits."""
    return None if text is None else json.loads(text, parse_float=Decimal)


def _naming(column: str, write: Any, value: Any) -> Any:
    try:
        return write(value)
    except CannotHold as error:
        raise CannotHold(f"{column}: {error}") from None


def _is_id(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def _by(page: Mapping[str, Any], what: str, bot: str | None) -> bool:
    return bot is not None and (page.get(what) or {}).get("id") == bot


def bare(id_: str) -> str:
    """An id as it is compared: with dashes or without, it is the same."""
    return id_.replace("-", "").lower()
