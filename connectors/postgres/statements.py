"""The target's tables as the catalogue describes them, and the set-based statements that write them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from typing import Any, Protocol

import psycopg
from psycopg import sql

from connectors.base_type import base_type
from connectors.contract import Routing
from connectors.errors import OperatorError, TableUnfit
from connectors.postgres import literals
from connectors.postgres.literals import Element
from connectors.postgres.parents import ForeignKey, read_foreign_keys
from connectors.postgres.rows import WITHHELD, Columns
from connectors.route.masks import Drop, Masking, constant_text, masking

_COLUMNS = f"""
SELECT attname::text, format_type(atttypid, -1), CASE base.oid WHEN 17 THEN 17 ELSE atttypid END::bigint,
       CASE typcategory WHEN 'A' THEN typelem ELSE 0 END::bigint, attgenerated <> '', attidentity = 'a',
       attnotnull AND (atthasdef OR attidentity <> '') AND attgenerated = ''
FROM pg_attribute, LATERAL {base_type("atttypid")} AS base
WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
_FIND = """
SELECT c.oid, relkind = 'p' FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE nspname = %s AND relname = %s AND relkind IN ('r', 'p')
"""
_DEFERRABLE = "SELECT EXISTS (SELECT FROM pg_constraint WHERE condeferrable AND conrelid = ANY (%s))"
_SCALARS: Mapping[int, Element] = {17: literals.bytea, 114: literals.json, 3802: literals.json}


@dataclass(frozen=True, slots=True)
class TargetColumn:
    """`type` is for a cast: with its schema, without length or precision, which a cast would cut to in silence.

    `name` is the target's; `element` masks the value where the route says so. `filled` must not be null, and is not
    where an insert does not name it.
    """

    name: str
    type: str
    element: Element
    generated: bool
    always: bool
    filled: bool = False


@dataclass(frozen=True, slots=True)
class Statement:
    """Text with one `text[]` parameter per column, and how each column's values become array elements."""

    text: str
    columns: tuple[str, ...]
    elements: tuple[Element, ...]


class TwoWayStatements(Protocol):
    """Statements about a table that goes both ways; see `connectors.postgres.two_way.canonical`."""

    def add(self, key: Sequence[str], names: Sequence[str]) -> str: ...
    def change(self, key: Sequence[str], names: Sequence[str]) -> str: ...
    def remove(self, key: Sequence[str]) -> str: ...
    def referred(self, key: Sequence[str]) -> str: ...
    def document(self, columns: Columns) -> bytes: ...


@dataclass
class TargetTable:
    """One routed table. `name` and the names of `columns` are the source's; `rank` puts parents before children."""

    name: str
    target: str
    routing: Routing
    columns: Mapping[str, TargetColumn]
    rank: int
    constants: Sequence[tuple[str, str]] = ()
    """What else is written into a row: the target's column and its value, quoted both."""
    partitioned: bool = False
    foreign_keys: Sequence[ForeignKey] = ()
    two_way: TwoWayStatements | None = None
    _statements: dict[tuple[str, tuple[str, ...], tuple[str, ...]], Statement] = field(default_factory=dict)

    @cached_property
    def quoted(self) -> str:
        return _quoted(*(self.routing.table or self.name).split(".", 1))

    @cached_property
    def only(self) -> str:
        """The table without those that inherit from it, whose rows are not its own; with its partitions, if any."""
        return self.quoted if self.partitioned else f"ONLY {self.quoted}"

    @property
    def arbiter(self) -> tuple[str, ...]:
        """The target's columns by which rows were upserted last, quoted; none before the first one was."""
        keys = [key for kind, key, _ in self._statements if kind == "upsert"]
        return tuple(map(self._name, keys[-1])) if keys else ()

    def upsert(self, key: tuple[str, ...], sent: tuple[str, ...]) -> Statement:
        """Insert whole rows, or write over those that are there. Parameters: the columns that are written."""
        return self._cached("upsert", key, sent)

    def update(self, key: tuple[str, ...], sent: tuple[str, ...]) -> Statement:
        """Set columns of rows that are there. Parameters: the key, then the columns; returns numbers from 1."""
        return self._cached("update", key, sent)

    def move(self, key: tuple[str, ...], sent: tuple[str, ...]) -> Statement:
        """As `update`, and the key itself is set too. Parameters: the old key, then the columns."""
        return self._cached("move", key, sent)

    def delete(self, key: tuple[str, ...]) -> Statement:
        """Delete rows. Parameters: the key."""
        return self._cached("delete", key, ())

    def present(self, key: tuple[str, ...]) -> Statement:
        """Count rows that are there. Parameters: the key."""
        return self._cached("present", key, ())

    def _cached(self, kind: str, key: tuple[str, ...], sent: tuple[str, ...]) -> Statement:
        found = self._statements.get((kind, key, sent))
        if found is None:
            found = self._statements[kind, key, sent] = self._build(kind, key, sent)
        return found

    def _build(self, kind: str, key: tuple[str, ...], sent: tuple[str, ...]) -> Statement:
        written = [name for name in sent if self._is_written(name, name in key)]
        if kind == "upsert":
            return self._upsert(key, written)
        parameters = [*key, *([] if kind in ("delete", "present") else written)]
        matched = " AND ".join(f"t.{self._name(name)} = {self._cast(name, at)}" for at, name in enumerate(key))
        if kind in ("delete", "present"):
            verb = f"DELETE FROM {self.only} AS t USING" if kind == "delete" else f"SELECT count(*) FROM {self.only} t,"
            return self._statement(f"{verb} {_rows(len(parameters))} WHERE {matched}", parameters)
        assigned = [
            f"{self._name(name)} = {self._cast(name, at)}"
            for at, name in enumerate(written, len(key))
            if kind == "move" or name not in key
        ] or [f"{self._name(key[0])} = t.{self._name(key[0])}"]
        text = (
            f"UPDATE {self.only} AS t SET {', '.join(assigned)} FROM {_rows(len(parameters))}"
            f" WHERE {matched} RETURNING v.n"
        )
        return self._statement(text, parameters)

    def _upsert(self, key: tuple[str, ...], written: Sequence[str]) -> Statement:
        fixed = dict(self.constants)
        names = ", ".join([*map(self._name, written), *fixed])
        values = ", ".join([*(self._cast(name, at) for at, name in enumerate(written)), *fixed.values()])
        kept = [self._name(name) for name in written if name not in key] + list(fixed) or [self._name(key[0])]
        text = (
            f"INSERT INTO {self.quoted} ({names}) OVERRIDING SYSTEM VALUE SELECT {values} FROM {_rows(len(written))}"
            f" ON CONFLICT ({', '.join(map(self._name, key))})"
            f" DO UPDATE SET {', '.join(f'{name} = EXCLUDED.{name}' for name in kept)}"
        )
        return self._statement(text, written)

    def _statement(self, text: str, parameters: Sequence[str]) -> Statement:
        return Statement(text, tuple(parameters), tuple(self.columns[name].element for name in parameters))

    def _name(self, name: str) -> str:
        return _quoted(self.columns[name].name)

    def _cast(self, name: str, at: int) -> str:
        return f"v.c{at}::{self.columns[name].type.replace('%', '%%')}"

    def _is_written(self, name: str, in_key: bool) -> bool:
        if (self.routing.leaves_out(name) and not in_key) or self.routing.renamed(name) in self.routing.constants:
            return False
        column = self.columns.get(name)
        setting = f"targets.{self.target}.tables.{self.name}.local"
        if column is None:
            raise TableUnfit(
                self.name,
                f"{self.name} of target {self.target} has no column {self.routing.renamed(name)},"
                " which the source sends.",
                f"Add it there as placemat init says, or name it under {setting}.",
            )
        if column.always and not in_key:
            raise TableUnfit(
                self.name,
                f"Column {name} of {self.name} in target {self.target} is GENERATED ALWAYS and cannot be set.",
                f"There run: ALTER TABLE {self.quoted} ALTER {self._name(name)} SET GENERATED BY DEFAULT;"
                f" or name it under {setting}.",
            )
        return not column.generated


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The routed tables by name, whether any of their constraints is checked late, and which tables are not there."""

    tables: Mapping[str, TargetTable]
    deferrable: bool
    missing: frozenset[str] = frozenset()

    def layout(self, table: str) -> dict[str, tuple[object, ...]]:
        """What statements are built from; nothing of a table that is not there."""
        columns = self.tables[table].columns if table in self.tables else {}
        return {name: (one.name, one.type, one.generated, one.always, one.filled) for name, one in columns.items()}


def read_catalogue(connection: psycopg.Connection[Any], target: str, routes: Mapping[str, Routing]) -> Catalogue:
    """Read what the routed tables look like."""
    oids: dict[str, int] = {}
    partitioned: dict[str, bool] = {}
    for name, routing in routes.items():
        relation = routing.table or name
        if (found := connection.execute(_FIND, relation.split(".", 1)).fetchone()) is not None:
            oids[name], partitioned[name] = found
    foreign_keys = read_foreign_keys(connection, oids, routes)
    order = _order(foreign_keys)
    deferrable = connection.execute(_DEFERRABLE, [list(oids.values())]).fetchone()
    tables = {}
    for name in oids:
        routing = routes[name]
        columns = _columns(connection, oids[name])
        tables[name] = TargetTable(
            name, target, routing, _routed(columns, routing), order[name],
            _constants(columns, routing, name, target), partitioned[name], foreign_keys[name],
        )  # fmt: skip
    return Catalogue(tables, bool(deferrable and deferrable[0]), frozenset(routes.keys() - oids.keys()))


def _columns(connection: psycopg.Connection[Any], oid: int) -> dict[str, TargetColumn]:
    columns = {}
    for name, type_, type_oid, element_oid, generated, always, filled in connection.execute(_COLUMNS, [oid]):
        element = _SCALARS.get(element_oid or type_oid, literals.plain)
        element = literals.array_of(element) if element_oid else element
        columns[name] = TargetColumn(name, type_, element, generated, always, filled)
    return columns


def _routed(columns: Mapping[str, TargetColumn], routing: Routing) -> dict[str, TargetColumn]:
    """Columns by the source's names."""
    routed = {}
    for column in columns.values():
        name = routing.origin(column.name)
        mask = routing.masks.get(name)
        if mask is not None and not isinstance(mask, Drop):
            column = replace(column, element=_masked(column.element, masking(mask)))
        routed[name] = column
    return routed


def _masked(element: Element, mask: Masking) -> Element:
    return lambda raw: element(raw[1:] if raw[:1] == WITHHELD else mask(raw))


def _constants(columns: Mapping[str, TargetColumn], routing: Routing, name: str, target: str) -> list[tuple[str, str]]:
    found = []
    for column, value in routing.constants.items():
        if column not in columns:
            raise OperatorError(
                f"{routing.table or name} of target {target} has no column {column}.",
                f"Correct targets.{target}.tables.{name}.constants, or add the column there.",
            )
        text = sql.Literal(constant_text(value)).as_string().replace("%", "%%")
        found.append((_quoted(column), f"{text}::{columns[column].type.replace('%', '%%')}"))
    return found


def _order(foreign_keys: Mapping[str, Sequence[ForeignKey]]) -> dict[str, int]:
    """Parents first; where tables refer to each other in a circle there is no order, and events come one by one."""
    parents = {name: {key.parent for key in keys} - {name} for name, keys in foreign_keys.items()}
    try:
        return {name: at for at, name in enumerate(TopologicalSorter(parents).static_order())}
    except CycleError:
        return {name: at for at, name in enumerate(parents)}


def _rows(columns: int) -> str:
    parameters = ", ".join(["%s::text[]"] * columns)
    names = ", ".join(f"c{at}" for at in range(columns))
    return f"unnest({parameters}) WITH ORDINALITY AS v({names}, n)"


def _quoted(*names: str) -> str:
    return sql.Identifier(*names).as_string().replace("%", "%%")
