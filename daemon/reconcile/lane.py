"""Whether the target has applied everything up to now: a mark in the source, and the wait for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from psycopg import sql

from daemon.reconcile.side import Side
from schemas.position import Lsn, in_era, parse_lsn

POLL_SECONDS = 0.02

# The first eight digits of a WAL file's name are the timeline, which a promotion raises at once.
_MARK = sql.SQL("""
SELECT left(pg_walfile_name(pg_current_wal_insert_lsn()), 8),
       pg_logical_emit_message(true, 'placemat.mark', '{"by":"verify"}')::text
""")
_INSTALLED = sql.SQL("SELECT to_regclass('placemat.lanes') IS NOT NULL")
_APPLIED = sql.SQL("SELECT timeline, commit_lsn::bigint FROM placemat.lanes WHERE source = %s AND lane = 'main'")


class Place(NamedTuple):
    """Where a commit stands; without its era and timeline an LSN says nothing of what is before it and after it."""

    timeline: int
    commit_lsn: Lsn


def write_mark(source: Side, era: int) -> Place:
    """Put a mark into the source's log, which is in that era; the commit of all that was visible is before it."""
    ((timeline, lsn),) = source.rows(_MARK)
    return Place(in_era(era, int(timeline, 16)), parse_lsn(lsn))


class Lane:
    """How far a target has applied its source.

    `applying` is None until the first wait tells; after a wait in vain it stays False, and nothing waits again.
    """

    def __init__(self, source: Side, target: Side, era: int, stall_seconds: float, on_wait: Callable[[], None]) -> None:
        self.source = source
        self.target = target
        self._era = era
        self.applying: bool | None = None
        self._stall_seconds = stall_seconds
        self._on_wait = on_wait

    def pass_mark(self) -> bool:
        """Write a mark and wait until the target has applied what came before; False when it stands still instead."""
        if self.applying is not False:
            self.applying = self._reaches(write_mark(self.source, self._era))
        return self.applying

    def _reaches(self, mark: Place) -> bool:
        """Waits as long as the target moves; gives up after `stall_seconds` at one place."""
        applied = self._applied()
        moved_at = time.monotonic()
        while applied is not None and applied < mark:
            if time.monotonic() - moved_at > self._stall_seconds:
                return False
            self._on_wait()
            time.sleep(POLL_SECONDS)
            before, applied = applied, self._applied()
            if applied != before:
                moved_at = time.monotonic()
        return applied is not None

    def _applied(self) -> Place | None:
        ((installed,),) = self.target.rows(_INSTALLED)
        rows = self.target.rows(_APPLIED, [self.source.name]) if installed else []
        return Place(*rows[0]) if rows else None
