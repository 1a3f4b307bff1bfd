"""The paused tables of a target, for the operator's verbs and for those who look."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import psycopg

from connectors.postgres import bookkeeping
from connectors.postgres.plan import above

State = Literal["asked", "paused", "resuming"]
"""Asked: the worker has not come to it yet. Resuming: it catches up."""

_LIST = """
SELECT table_name, state, paused_by, reason, advice, asked_at, paused_at, commit_lsn::bigint
FROM placemat.pauses WHERE source = %s ORDER BY table_name
"""
_PAUSE = """
INSERT INTO placemat.pauses AS pauses (source, table_name, state, paused_by, reason) VALUES (%s, %s, 'asked', %s, %s)
ON CONFLICT (source, table_name) DO UPDATE SET state = 'asked', paused_by = EXCLUDED.paused_by,
    reason = EXCLUDED.reason, advice = NULL, asked_at = now()
WHERE pauses.state = 'resuming'
"""
_NEVER_PAUSED = """
DELETE FROM placemat.pauses AS pause WHERE source = %s AND table_name = %s AND state = 'asked'
AND NOT EXISTS (SELECT FROM placemat.lanes AS lane WHERE lane.source = pause.source AND lane = table_name)
"""
_RESUME = "UPDATE placemat.pauses SET state = 'resuming' WHERE source = %s AND table_name = %s"


@dataclass(frozen=True, slots=True)
class Pause:
    """One paused table: by whom, why, what to do about it, and the commit through which it was applied then."""

    table: str
    state: State
    paused_by: str
    reason: str
    advice: str | None
    asked_at: datetime
    paused_at: datetime | None
    commit_lsn: int | None


def read_pauses(connection: psycopg.Connection[Any], source: str) -> list[Pause]:
    """Every table of a source that is paused or catches up; none where nothing was ever prepared."""
    found = connection.execute("SELECT to_regclass('placemat.pauses') IS NOT NULL").fetchone()
    if found is None or not found[0]:
        return []
    return [Pause(*row) for row in connection.execute(_LIST, [source]).fetchall()]


class Pauses:
    """One target's paused tables of one source, over an open connection in autocommit mode."""

    def __init__(
        self, connection: psycopg.Connection[Any], target: str, source: str,
        named: Mapping[str, Collection[str]] | None = None,
    ) -> None:  # fmt: skip
        """`named` are the tables that conditions name, by the table that has the condition."""
        self._above = above(named or {})
        self._connection = connection
        self._target = target
        self._source = source

    def read(self) -> list[Pause]:
        return read_pauses(self._connection, self._source)

    def pause(self, table: str, by: str, reason: str) -> None:
        """Ask the worker to pause a table; one that waits already keeps its reason.

        Raises OperatorError when the target is not prepared.
        """
        with bookkeeping.prepared(self._target):
            self._connection.execute(_PAUSE, [self._source, table, by, reason])

    def ahead(self, table: str) -> Pause | None:
        """A table that has to go on before this one does: by what was known of it nothing new is to be told."""
        first = self._above.get(table, ())
        return next(
            (one for one in self.read() if one.table in first and (one.state, one.paused_by) == ("paused", "placemat")),
            None,
        )

    def resume(self, table: str) -> None:
        """Ask the worker to let a table catch up; one that was only asked to be paused never is."""
        with bookkeeping.prepared(self._target), self._connection.transaction():
            if self._connection.execute(_NEVER_PAUSED, [self._source, table]).rowcount == 0:
                self._connection.execute(_RESUME, [self._source, table])
