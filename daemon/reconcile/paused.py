"""Which tables wait in the target, paused: what they lack is to come, and is no difference."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from psycopg import sql

from daemon.reconcile.side import Side

_INSTALLED = sql.SQL("SELECT to_regclass('placemat.pauses') IS NOT NULL")
_PAUSED = sql.SQL("""
SELECT table_name, state, reason, CASE WHEN state = 'paused' THEN advice END FROM placemat.pauses
WHERE source = %s AND table_name = ANY (%s) AND EXISTS (
    SELECT FROM placemat.lanes WHERE lanes.source = pauses.source AND lane = table_name)
ORDER BY table_name
""")


@dataclass(frozen=True, slots=True)
class PausedTable:
    """A table that is not compared: `state` is `paused`, or `resuming` while it catches up.

    `resume` is the table to resume: itself, or a parent that its condition names; `advice`, what has to be done for
    that, if anything.
    """

    table: str
    state: str
    reason: str
    resume: str
    advice: str | None = None


def paused_tables(target: Side, source: str, tables: Collection[str]) -> list[PausedTable]:
    """Those of the tables that have left the main lane."""
    if target.rows(_INSTALLED) == [(False,)]:
        return []
    rows = target.rows(_PAUSED, [source, list(tables)])
    return [PausedTable(table, state, reason, table, advice) for table, state, reason, advice in rows]


def not_compared(target: Side, source: str, tables: Mapping[str, Collection[str]]) -> dict[str, PausedTable]:
    """Those of the tables that have left the main lane, or of whose parents one has, which `tables` has for each."""
    concerned = {*tables, *(parent for parents in tables.values() for parent in parents)}
    paused = {one.table: one for one in paused_tables(target, source, concerned)}
    found = {}
    for table, parents in tables.items():
        held_by = next((paused[name] for name in (table, *sorted(parents)) if name in paused), None)
        if held_by is not None and held_by.table != table:
            reason = f"its condition names {held_by.table}, which is {held_by.state}: {held_by.reason}"
            held_by = replace(held_by, table=table, reason=reason)
        if held_by is not None:
            found[table] = held_by
    return found
