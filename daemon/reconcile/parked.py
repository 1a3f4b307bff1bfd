"""Which keys wait in the target, parked, instead of being applied."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql

from daemon.reconcile.record_key import matching, text_of
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
    wanted = matching("parked", key)
    query = sql.SQL(_PARKED).format(asked=wanted.arrays, names=wanted.names, match=wanted.match)
    rows = target.rows(query, [*(list(texts) for texts in zip(*keys, strict=True)), source, table])
    return {keys[place - 1]: parked_id for place, parked_id in rows}


def parked_keys(target: Side, source: str, table: str, key: Sequence[Column]) -> dict[Key, bytes]:
    """Every parked key of a table, by the texts of its columns, as it stands in the record.

    `key` are the source's key columns: a value may be one that the target's cannot hold.
    """
    if target.rows(_INSTALLED) == [(False,)]:
        return {}
    query = sql.SQL("SELECT key, {} FROM placemat.parked WHERE source = %s AND table_name = %s ORDER BY id").format(
        sql.SQL(", ").join(text_of("parked", column) for column in key)
    )
    return {tuple(texts): record.encode() for record, *texts in target.rows(query, [source, table])}
