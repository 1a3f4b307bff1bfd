"""Measures lag at its places: the target, Kafka, the source's slot. `placemat lag` and the gauges both ask here."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple, Protocol

import psycopg

from connectors.pushing import Backlogged
from daemon.config.settings import Settings
from daemon.config.source import Source
from daemon.errors import Unavailable
from daemon.observe import wal_guard
from daemon.observe.lag import (
    Bounds,
    KnownFrom,
    OldestUnapplied,
    Partition,
    Place,
    SourceLag,
    TargetLag,
    age_seconds,
    bytes_behind,
    count,
    records_behind,
)
from daemon.observe.topic_log import TopicLog
from schemas.envelope import TransactionEnd
from schemas.topics import table_topic, transactions_topic

_SLOT = """
SELECT active, pg_wal_lsn_diff(pg_current_wal_flush_lsn(), confirmed_flush_lsn)::bigint,
       (SELECT CASE WHEN setting::bigint >= 0 THEN setting::bigint * 1024 * 1024 END
        FROM pg_settings WHERE name = 'max_slot_wal_keep_size'),
       safe_wal_size, wal_status, (pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::bigint
FROM pg_replication_slots WHERE slot_name = %s
"""


class Progress(Protocol):
    """How far a target says it is: next offsets, the next transaction end, the commit applied through, parked keys,
    paused tables."""

    @property
    def offsets(self) -> Mapping[Partition, int]: ...
    @property
    def transactions_offset(self) -> int: ...
    @property
    def timeline(self) -> int: ...
    @property
    def commit_lsn(self) -> int: ...
    @property
    def parked(self) -> int: ...
    @property
    def paused(self) -> Collection[str]: ...
    @property
    def backlog(self) -> Backlogged | None: ...


class ReadProgress(Protocol):
    """None before a target's first start; raises Unavailable when it does not answer."""

    def __call__(self) -> Progress | None: ...
    def close(self) -> None: ...


class _Place(NamedTuple):
    """Where a target stands."""

    known_from: KnownFrom
    taken: Mapping[Partition, int]
    applied: Place | None
    parked: int | None
    paused: frozenset[str] | None
    backlog: Backlogged | None


class TargetMeasure:
    """Measures one target, again and again; not shared by threads. `clock` gives microseconds since 1970."""

    def __init__(
        self,
        settings: Settings,
        name: str,
        log: TopicLog,
        read_progress: ReadProgress,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000,
    ) -> None:
        target = settings.targets[name]
        self._group = f"placemat.{name}"
        self._tables = {table_topic(target.source, *table.split(".", 1)): table for table in target.needed}
        self._spine: Partition = (transactions_topic(target.source), 0)
        self._log = log
        self._read_progress = read_progress
        self._clock = clock
        self._partitions: list[Partition] = []
        self._paused: frozenset[str] = frozenset()
        self._oldest = self._look_for_oldest()

    def __call__(self) -> TargetLag:
        """The lag as it is now. Raises Unavailable when Kafka does not answer, OperatorError when a topic lacks."""
        self._partitions = self._partitions or self._log.partitions(self._tables)
        # The target's place first: what is published in between counts as lag, and never the other way round.
        known_from, taken, applied, parked, paused, backlog = self._place()
        self._leave_out(paused or frozenset())
        bounds = self._log.bounds([*self._partitions, self._spine])
        spine = bounds.pop(self._spine)
        behind = records_behind(bounds, taken)
        waiting = self._waiting(bounds, behind) if paused is not None else None
        first = {key: offset for key, offset in behind.items() if self._tables[key[0]] not in self._paused}
        if not first:
            return TargetLag(0, 0.0, 0, parked, known_from, waiting, backlog)
        start = max(taken.get(self._spine, spine.begin), spine.begin)
        if applied is None and start > spine.begin:
            applied = self._place_before(start)
        oldest = self._oldest.find(start, spine.end, applied)
        newest = self._single(spine.end - 1) if spine.end > spine.begin else None
        return TargetLag(
            count(bounds, first),
            age_seconds(self._oldest_us(oldest, first), self._clock()),
            bytes_behind(newest, applied, oldest),
            parked,
            known_from,
            waiting,
            backlog,
        )

    def _leave_out(self, paused: frozenset[str]) -> None:
        if paused != self._paused:
            self._paused = paused
            self._oldest = self._look_for_oldest()

    def _look_for_oldest(self) -> OldestUnapplied:
        topics = [topic for topic, table in self._tables.items() if table not in self._paused]
        return OldestUnapplied(topics, lambda start, stop: self._log.transaction_ends(self._spine[0], start, stop))

    def _waiting(self, bounds: Mapping[Partition, Bounds], behind: Mapping[Partition, int]) -> dict[str, int]:
        """Records that wait for each paused table."""
        return {
            table: count(bounds, {key: offset for key, offset in behind.items() if key[0] == topic})
            for topic, table in self._tables.items()
            if table in self._paused
        }

    def _place(self) -> _Place:
        try:
            progress = self._read_progress()
        except Unavailable:
            committed = self._log.committed(self._group, [*self._partitions, self._spine])
            return _Place("group" if committed else "beginning", committed, None, None, None, None)
        if progress is None:
            return _Place("beginning", {}, None, 0, frozenset(), None)
        taken = {**progress.offsets, self._spine: progress.transactions_offset}
        applied = (progress.timeline, progress.commit_lsn) if progress.commit_lsn else None
        paused = frozenset(progress.paused)
        return _Place("target", taken, applied, progress.parked, paused, progress.backlog)

    def _place_before(self, offset: int) -> Place | None:
        """Where a lane stands whose next transaction end is at this offset."""
        end = self._single(offset - 1)
        return None if end is None else (end.timeline, end.commit_lsn)

    def _single(self, offset: int) -> TransactionEnd | None:
        return next((end for _, end in self._log.transaction_ends(self._spine[0], offset, offset + 1)), None)

    def _oldest_us(self, oldest: TransactionEnd | None, first: Mapping[Partition, int]) -> int | None:
        if oldest is not None:
            return oldest.ts_us
        # Its end is not published yet: a large transaction on its way, or a capture that died within one.
        return min(self._log.commit_times_us(first), default=None)


class SourceMeasure:
    """Measures one source's slot, again and again; not shared by threads."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._rate = wal_guard.Rate()
        self._connection: psycopg.Connection[Any] | None = None

    def __call__(self) -> SourceLag:
        """The slot as it is now. Raises Unavailable when the source does not answer or has no such slot."""
        try:
            if self._connection is None:
                self._connection = psycopg.connect(
                    self._source.url.get_secret_value(),
                    autocommit=True,
                    connect_timeout=2,
                    application_name="placemat observe",
                    options="-c statement_timeout=5s",
                )
            row = self._connection.execute(_SLOT, [self._source.slot]).fetchone()
        except psycopg.Error as error:
            self.close()
            raise Unavailable("the source does not answer") from error
        if row is None:
            raise Unavailable("the source has no such slot")
        active, behind, limit, safe, wal_status, written = row
        keep = wal_guard.Keep(limit, safe, wal_status)
        left = wal_guard.seconds_left(safe, self._rate.feed(time.monotonic(), written))
        return SourceLag(behind, 0.0 if behind == 0 else None, active, keep, left)

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
