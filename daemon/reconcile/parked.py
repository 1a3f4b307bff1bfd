"""Which keys wait in the target, parked, instead of being applied."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql

from daemon.reconcile.rows import Key
from daemon.reconcile.shape import Column
from daemon.reconcile.side import Side

_INSTALLED = sql.SQL("SELECT to_regclass('placemat.parked') IS NOT NULL")
_PARKED = """
SELECT asked.place, parked.id
FROM placemat.parked
JOIN unnest({asked}) WITH ORDINALITY AS asked ({names}, place) ON {match}
WHERE parked.source = %s AND parked.table_name = %s
"""


def parked_ids(target: Side, source: str, table: str, key: Sequence[Column], keys: Sequence[Key]) -> dict[Key, int]:
    """The number under which each key is parked, for those that are.

    `key` are the target's key columns, by the names that the record key has for them.
    """
    if not keys or target.rows(_INSTALLED) == [(False,)]:
        return {}
    names = [sql.Identifier(f"k{at}") for at in range(len(key))]
    query = sql.SQL(_PARKED).format(
        asked=sql.SQL(", ").join([sql.SQL("%s::text[]")] * len(key)),
        names=sql.SQL(", ").join(names),
        match=sql.SQL(" AND ").join(
            sql.SQL("{} = {}").format(_parked_value(column), column.cast(sql.SQL("asked.{}").format(name)))
            for column, name in zip(key, names, strict=True)
        ),
    )
    rows = target.rows(query, [*(list(texts) for texts in zip(*keys, strict=True)), source, table])
    return {keys[place - 1]: parked_id for place, parked_id in rows}


def parked_keys(target: Side, source: str, table: str, key: Sequence[Column]) -> dict[Key, bytes]:
    """Every parked key of a table, by the texts of its columns, as it stands in the record.

    `key` are the source's key columns: a value may be one that the target's cannot hold.
    """
    if target.rows(_INSTALLED) == [(False,)]:
        return {}
    query = sql.SQL("SELECT key, {} FROM placemat.parked WHERE source = %s AND table_name = %s ORDER BY id").format(
        sql.SQL(", ").join(_parked_text(column) for column in key)
    )
    return {tuple(texts): record.encode() for record, *texts in target.rows(query, [source, table])}


def _parked_text(column: Column) -> sql.Composed:
    text = _member(column)
    return sql.SQL("decode({}, 'base64')::text").format(text) if column.type == "bytea" else text


def _member(column: Column) -> sql.Composed:
    return sql.SQL("(parked.key::jsonb ->> {})").format(sql.Literal(column.name.replace("%", "%%")))


def _parked_value(column: Column) -> sql.Composed:
    """A column of the record key, which is JSON with binary values in base64."""
    text = _member(column)
    if column.type == "bytea":
        return sql.SQL("decode({}, 'base64')").format(text)
    return column.cast(text)
