"""The lanes of one source in the target: the main one, and one for each table that is paused or catches up.

A partition belongs to one table and a table to one lane, so offsets need no lane: those of a paused table stand still.
The epoch of the main lane fences all of them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import psycopg

from connectors.contract import Partition, Place, Progress, TableLane, Taken
from connectors.errors import Fenced
from connectors.postgres import bookkeeping
from connectors.postgres.bookkeeping import MAIN_LANE

TABLE_EPOCH = 0
_CLAIM = """
INSERT INTO placemat.lanes AS lane (source, lane, epoch) VALUES (%s, %s, 1)
ON CONFLICT (source, lane) DO UPDATE SET epoch = lane.epoch + 1
RETURNING epoch, transactions_offset, timeline, commit_lsn::bigint
"""
_TABLES = """
SELECT lane, coalesce(state = 'resuming', true), coalesce(paused_by = 'placemat', false), transactions_offset,
       lane.timeline, lane.commit_lsn::bigint
FROM placemat.lanes AS lane LEFT JOIN placemat.pauses AS pause ON pause.source = lane.source AND table_name = lane
WHERE lane.source = %s AND lane <> %s
"""
_HOLD = "SELECT 1 FROM placemat.lanes WHERE source = %s AND lane = %s AND epoch = %s FOR UPDATE"
_STORE_OFFSETS = """
INSERT INTO placemat.offsets (source, topic, partition, next_offset, timeline, commit_lsn, ordinal)
SELECT %s, * FROM unnest(%s::text[], %s::int[], %s::bigint[], %s::int[], %s::numeric[], %s::bigint[])
ON CONFLICT (source, topic, partition) DO UPDATE SET next_offset = EXCLUDED.next_offset,
    timeline = EXCLUDED.timeline, commit_lsn = EXCLUDED.commit_lsn, ordinal = EXCLUDED.ordinal
"""
_STORE = """
UPDATE placemat.lanes SET transactions_offset = %s, timeline = %s, commit_lsn = %s, applied_at = clock_timestamp()
WHERE source = %s AND lane = %s AND epoch = %s AND transactions_offset = %s
"""
_SPLIT = """
INSERT INTO placemat.lanes (source, lane, transactions_offset, timeline, commit_lsn, applied_at)
SELECT source, %s, transactions_offset, timeline, commit_lsn, applied_at
FROM placemat.lanes WHERE source = %s AND lane = %s ON CONFLICT DO NOTHING
"""
_PAUSE = """
INSERT INTO placemat.pauses
    (source, table_name, state, paused_by, reason, advice, paused_at, timeline, commit_lsn)
SELECT source, lane, 'paused', 'placemat', %s, %s, now(), timeline, commit_lsn
FROM placemat.lanes WHERE source = %s AND lane = %s
ON CONFLICT (source, table_name) DO UPDATE SET state = 'paused', reason = EXCLUDED.reason, advice = EXCLUDED.advice,
    paused_by = EXCLUDED.paused_by, paused_at = EXCLUDED.paused_at, timeline = EXCLUDED.timeline,
    commit_lsn = EXCLUDED.commit_lsn
"""
_PAUSED = """
UPDATE placemat.pauses AS pause SET state = 'paused', paused_at = now(), timeline = lane.timeline,
    commit_lsn = lane.commit_lsn
FROM placemat.lanes AS lane
WHERE lane.source = pause.source AND lane = table_name AND pause.source = %s AND table_name = %s
"""
_REJOIN = """
DELETE FROM placemat.lanes AS lane USING placemat.lanes AS main
WHERE lane.source = %(source)s AND lane.lane = %(table)s AND main.source = lane.source AND main.lane = %(main)s
  AND (main.timeline, main.commit_lsn) = (lane.timeline, lane.commit_lsn)
"""
_END = "DELETE FROM placemat.pauses WHERE source = %s AND table_name = %s AND state = 'resuming'"
_ASKED = """
SELECT table_name, state FROM placemat.pauses AS pause
WHERE source = %s AND (state = 'asked' OR (state = 'resuming'
    AND EXISTS (SELECT FROM placemat.lanes AS lane WHERE lane.source = pause.source AND lane = table_name)))
ORDER BY table_name
"""


class Lanes:
    """One worker's hold on them. Every method but `claim` needs an open transaction and leaves it open."""

    def __init__(
        self, connection: psycopg.Connection[Any], target: str, source: str, topics: Mapping[str, str],
        above: Mapping[str, Collection[str]],
    ) -> None:  # fmt: skip
        """`topics` are those that are read, with the table of each. A table that is paused is not let go while one
        that is `above` it cannot go on."""
        self._connection = connection
        self._target = target
        self._source = source
        self._topics = topics
        self._above = above
        self._asked_to_resume: set[str] = set()
        self._epoch = 0
        self._offsets: dict[str, int] = {}
        self.main = Progress()
        self.tables: list[TableLane] = []

    @property
    def paused(self) -> frozenset[str]:
        """Tables that wait, as they were at the claim; not those that catch up."""
        return frozenset(lane.table for lane in self.tables if not lane.resuming)

    def claim(self) -> None:
        """Raise the epoch, which is committed at once, and only then read where each lane stands."""
        connection, source = self._connection, self._source
        row = connection.execute(_CLAIM, [source, MAIN_LANE]).fetchone()
        assert row is not None, "an upsert returns its row"
        connection.commit()
        self._epoch, offset, *place = row
        self._offsets = {MAIN_LANE: offset}
        self.tables = []
        stored = {(one.topic, one.partition): one for one in bookkeeping.read_offsets(connection, source)}
        taken = {key: Taken(one.next_offset, one.position) for key, one in stored.items()}
        rows = connection.execute(_TABLES, [source, MAIN_LANE]).fetchall()
        rows = [row for row in rows if row[0] in self._topics.values()]
        unfit = {table for table, _, by_us, *_ in rows if by_us}
        self._asked_to_resume = {table for table, resuming, *_ in rows if resuming}
        for table, resuming, _, offset_, *place_ in rows:
            self._offsets[table] = offset_
            own = {key: one for key, one in taken.items() if self._table_of(key) == table}
            goes_on = resuming and unfit.isdisjoint(self._above.get(table, ()))
            self.tables.append(TableLane(table, Progress(offset_, _place(place_), own), goes_on))
        apart = {lane.table for lane in self.tables}
        self.main = Progress(
            offset, _place(place), {key: one for key, one in taken.items() if self._table_of(key) not in apart}
        )

    @property
    def next_offsets(self) -> dict[Partition, int]:
        """First record not taken of every partition, as it was at the claim."""
        lanes = [self.main, *(lane.progress for lane in self.tables)]
        return {key: taken.next_offset for lane in lanes for key, taken in lane.partitions.items()}

    def ends_from(self, table: str | None = None) -> int:
        """Next record of the transactions topic, of the main lane or that of `table`."""
        return self._offsets[table or MAIN_LANE]

    def hold(self) -> None:
        """Lock the lanes. Raises Fenced when they were taken over."""
        held = self._connection.execute(_HOLD, [self._source, MAIN_LANE, self._epoch])
        if held.fetchone() is None:
            raise self.fenced()

    def store(self, progress: Progress, table: str | None) -> None:
        """Raises Fenced when the lanes were taken over, or this one has been moved by somebody else."""
        lane, epoch = (MAIN_LANE, self._epoch) if table is None else (table, TABLE_EPOCH)
        if table is not None:
            self.hold()
        if progress.partitions:
            rows = [(*key, taken.next_offset, *taken.position) for key, taken in progress.partitions.items()]
            columns = (list(column) for column in zip(*rows, strict=True))
            self._connection.execute(_STORE_OFFSETS, [self._source, *columns])
        place = [progress.transactions_offset, *progress.place]
        if self._connection.execute(_STORE, [*place, self._source, lane, epoch, self._offsets[lane]]).rowcount != 1:
            raise self.fenced()

    def stored(self, progress: Progress, table: str | None) -> None:
        """What was stored last is committed."""
        self._offsets[table or MAIN_LANE] = progress.transactions_offset

    def pause(self, table: str, reason: str, advice: str) -> None:
        self._split(table)
        self._connection.execute(_PAUSE, [reason, advice, self._source, table])

    def rejoin(self, table: str) -> None:
        """Raises Fenced when the lane does not stand where the main one does: somebody else has moved one of them.

        A pause that was asked for meanwhile stays asked for.
        """
        self.hold()
        values = {"source": self._source, "table": table, "main": MAIN_LANE}
        if self._connection.execute(_REJOIN, values).rowcount != 1:
            raise self.fenced()
        self._connection.execute(_END, [self._source, table])

    def regroup(self) -> bool:
        """Split the tables that are to be paused; True when lanes are no longer as they were at the claim."""
        changed = False
        for table, state in self._connection.execute(_ASKED, [self._source]).fetchall():
            if table not in self._topics.values():
                continue
            if state == "asked":
                self._split(table)
                self._connection.execute(_PAUSED, [self._source, table])
                changed = True
            elif table not in self._asked_to_resume:
                changed = True
        return changed

    def fenced(self) -> Fenced:
        return Fenced(f"another worker applies to target {self._target}")

    def _split(self, table: str) -> None:
        self.hold()
        self._connection.execute(_SPLIT, [table, self._source, MAIN_LANE])

    def _table_of(self, key: Partition) -> str | None:
        return self._topics.get(key[0])


def _place(columns: list[Any]) -> Place:
    timeline, commit_lsn = columns
    return timeline, commit_lsn
