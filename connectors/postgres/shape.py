"""What a table looks like in its database's catalogue, and whether one column can hold what another holds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from connectors.base_type import base_type


@dataclass(frozen=True, slots=True)
class Column:
    """`type` is written by PostgreSQL, with its schema unless it is built in; `labels` are an enum's."""

    name: str
    type: str
    not_null: bool
    filled: bool
    """It has a default, an identity or an expression, so that an insert need not name it."""
    generated: bool
    labels: list[str] | None
    """Of a domain over an enum, that enum's."""
    base: str | None = None
    """The type under a domain, with its length; None for other types."""


@dataclass(frozen=True, slots=True)
class Check:
    """A CHECK constraint. `portable` says that it uses nothing but what is built in."""

    name: str
    expression: str
    columns: list[str]
    portable: bool


@dataclass(frozen=True, slots=True)
class Table:
    """`keys` are the column sets of unique indexes that ON CONFLICT can use; the primary key comes first."""

    name: str
    columns: Mapping[str, Column]
    primary_key: frozenset[str]
    keys: tuple[frozenset[str], ...]
    checks: tuple[Check, ...]


_COLUMNS = f"""
SELECT attname::text AS name, format_type(atttypid, atttypmod) AS type, attnotnull AS not_null,
       atthasdef OR attidentity <> '' AS filled, attgenerated <> '' AS generated,
       (SELECT array_agg(enumlabel::text ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = below.oid) AS labels,
       CASE WHEN below.oid <> atttypid THEN format_type(below.oid, below.typmod) END AS base
FROM pg_attribute, LATERAL {base_type("atttypid", "atttypmod")} AS below
WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
_KEYS = """
SELECT indisprimary, array_agg(attname::text)
FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY ((indkey::int2[])[0:indnkeyatts - 1])
WHERE indrelid = %s AND indisunique AND indimmediate AND indisvalid AND indpred IS NULL AND indexprs IS NULL
GROUP BY indexrelid, indisprimary ORDER BY indisprimary DESC, indexrelid
"""
_CHECKS = """
SELECT conname::text AS name, pg_get_expr(conbin, conrelid) AS expression,
       (SELECT array_agg(attname::text) FROM pg_attribute
        WHERE attrelid = conrelid AND attnum = ANY (conkey)) AS columns,
       NOT EXISTS (
           SELECT FROM pg_depend WHERE classid = 'pg_constraint'::regclass AND objid = c.oid
           AND refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass)
       ) AS portable
FROM pg_constraint c WHERE conrelid = %s AND contype = 'c' AND conkey IS NOT NULL ORDER BY conname
"""
_FIND = """
SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE nspname = %s AND relname = %s AND relkind IN ('r', 'p')
"""

_TYPES = f"""
SELECT a.attname::text, format_type(base.oid, -1),
       (SELECT array_agg(enumlabel::text ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = base.oid)
FROM pg_attribute a, LATERAL {base_type("a.atttypid")} AS base
WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped
"""
_REFERENCES = """
SELECT k.attname::text, nspname || '.' || relname, r.attname::text
FROM pg_constraint c
JOIN pg_attribute k ON k.attrelid = conrelid AND k.attnum = conkey[1]
JOIN pg_attribute r ON r.attrelid = confrelid AND r.attnum = confkey[1]
JOIN pg_class p ON p.oid = confrelid
JOIN pg_namespace n ON n.oid = p.relnamespace
WHERE contype = 'f' AND conrelid = to_regclass(%s) AND cardinality(conkey) = 1
"""

Type = tuple[str, list[str] | None]
"""A type without its length, under a domain the type below, and an enum's labels."""


def read_types(connection: psycopg.Connection[Any], name: str) -> dict[str, Type]:
    """The types of a table's columns; none where there is no such table. Leaves an empty search path."""
    connection.execute("SET search_path = ''")
    rows = connection.execute(_TYPES, [_quoted(name)]).fetchall()
    return {column: (type_, labels) for column, type_, labels in rows}


def read_references(connection: psycopg.Connection[Any], name: str) -> dict[tuple[str, str], str]:
    """Foreign keys of one column: (column, table that it refers to) to the column there."""
    rows = connection.execute(_REFERENCES, [_quoted(name)]).fetchall()
    return {(column, table): key for column, table, key in rows}


def _quoted(name: str) -> str:
    return sql.Identifier(*name.split(".", 1)).as_string()


def read_table(connection: psycopg.Connection[Any], name: str) -> Table | None:
    """The table (as `schema.table`), or None when there is none. Leaves the session with an empty search path."""
    connection.execute("SET search_path = ''")
    found = connection.execute(_FIND, name.split(".", 1)).fetchone()
    if found is None:
        return None
    with connection.cursor(row_factory=class_row(Column)) as cursor:
        columns = {column.name: column for column in cursor.execute(_COLUMNS, found)}
    with connection.cursor(row_factory=class_row(Check)) as cursor:
        checks = tuple(cursor.execute(_CHECKS, found))
    indexes = connection.execute(_KEYS, found).fetchall()
    keys = tuple(frozenset(names) for _, names in indexes)
    primary = next((frozenset(names) for is_primary, names in indexes if is_primary), frozenset())
    return Table(name, columns, primary, keys, checks)


_WIDER = {
    "smallint": {"integer", "bigint", "numeric"},
    "integer": {"bigint", "numeric"},
    "bigint": {"numeric"},
    "real": {"double precision"},
    "character varying": {"text"},
    "text": {"character varying"},
}


def holds(target: Column, source: Column) -> bool:
    """Whether every value of the source's type is one of the target's, unchanged; one of a domain is one of the type
    under it."""
    if source.labels and target.labels:
        return target.type in (source.type, source.base) and set(source.labels) <= set(target.labels)
    if source.type == target.type:
        return True
    if source.base is not None:
        return holds(target, replace(source, type=source.base, base=None))
    if source.labels and target.type in ("text", "character varying"):
        return True
    (base, size), (target_base, target_size) = _parts(source.type), _parts(target.type)
    if target_base != base:
        return target_base in _WIDER.get(base, ()) and not target_size
    if not target_size:
        return True
    if not size or len(size) != len(target_size):
        return False
    if len(size) == 2:
        return target_size[1] >= size[1] and target_size[0] - target_size[1] >= size[0] - size[1]
    return base == "character varying" and target_size[0] >= size[0]


def _parts(type_: str) -> tuple[str, tuple[int, ...]]:
    """`numeric(14,2)` as ("numeric", (14, 2)), whatever stands after the brackets kept."""
    match = re.fullmatch(r"([^(]*)\(([-\d,]+)\)(.*)", type_)
    if not match:
        return type_, ()
    return match[1] + match[3], tuple(int(part) for part in match[2].split(","))
