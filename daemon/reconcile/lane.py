"""Whether the target has applied everything up to now: a mark in the source, and the wait for it."""

from __future__ import annotations

import time
from collections.abc import Callable

from psycopg import sql

from daemon.reconcile.side import Side
from schemas.position import Lsn, parse_lsn

POLL_SECONDS = 0.02

_MARK = sql.SQL("""SELECT pg_logical_emit_message(true, 'placemat.mark', '{"by":"verify"}')::text""")
_INSTALLED = sql.SQL("SELECT to_regclass('placemat.lanes') IS NOT NULL")
_APPLIED = sql.SQL("SELECT commit_lsn::bigint FROM placemat.lanes WHERE source = %s AND lane = 'main'")


def write_mark(source: Side) -> Lsn:
    """Put a mark into the source's log; every change that was visible before it has a commit below this LSN."""
    ((text,),) = source.rows(_MARK)
    return parse_lsn(text)


class Lane:
    """How far a target has applied its source.

    `applying` is None until the first wait tells; after a wait in vain it stays False, and nothing waits again.
    """

    def __init__(self, source: Side, target: Side, stall_seconds: float, on_wait: Callable[[], None]) -> None:
        self.source = source
        self.target = target
        self.applying: bool | None = None
        self._stall_seconds = stall_seconds
        self._on_wait = on_wait

    def pass_mark(self) -> bool:
        """Write a mark and wait until the target has applied what came before; False when it stands still instead."""
        if self.applying is not False:
            self.applying = self._reaches(write_mark(self.source))
        return self.applying

    def _reaches(self, mark: Lsn) -> bool:
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

    def _applied(self) -> int | None:
        ((installed,),) = self.target.rows(_INSTALLED)
        rows = self.target.rows(_APPLIED, [self.source.name]) if installed else []
        return int(rows[0][0]) if rows else None
