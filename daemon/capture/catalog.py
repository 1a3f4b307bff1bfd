"""What the source's catalogue says of a table: its columns and its key, as the stream would describe them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg

from daemon.capture.pgoutput import Column, Relation
from daemon.errors import OperatorError

_COLUMNS = """
SELECT c.oid, c.relreplident, a.attname, a.atttypid, a.atttypmod, format_type(a.atttypid, a.atttypmod),
       array_position((i.indkey::int2[])[0:i.indnkeyatts - 1], a.attnum) AS key_place
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
WHERE n.nspname = %s AND c.relname = %s
ORDER BY a.attnum
"""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the source; `key_types` are the SQL types of `key`, in the primary key's own order."""

    relation: Relation
    key: tuple[str, ...]
    key_types: tuple[str, ...]


def read_table(connection: psycopg.Connection[Any], schema: str, name: str) -> Table:
    """Raises OperatorError when the table is gone or has no primary key."""
    rows = connection.execute(_COLUMNS, [schema, name]).fetchall()
    if not rows:
        raise OperatorError(
            f"The source has no table {schema}.{name} any more.", "Take it out of the source's tables, then run again."
        )
    placed = sorted((place, column, type_) for *_, column, _, _, type_, place in rows if place is not None)
    if not placed:
        raise OperatorError(
            f"{schema}.{name} has no primary key any more.",
            f"Give it one: ALTER TABLE {schema}.{name} ADD PRIMARY KEY …",
        )
    columns = tuple(Column(column, oid, typmod, place is not None) for _, _, column, oid, typmod, _, place in rows)
    relation = Relation(rows[0][0], schema, name, rows[0][1], columns)
    return Table(relation, tuple(column for _, column, _ in placed), tuple(type_ for _, _, type_ in placed))
