"""How far behind a target is: numbers in, numbers out. What is not known is None, never 0."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from connectors.pushing import Backlogged
from daemon.observe.wal_guard import Keep
from schemas.envelope import TransactionEnd

Partition = tuple[str, int]
"""Topic and number."""
Place = tuple[int, int]
"""Timeline and commit LSN."""
KnownFrom = Literal["target", "group", "beginning"]
"""Where a target's place was read: in the target; in Kafka, while the target is away; nowhere, as it never started."""


@dataclass(frozen=True, slots=True)
class TargetLag:
    """Records in the topics and not taken, age of the oldest transaction not applied, WAL up to the newest commit.

    Paused tables are counted apart: `paused` holds the records that wait for each, None when it is not known. `backlog`
    is what a service has yet to be told of what was taken; None for a database, and when it is not known.
    """

    records: int
    seconds: float | None
    bytes: int | None
    parked: int | None
    known_from: KnownFrom
    paused: Mapping[str, int] | None = field(default_factory=dict)
    backlog: Backlogged | None = None


@dataclass(frozen=True, slots=True)
class SourceLag:
    """WAL that the slot has not got confirmed. `seconds` is 0 when that is none, else not to be known from outside.

    `seconds_left` until the slot is lost, once the rate is known; None where nothing limits it or nothing is written.
    """

    bytes: int | None
    seconds: float | None
    active: bool
    keep: Keep
    seconds_left: float | None


@dataclass(frozen=True, slots=True)
class Bounds:
    """Offsets of a partition's first record, and after its last."""

    begin: int
    end: int


def records_behind(bounds: Mapping[Partition, Bounds], taken: Mapping[Partition, int]) -> dict[Partition, int]:
    """First offset not taken, for each partition that has such records; `taken` holds next offsets."""
    first = {partition: max(taken.get(partition, bound.begin), bound.begin) for partition, bound in bounds.items()}
    return {partition: offset for partition, offset in first.items() if offset < bounds[partition].end}


def count(bounds: Mapping[Partition, Bounds], first: Mapping[Partition, int]) -> int:
    return sum(bounds[partition].end - offset for partition, offset in first.items())


def age_seconds(oldest_us: int | None, now_us: int) -> float | None:
    """Never negative: the source's clock may be ahead of ours."""
    return None if oldest_us is None else max(0, now_us - oldest_us) / 1_000_000


def bytes_behind(newest: TransactionEnd | None, applied: Place | None, oldest: TransactionEnd | None) -> int | None:
    """From what is applied, or from the oldest that is not where nothing is applied yet, to the newest commit."""
    if newest is None:
        return None
    if applied is not None:
        return max(0, newest.commit_lsn - applied[1])
    return None if oldest is None else max(0, newest.commit_lsn - oldest.commit_lsn)


def touches(end: TransactionEnd, topics: Collection[str]) -> bool:
    """Whether a transaction has records in one of the topics."""
    return any(any(end.counts[topic].values()) for topic in topics if topic in end.counts)


class OldestUnapplied:
    """Finds the oldest transaction that a target has not applied, and remembers what it has read.

    `read(start, stop)` gives offset and content of the transactions topic's records, as far as it comes in time.
    """

    def __init__(
        self, topics: Collection[str], read: Callable[[int, int], Iterable[tuple[int, TransactionEnd]]]
    ) -> None:
        self._topics = topics
        self._read = read
        self._from = 0
        self._next = 0
        self._found: tuple[int, TransactionEnd] | None = None

    def find(self, start: int, stop: int, applied: Place | None) -> TransactionEnd | None:
        """Look from offset `start` up to `stop`; None when there is none, or reading has not come to it yet."""
        if not self._from <= start <= self._next:
            self._from = self._next = start
            self._found = None
        if self._found is not None and (self._found[0] < start or not _is_after(self._found[1], applied)):
            self._from, self._next = start, max(start, self._found[0] + 1)
            self._found = None
        if self._found is None:
            for offset, end in self._read(max(start, self._next), stop):
                self._next = offset + 1
                if _is_after(end, applied) and touches(end, self._topics):
                    self._found = offset, end
                    break
        return self._found[1] if self._found else None


def _is_after(end: TransactionEnd, applied: Place | None) -> bool:
    return applied is None or (end.timeline, end.commit_lsn) > applied
