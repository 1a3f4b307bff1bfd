"""Keys as records have them, JSON with binary values in base64, beside the texts of a table's key columns."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import NamedTuple

import orjson
from psycopg import sql

from daemon.reconcile.rows import Key
from daemon.reconcile.shape import Column


class Matching(NamedTuple):
    """Parts of a query that joins `asked`, an array of texts for each key column, to a table with record keys."""

    arrays: sql.Composed
    names: sql.Composed
    match: sql.Composed


def matching(alias: str, key: Sequence[Column]) -> Matching:
    """`alias` is the table's, whose column `key` holds the record key; `key` are columns by the names that it has."""
    names = [sql.Identifier(f"k{at}") for at in range(len(key))]
    pairs = (
        sql.SQL("{} = {}").format(_value(alias, column), column.cast(sql.SQL("asked.{}").format(name)))
        for column, name in zip(key, names, strict=True)
    )
    return Matching(
        sql.SQL(", ").join([sql.SQL("%s::text[]")] * len(key)),
        sql.SQL(", ").join(names),
        sql.SQL(" AND ").join(pairs),
    )


def text_of(alias: str, column: Column) -> sql.Composed:
    """PostgreSQL's text of one column of a record key."""
    text = _member(alias, column)
    return sql.SQL("decode({}, 'base64')::text").format(text) if column.type == "bytea" else text


def _value(alias: str, column: Column) -> sql.Composed:
    text = _member(alias, column)
    return sql.SQL("decode({}, 'base64')").format(text) if column.type == "bytea" else column.cast(text)


def _member(alias: str, column: Column) -> sql.Composed:
    name = sql.Literal(column.name.replace("%", "%%"))
    return sql.SQL("({}.key::jsonb ->> {})").format(sql.Identifier(alias), name)


def texts_of(columns: Sequence[Column], key: bytes) -> Key:
    """PostgreSQL's texts of a record key's values."""
    values = orjson.loads(key)
    return tuple(_text(column, values[column.name]) for column in columns)


def _text(column: Column, value: object) -> str:
    return "\\x" + base64.b64decode(str(value)).hex() if column.type == "bytea" else str(value)
