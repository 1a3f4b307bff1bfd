"""The query that compares rows of a target with what they should be, column by column. Pure but for `valued`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import psycopg
from psycopg import sql

from connectors.postgres.statements import TargetTable


def rows_beside(
    table: TargetTable, key: Sequence[str], columns: Sequence[str], valued: Collection[str], *, constants: bool
) -> str:
    """A query for number (from 1), presence, and a list of booleans: whether each column differs, and then each of the
    route's constants, if asked for.

    Parameters: a `text[]` per column. Columns in `valued` compare by value, as 1.0 and 1.00; the others by text.
    """
    differ = [_differs(table, name, at, name in valued) for at, name in enumerate(columns)]
    if constants:
        differ += [f"t.{name}::text IS DISTINCT FROM ({value})::text" for name, value in table.constants]
    return _query(table, key, columns, f"t.tableoid IS NOT NULL, ARRAY[{', '.join(differ)}]::boolean[]", "LEFT JOIN")


def present_keys(table: TargetTable, key: Sequence[str]) -> str:
    """A query for the numbers, from 1, of keys that have a row, and its own texts of them.

    Parameters: a `text[]` per key column.
    """
    return texts(table, key, key)


def texts(table: TargetTable, key: Sequence[str], columns: Sequence[str]) -> str:
    """A query for the numbers, from 1, of keys that have a row, and the texts of these columns of it.

    Parameters: a `text[]` per key column.
    """
    return _query(table, key, key, ", ".join(f"t.{_quoted(table, name)}::text" for name in columns), "JOIN")


def same_keys(table: TargetTable, key: Sequence[str]) -> str:
    """A query for the numbers, from 1, of those keys of a second set that are in the first one.

    Parameters: a `text[]` per key column, for each of the sets.
    """
    arrays = ", ".join(["%s::text[]"] * len(key))
    names = ", ".join(f"c{at}" for at in range(len(key)))
    same = " AND ".join(f"{_cast(table, name, at)} = {_cast(table, name, at, 'o')}" for at, name in enumerate(key))
    return (
        f"SELECT DISTINCT o.n FROM unnest({arrays}) AS v({names})"
        f" JOIN unnest({arrays}) WITH ORDINALITY AS o({names}, n) ON {same}"
    )


def valued(connection: psycopg.Connection[Any], table: TargetTable) -> frozenset[str]:
    """Columns whose type has an equality; json, xml and point have none. Needs autocommit or a transaction."""
    return frozenset(name for name, column in table.columns.items() if _has_equality(connection, column.type))


def _has_equality(connection: psycopg.Connection[Any], type_: str) -> bool:
    try:
        with connection.transaction():
            connection.execute(f"SELECT ROW(NULL::{type_})::record = ROW(NULL::{type_})::record".encode())
    except psycopg.errors.UndefinedFunction:
        return False
    return True


def _query(table: TargetTable, key: Sequence[str], columns: Sequence[str], wanted: str, join: str) -> str:
    arrays = ", ".join(["%s::text[]"] * len(columns))
    names = ", ".join(f"c{at}" for at in range(len(columns)))
    place = {name: at for at, name in enumerate(columns)}
    matched = " AND ".join(f"t.{_quoted(table, name)} = {_cast(table, name, place[name])}" for name in key)
    return (
        f"SELECT v.n, {wanted} FROM unnest({arrays}) WITH ORDINALITY AS v({names}, n)"
        f" {join} {table.only} t ON {matched}"
    )


def _differs(table: TargetTable, name: str, at: int, by_value: bool) -> str:
    ours, theirs = f"t.{_quoted(table, name)}", _cast(table, name, at)
    if by_value:
        return f"NOT ROW({ours})::record = ROW({theirs})::record"
    return f"{ours}::text IS DISTINCT FROM {theirs}::text"


def _cast(table: TargetTable, name: str, at: int, of: str = "v") -> str:
    return f"{of}.c{at}::{table.columns[name].type.replace('%', '%%')}"


def _quoted(table: TargetTable, name: str) -> str:
    return sql.Identifier(table.columns[name].name).as_string().replace("%", "%%")
