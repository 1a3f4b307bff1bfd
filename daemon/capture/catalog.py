"""What the source's catalogue says of a table: its columns and its key, as the stream would describe them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from connectors.base_type import base_type
from daemon.capture.pgoutput import Column, Relation
from daemon.errors import OperatorError

_COLUMNS = """
SELECT c.oid, c.relkind = 'p', c.relreplident, a.attname, a.atttypid, a.atttypmod, format_type(a.atttypid, a.atttypmod),
       array_position((i.indkey::int2[])[0:i.indnkeyatts - 1], a.attnum) AS key_place
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
LEFT JOIN pg_index i ON i.indexrelid = (
    SELECT indexrelid FROM pg_index
    WHERE indrelid = c.oid AND (indisprimary OR (indisreplident AND c.relreplident = 'i'))
    ORDER BY indisprimary DESC LIMIT 1
)
WHERE n.nspname = %s AND c.relname = %s
ORDER BY a.attnum
"""


_DETAILS = f"""
SELECT a.attname::text, a.atttypid::bigint, a.atttypmod, format_type(a.atttypid, a.atttypmod),
       CASE WHEN base.oid <> a.atttypid THEN format_type(base.oid, base.typmod) END,
       a.attnotnull,
       CASE WHEN a.attidentity <> '' THEN 'identity' ELSE pg_get_expr(d.adbin, d.adrelid) END,
       (a.attmissingval::text::text[])[1]
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
CROSS JOIN LATERAL {base_type("a.atttypid", "a.atttypmod")} AS base
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE n.nspname = %s AND c.relname = %s
"""
_MISSING = """
SELECT wanted FROM unnest(%s::text[]) AS wanted WHERE NOT EXISTS (
    SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
    WHERE nspname || '.' || relname = wanted AND relkind IN ('r', 'p'))
"""


_TOLD_BY_TEXT = frozenset({16, 17, 20, 21, 23, 25, 26, 1043, 1082, 1114, 1184, 2950})
"""bool, bytea, bigint, smallint, integer, text, oid, varchar, date, timestamp, timestamptz, uuid."""


@dataclass(frozen=True, slots=True)
class Detail:
    """What the stream does not say of a column. `type` is written by PostgreSQL, with its schema unless it is built in;
    `base` is the type under a domain, None for others; `existing` is the text of the value that rows have which were
    there before the column was added, where the server keeps it apart."""

    type_oid: int
    typmod: int
    type: str
    base: str | None
    not_null: bool
    default: str | None
    existing: str | None


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the source. `key` is its primary key in that key's own order, else the index that is its replica
    identity, else empty; `key_types` are their SQL types.
    """

    relation: Relation
    key: tuple[str, ...]
    key_types: tuple[str, ...]
    partitioned: bool = False

    @property
    def key_columns(self) -> list[str]:
        """Name and type of each column of the key: texts of one key mean nothing, or something else, in another one."""
        return [f"{name} {type_}" for name, type_ in zip(self.key, self.key_types, strict=True)]

    @property
    def told_by_text(self) -> bool:
        """Whether two keys are one to PostgreSQL only if their texts are: 1.0 and 1.00 are one number to it."""
        types = {column.name: column.type_oid for column in self.relation.columns}
        return all(types[name] in _TOLD_BY_TEXT for name in self.key)


def find_table(connection: psycopg.Connection[Any], schema: str, name: str) -> Table | None:
    """The table as it is now; None when it is gone."""
    rows = connection.execute(_COLUMNS, [schema, name]).fetchall()
    if not rows:
        return None
    placed = sorted((place, column, type_) for *_, column, _, _, type_, place in rows if place is not None)
    columns = tuple(Column(column, oid, typmod, place is not None) for *_, column, oid, typmod, _, place in rows)
    oid, partitioned, identity = rows[0][:3]
    relation = Relation(oid, schema, name, identity, columns)
    return Table(relation, tuple(column for _, column, _ in placed), tuple(type_ for *_, type_ in placed), partitioned)


def read_table(connection: psycopg.Connection[Any], schema: str, name: str) -> Table:
    """The table, to read its rows by their key.

    Raises OperatorError when it is gone or has no key.
    """
    table = find_table(connection, schema, name)
    if table is None:
        raise OperatorError(
            f"The source has no table {schema}.{name} any more.", "Take it out of the source's tables, then run again."
        )
    if not table.key:
        raise OperatorError(
            f"{schema}.{name} has no primary key any more.", "Give it one, over the columns that tell its rows apart."
        )
    return table


def key_columns(relation: Relation, *known: Sequence[str]) -> tuple[str, ...]:
    """The columns of the record key of one version of a table; empty when it has none.

    `known` are keys that the table has or had, the likeliest first. The stream tells which columns are logged with
    updates and deletes: under the default identity they are the primary key of that time, and only their order has to
    be known.
    """
    names = {column.name for column in relation.columns}
    logged = tuple(column.name for column in relation.columns if column.key)
    fitting = [tuple(key) for key in known if key and names.issuperset(key)]
    if relation.identity == "d":
        return next((key for key in fitting if set(key) == set(logged)), logged)
    if relation.identity == "i" and not fitting:
        return logged
    return next(iter(fitting), ())


def read_details(connection: psycopg.Connection[Any], schema: str, name: str) -> dict[str, Detail]:
    """By column, as the catalogue has them now; nothing where the table is gone."""
    with connection.transaction():
        connection.execute("SET LOCAL search_path = ''")
        rows = connection.execute(_DETAILS, [schema, name]).fetchall()
    return {column: Detail(*rest) for column, *rest in rows}


def read_missing(connection: psycopg.Connection[Any], names: Sequence[str]) -> set[str]:
    """Those of the tables (as `schema.table`) that are not there."""
    return {row[0] for row in connection.execute(_MISSING, [list(names)])}
