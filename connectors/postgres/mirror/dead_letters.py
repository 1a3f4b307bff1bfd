"""What waits in a mirror: keys that its service has refused, beside those that the mirror itself has not taken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from connectors.mirroring import Mirrored
from connectors.postgres import bookkeeping
from connectors.postgres.bookkeeping import ParkedEvent, ParkedKey, Request
from connectors.postgres.dead_letters import DeadLetters
from connectors.postgres.mirror.progress import read_backlog
from connectors.pushing import Backlogged

_REFUSED = """
SELECT number AS id, %s AS source, table_name, key, 'refused' AS kind, NULL AS sqlstate, reason,
    refused_at AS parked_at, attempts, request, code,
    (SELECT count(*) FROM placemat.queue_events e WHERE e.table_name = q.table_name AND e.key = q.key) AS events
FROM placemat.queue q WHERE refused_at IS NOT NULL ORDER BY number
"""
_EVENTS = """
SELECT topic, partition, "offset", NULL AS event
FROM placemat.queue_events JOIN placemat.queue USING (table_name, key) WHERE number = %s
ORDER BY topic, partition, "offset"
"""
_KEY = "SELECT table_name, key FROM placemat.queue WHERE number = %s"
_ROW = sql.SQL("SELECT to_jsonb(r)::text FROM {table} r WHERE {key}::text = %s::jsonb ->> %s")
_ASK = """
UPDATE placemat.queue SET request = %s, requested_by = %s, due = clock_timestamp()
WHERE number = ANY (%s) AND refused_at IS NOT NULL RETURNING number
"""


class MirrorDeadLetters(DeadLetters):
    """Both kinds in one list, with numbers that no two of them share."""

    def __init__(
        self, connection: psycopg.Connection[Any], target: str, source: str, tables: Sequence[Mirrored]
    ) -> None:
        super().__init__(connection, target, source)
        self._tables = {one.table: one for one in tables}

    def backlog(self) -> Backlogged | None:
        return read_backlog(self._connection)

    def count(self) -> int:
        found = self.backlog()
        return super().count() + (0 if found is None else found.refused)

    def parked(self) -> list[ParkedKey]:
        with bookkeeping.prepared(self._target), self._connection.cursor(row_factory=class_row(ParkedKey)) as cursor:
            refused = cursor.execute(_REFUSED, [self._source]).fetchall()
        return sorted([*super().parked(), *refused], key=lambda key: key.id)

    def queue(self, parked_id: int) -> list[ParkedEvent]:
        with bookkeeping.prepared(self._target), self._connection.cursor(row_factory=class_row(ParkedEvent)) as cursor:
            told = cursor.execute(_EVENTS, [parked_id]).fetchall()
        return told or super().queue(parked_id)

    def wanted(self, parked_id: int) -> str | None:
        found = self._connection.execute(_KEY, [parked_id]).fetchone()
        if found is None or found[0] not in self._tables:
            return None
        one = self._tables[found[0]]
        row = _ROW.format(table=sql.Identifier(*one.wanted.split(".", 1)), key=sql.Identifier(one.key))
        shown = self._connection.execute(row, [found[1], one.key]).fetchone()
        return None if shown is None else str(shown[0])

    def ask(self, ids: list[int], request: Request) -> list[int]:
        with bookkeeping.prepared(self._target):
            who = self._connection.info.user
            refused = [number for (number,) in self._connection.execute(_ASK, [request, who, ids])]
            self._connection.execute("NOTIFY placemat_queue")
        return sorted([*super().ask(ids, request), *refused])
