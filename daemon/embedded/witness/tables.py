"""The witnessed tables, and how a row of one is written as text, the same in both databases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import Connection, connect, sql

CANONICAL_SETTINGS = {
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
}
"""Session settings that decide how PostgreSQL writes a value as text."""
KEY_SEPARATOR = "\x1f"


@dataclass(frozen=True, slots=True)
class Table:
    """A table by schema and name, its primary-key columns in order, and the columns that are compared."""

    name: str
    key_columns: Sequence[str]
    compared: Sequence[str]

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(*self.name.split(".", 1))

    def key(self, row: str) -> sql.Composed:
        """The primary key as one text; `row` is an alias, or OLD or NEW."""
        columns = [sql.SQL(f"{row}.{{}}").format(sql.Identifier(column)) for column in self.key_columns]
        return sql.SQL("concat_ws(chr(31), {})").format(sql.SQL(", ").join(columns))

    def digest(self, row: str) -> sql.Composed:
        """The compared columns as one MD5; a record's text tells NULL from empty, and one column from the next."""
        columns = [sql.SQL(f"{row}.{{}}").format(sql.Identifier(column)) for column in self.compared]
        return sql.SQL("md5(ROW({})::text)").format(sql.SQL(", ").join(columns))

    def key_of(self, values: Mapping[str, Any]) -> str:
        """The same text as `key`, of a record's key."""
        return KEY_SEPARATOR.join(str(values[column]) for column in self.key_columns)


def canonical_connection(dsn: str) -> Connection[tuple[Any, ...]]:
    conn = connect(dsn, application_name="witness")
    for name, value in CANONICAL_SETTINGS.items():
        conn.execute("SELECT set_config(%s, %s, false)", (name, value))
    conn.execute("SET row_security = off")
    conn.commit()
    return conn


def qualified(table: str) -> str:
    return table if "." in table else f"public.{table}"


def primary_key(conn: Connection[Any], table: str) -> list[str]:
    """Raises ValueError for a table without a primary key: its rows cannot be told apart."""
    columns = [
        column
        for (column,) in conn.execute(
            "SELECT attname FROM pg_index, unnest(indkey) WITH ORDINALITY AS place (attnum, ordinal), pg_attribute"
            " WHERE indrelid = %s::regclass AND indisprimary AND attrelid = indrelid"
            " AND pg_attribute.attnum = place.attnum ORDER BY ordinal",
            (table,),
        )
    ]
    if not columns:
        raise ValueError(f"the table {table} has no primary key")
    return columns


def witnessed(conn: Connection[Any]) -> dict[str, Table]:
    """The tables that `install` named, by schema and name."""
    rows = conn.execute("SELECT name, key_columns, compared FROM witness.witnessed ORDER BY name")
    return {name: Table(name, keys, compared) for name, keys, compared in rows}
