"""What the source's catalogue says of a table: its columns and its key, as the stream would describe them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

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


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the source. `key` is its primary key in that key's own order, else the index that is its replica
    identity, else empty; `key_types` are their SQL types.
    """

    relation: Relation
    key: tuple[str, ...]
    key_types: tuple[str, ...]
    partitioned: bool = False


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
        quoted = sql.Identifier(schema, name).as_string()
        raise OperatorError(
            f"{schema}.{name} has no primary key any more.", f"Give it one: ALTER TABLE {quoted} ADD PRIMARY KEY …"
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
