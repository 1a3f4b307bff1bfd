"""Rows in a form that is the same in every database: by field, the JSON text that PostgreSQL makes of the value.

A database makes it of its own rows and of values that come, by the types of its own columns, so that nothing here has
to know when two values are one. Without a length or scale: 1.5 stays 1.5 until it is stored as 1.50.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import orjson
import psycopg
from psycopg import sql

from connectors.postgres import literals
from connectors.postgres.literals import JSON_NULL
from connectors.postgres.rows import Columns, decode_key
from connectors.postgres.statements import TargetTable
from connectors.postgres.two_way.cascades import Cascade, cascades
from schemas.resolution import Fields

_APART = """
SELECT attname::text FROM pg_attribute JOIN pg_cast ON castsource = atttypid
WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND casttarget IN (114, 3802)
  AND castsource NOT IN (114, 3802)
"""
_NULL = msgspec.Raw(b"null")


class Canonical:
    """Statements about one table, in its own database. Fields have the hub's names, columns the followed source's."""

    def __init__(self, connection: psycopg.Connection[Any], table: TargetTable, *, at_hub: bool) -> None:
        """`at_hub`: the table's own names are the hub's, not the source's."""
        self.table = table
        self._at_hub = at_hub
        routing = table.routing
        fixed = set(routing.constants)
        self.fields = {
            name: column.name if at_hub else name
            for name, column in table.columns.items()
            if name and not routing.leaves_out(name) and not column.generated and column.name not in fixed
        }
        """Field by column."""
        self.columns = {field: name for name, field in self.fields.items()}
        apart = {name for (name,) in connection.execute(_APART, [table.quoted.replace("%%", "%")])}
        self._apart = {name for name, column in table.columns.items() if column.name in apart}
        self.cascades = cascades(connection, routing.table or table.name)
        self.hub = (routing.table or table.name) if at_hub else table.name
        """The hub's name of the table."""

    def key_text(self, key: bytes) -> str:
        """The record key by the hub's names, in their order: the name of the row everywhere."""
        return key_text(key, self.fields)

    def record_key(self, text: str) -> bytes:
        """The record key of the source that is followed."""
        raws = decode_key(text.encode())
        return b"{%b}" % b",".join(
            b"%b:%b" % (orjson.dumps(self.columns.get(name, name)), bytes(raw)) for name, raw in raws.items()
        )

    def row(self, values: Sequence[str | None], names: Iterable[str] | None = None) -> dict[str, str | None]:
        """A row of an answer, by field; `names` are its columns."""
        return dict(zip((self.fields[name] for name in names or self.fields), values, strict=True))

    # Statements

    def incoming(self, names: Sequence[str]) -> str:
        """Values as they come, in canonical form. Parameters: a `text[]` per column; returns numbers from 1."""
        arrays = ", ".join(["%s::text[]"] * len(names))
        places = ", ".join(f"c{at}" for at in range(len(names)))
        texts = ", ".join(self._text(name, f"v.c{at}::{self._type(name)}") for at, name in enumerate(names))
        return f"SELECT v.n, {texts} FROM unnest({arrays}) WITH ORDINALITY AS v({places}, n)"

    def documents(self, names: Sequence[str]) -> str:
        """Canonical rows of another database, in this one's form. Parameter: documents; returns numbers from 1."""
        texts = ", ".join(self._text(name, self._given(name)) for name in names)
        return f"SELECT v.n, {texts} FROM {self._unpacked(names)}"

    def all(self, time: str) -> str:
        """All rows: their fields, and what `time` says of each."""
        texts = ", ".join(self._text(name, f"t.{self._quoted(name)}") for name in self.fields)
        return f"SELECT {texts}, {time} FROM {self.table.only} AS t"

    def read(self, key: Sequence[str], *, locked: bool) -> str:
        """Rows by key. Parameters: a `text[]` per key column; returns numbers from 1, and all fields."""
        arrays = ", ".join(["%s::text[]"] * len(key))
        places = ", ".join(f"c{at}" for at in range(len(key)))
        texts = ", ".join(self._text(name, f"t.{self._quoted(name)}") for name in self.fields)
        same = " AND ".join(f"t.{self._quoted(name)} = v.c{at}::{self._type(name)}" for at, name in enumerate(key))
        order = ", ".join(f"t.{self._quoted(name)}" for name in key)
        return (
            f"SELECT v.n, {texts} FROM unnest({arrays}) WITH ORDINALITY AS v({places}, n)"
            f" JOIN {self.table.only} AS t ON {same}" + (f" ORDER BY {order} FOR UPDATE OF t" if locked else "")
        )

    def lock(self, key: Sequence[str]) -> str:
        """Lock rows in the order of their keys. Parameters: a `text[]` per key column."""
        order = ", ".join(f"t.{self._quoted(name)}" for name in key)
        return self._by_key("SELECT FROM {table} AS t, {rows} WHERE {same}", key) + f" ORDER BY {order} FOR UPDATE OF t"

    def add(self, key: Sequence[str], names: Sequence[str]) -> str:
        """Insert rows that are not there. Parameter: documents."""
        fixed = dict(self.table.constants)
        columns = ", ".join([*map(self._quoted, names), *fixed])
        values = ", ".join([*map(self._given, names), *fixed.values()])
        return (
            f"INSERT INTO {self.table.quoted} ({columns}) OVERRIDING SYSTEM VALUE SELECT {values}"
            f" FROM {self._unpacked(names)} ON CONFLICT ({', '.join(map(self._quoted, key))}) DO NOTHING"
        )

    def change(self, key: Sequence[str], names: Sequence[str]) -> str:
        """Set columns of rows that are there. Parameter: documents with the key; returns numbers from 1."""
        assigned = [f"{self._quoted(name)} = {self._given(name)}" for name in names if name not in key]
        assigned = assigned or [f"{self._quoted(key[0])} = t.{self._quoted(key[0])}"]
        same = " AND ".join(f"t.{self._quoted(name)} = {self._given(name)}" for name in key)
        return (
            f"UPDATE {self.table.only} AS t SET {', '.join(assigned)}"
            f" FROM {self._unpacked([*names, *(name for name in key if name not in names)])}"
            f" WHERE {same} RETURNING v.n"
        )

    def remove(self, key: Sequence[str]) -> str:
        """Delete rows that nothing would go with. Parameters: a `text[]` per key column."""
        return self._by_key("DELETE FROM {table} AS t USING {rows} WHERE {same}", key) + "".join(
            f" AND NOT {self._goes(one)}" for one in self.cascades
        )

    def referred(self, key: Sequence[str]) -> str:
        """Count rows that others would go with. Parameters: a `text[]` per key column."""
        going = " OR ".join(map(self._goes, self.cascades))
        return (
            self._by_key("SELECT count(*) FROM {table} AS t, {rows} WHERE {same}", key) + f" AND ({going or 'false'})"
        )

    def document(self, columns: Columns) -> bytes:
        """One parameter of those that are documents: values by column."""
        parts = []
        for name, raw in columns.items():
            if raw is JSON_NULL:
                parts.append(b"%b:null" % orjson.dumps(name))
            elif bytes(raw) != b"null":
                parts.append(b"%b:%b" % (orjson.dumps(name), bytes(raw)))
        return literals.quote(b"{%b}" % b",".join(parts))

    def raws(self, values: Fields) -> dict[str, msgspec.Raw]:
        """A row by column, for `document`; fields that this database has no column for are left out."""
        return {
            self.columns[field]: _NULL if text is None else JSON_NULL if text == "null" else msgspec.Raw(text.encode())
            for field, text in values.items()
            if field in self.columns
        }

    def made(self, values: Fields) -> dict[str, msgspec.Raw]:
        """As `raws`, of a row that is made: what people have left empty there is at the hub the column's own default,
        where it must not be null."""
        found = self.raws(values)
        if not self._at_hub:
            return found
        return {name: raw for name, raw in found.items() if raw is not _NULL or not self.table.columns[name].filled}

    # Their parts

    def _by_key(self, statement: str, key: Sequence[str]) -> str:
        arrays = ", ".join(["%s::text[]"] * len(key))
        places = ", ".join(f"c{at}" for at in range(len(key)))
        same = " AND ".join(f"t.{self._quoted(name)} = v.c{at}::{self._type(name)}" for at, name in enumerate(key))
        return statement.format(table=self.table.only, rows=f"unnest({arrays}) AS v({places})", same=same)

    def _goes(self, one: Cascade) -> str:
        """Whether a row of it goes with the row `t`."""
        pairs = zip(one.child, one.parent, strict=True)
        same = " AND ".join(f"c.{_identifier(mine)} = t.{_identifier(theirs)}" for mine, theirs in pairs)
        return f"EXISTS (SELECT FROM {one.relation.replace('%', '%%')} c WHERE {same})"

    def _unpacked(self, names: Sequence[str]) -> str:
        typed = ", ".join(
            f"{_identifier(name)} {'text' if name in self._apart else self._type(name)}"
            for name in names
            if not self._is_json(name)
        )
        rows = "unnest(%s::text[]) WITH ORDINALITY AS v(doc, n), LATERAL (SELECT v.doc::jsonb AS d) AS j"
        return f"{rows}, LATERAL jsonb_to_record(j.d) AS r({typed})" if typed else rows

    def _given(self, name: str) -> str:
        """A column of a document."""
        if self._is_json(name):
            literal = sql.Literal(name).as_string().replace("%", "%%")
            return f"(j.d -> {literal})::{self._type(name)}"
        return f"r.{_identifier(name)}" + (f"::{self._type(name)}" if name in self._apart else "")

    def _text(self, name: str, value: str) -> str:
        return f"to_jsonb(({value})::text)::text" if name in self._apart else f"to_jsonb({value})::text"

    def _is_json(self, name: str) -> bool:
        return self.table.columns[name].element is literals.json

    def _type(self, name: str) -> str:
        return self.table.columns[name].type.replace("%", "%%")

    def _quoted(self, name: str) -> str:
        return _identifier(self.table.columns[name].name)


def _identifier(name: str) -> str:
    return sql.Identifier(name).as_string().replace("%", "%%")


def key_text(key: bytes, fields: Mapping[str, str]) -> str:
    """A record key by the names of `fields`, a field by column, in their order."""
    raws = decode_key(key)
    if len(raws) == 1 and fields.get(name := next(iter(raws)), name) == name:
        return key.decode()
    named = sorted((fields.get(name, name), bytes(raw)) for name, raw in raws.items())
    pairs = ",".join(f"{orjson.dumps(name).decode()}:{raw.decode()}" for name, raw in named)
    return "{" + pairs + "}"


def canonicals(
    connection: psycopg.Connection[Any], tables: Mapping[str, TargetTable], wanted: Iterable[str], *, at_hub: bool
) -> dict[str, Canonical]:
    """Those of the wanted tables that are there."""
    return {name: Canonical(connection, tables[name], at_hub=at_hub) for name in wanted if name in tables}
