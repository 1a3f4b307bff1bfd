"""Which tables wait in the target, paused: what they lack is to come, and is no difference."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from psycopg import sql

from daemon.reconcile.side import Side

_INSTALLED = sql.SQL("SELECT to_regclass('placemat.pauses') IS NOT NULL")
_PAUSED = sql.SQL("""
SELECT table_name, state, reason FROM placemat.pauses
WHERE source = %s AND table_name = ANY (%s) AND EXISTS (
    SELECT FROM placemat.lanes WHERE lanes.source = pauses.source AND lane = table_name)
ORDER BY table_name
""")


@dataclass(frozen=True, slots=True)
class PausedTable:
    """A table that is not compared: `state` is `paused`, or `resuming` while it catches up."""

    table: str
    state: str
    reason: str


def paused_tables(target: Side, source: str, tables: Collection[str]) -> list[PausedTable]:
    """Those of the tables that have left the main lane."""
    if target.rows(_INSTALLED) == [(False,)]:
        return []
    return [PausedTable(*row) for row in target.rows(_PAUSED, [source, list(tables)])]
