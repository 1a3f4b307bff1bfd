"""Puts the records of many partitions back into the order in which the source committed them. Pure.

The transaction end is the spine: it says how many records of a transaction stand in each partition, so that an idle
partition is never waited for, and none is left behind. No buffer depends on the size of a transaction.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

import msgspec

from connectors.contract import Partition, Place, Progress, Record, Taken
from connectors.errors import Gap
from schemas.envelope import TransactionEnd
from schemas.position import Position, format_lsn

RECORD_OVERHEAD_BYTES = 400
"""What a buffered record costs beside its key and value."""
_LAST = 0xFFFFFFFFFF
"""Behind every place of a transaction."""
TRANSACTION_ENDS = 10_000
"""Most transaction ends read ahead."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Most records and bytes that one partition may have in its buffer before it is paused."""

    records: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Records in commit order, the transactions that are complete with them, and whether nothing is cut in two."""

    records: list[Record]
    ends: list[TransactionEnd]
    at_boundary: bool


class _Op(msgspec.Struct):
    op: str


_decode_op = msgspec.json.Decoder(_Op).decode


class _Buffer:
    """Records fetched from one partition and not taken; `after_fetched` is the offset after the last one fetched."""

    __slots__ = ("after_fetched", "bytes", "fetched", "key", "records", "taken")

    def __init__(self, key: Partition, stored: Taken) -> None:
        self.key = key
        self.records: deque[Record] = deque()
        self.bytes = 0
        self.fetched: Position = stored.position
        self.taken: Position = stored.position
        self.after_fetched = stored.next_offset

    def feed(self, record: Record) -> bool:
        self.after_fetched = record.offset + 1
        if record.position <= self.fetched:
            return False
        self.fetched = record.position
        self.records.append(record)
        self.bytes += _size(record)
        return True

    def pop(self) -> Record:
        record = self.records.popleft()
        self.bytes -= _size(record)
        self.taken = record.position
        return record

    def state(self) -> Taken:
        """All that stood between two buffered records was dropped, so the next one tells where to go on."""
        return Taken(self.records[0].offset if self.records else self.after_fetched, self.taken)


@dataclass(slots=True)
class _Transaction:
    """The transaction that is being taken: records left by partition, heads by ordinal, partitions without a head."""

    end: TransactionEnd
    left: dict[Partition, int]
    heads: list[tuple[int, Partition]] = field(default_factory=list)
    waiting: set[Partition] = field(default_factory=set)

    @property
    def place(self) -> Place:
        return self.end.timeline, self.end.commit_lsn


class Merge:
    """One lane. Feed it what the partitions hold, in any interleaving, and take it in commit order.

    `stored` is where the lane stands in the target. Partitions that it does not name are those of tables that the
    target follows from now on: what they hold up to the lane's own place is dropped. They begin at `begins`.
    """

    def __init__(
        self, stored: Progress, partitions: Collection[Partition], spine: Partition, limits: Limits,
        begins: Mapping[Partition, int] | None = None,
    ) -> None:  # fmt: skip
        self._limits = limits
        self._spine = spine
        self._place = stored.place
        new = {key: Taken(at, Position(*stored.place, _LAST)) for key, at in (begins or {}).items()}
        self._buffers = {key: _Buffer(key, stored.partitions.get(key, new.get(key, Taken()))) for key in partitions}
        self._ends: deque[tuple[int, TransactionEnd]] = deque()
        self._after_ends = stored.transactions_offset
        self._current: _Transaction | None = None
        self._paused: set[Partition] = set()
        known = self._buffers.keys() - new.keys()
        self._stored: dict[Partition, Taken] = {key: self._buffers[key].state() for key in known}
        self._stored_spine = stored.transactions_offset, stored.place

    def feed(self, record: Record) -> bool:
        """Take in a record; False when it was dropped, because its partition has given as much already."""
        return self._buffers[record.topic, record.partition].feed(record)

    def feed_end(self, offset: int, end: TransactionEnd) -> None:
        """Take in a record of the transactions topic."""
        self._after_ends = offset + 1
        self._ends.append((offset, end))

    @property
    def place(self) -> Place:
        """The commit through which everything is taken."""
        return self._place

    @property
    def next_offset(self) -> int:
        """Of the transactions topic: the first record not taken."""
        return self._spine_offset()

    def next_end(self) -> TransactionEnd | None:
        """The transaction that is begun next, if it is here."""
        while self._ends and (self._ends[0][1].timeline, self._ends[0][1].commit_lsn) <= self._place:
            self._ends.popleft()
        return self._ends[0][1] if self._ends else None

    def take(self, limit: int, admit: Callable[[TransactionEnd], bool] = lambda _: True) -> Batch:
        """The next records, at most `limit`. A transaction is begun only when it can be taken whole, or when its
        partitions hold as much as they may; and, like all after it, not before it is admitted.

        Raises OperatorError when a record is missing or was left behind.
        """
        records: list[Record] = []
        ends: list[TransactionEnd] = []
        while len(records) < limit:
            if self._current is None:
                self._current = self._begin(admit, alone=not records)
                if self._current is None:
                    break
            if not self._drain(self._current, records, limit):
                break
            ends.append(self._current.end)
            self._place = self._current.place
            self._current = None
        return Batch(records, ends, self._current is None)

    def progress(self) -> Progress | None:
        """What has moved since the last `stored`; None when nothing has. Holds only where nothing is cut in two."""
        assert self._current is None, "a transaction is cut in two"
        moved = {}
        for key, buffer in self._buffers.items():
            state = buffer.state()
            if state != self._stored.get(key):
                moved[key] = state
        spine = self._spine_offset(), self._place
        if not moved and spine == self._stored_spine:
            return None
        return Progress(*spine, moved)

    def stored(self, progress: Progress) -> None:
        """The target has committed this."""
        self._stored.update(progress.partitions)
        self._stored_spine = progress.transactions_offset, progress.place

    def drop_stale(self) -> None:
        """Drop what abandoned chunks of a snapshot left at the heads, when there is nothing else to do."""
        if self._current is None:
            for buffer in self._buffers.values():
                while buffer.records and buffer.records[0].position[:2] <= self._place and _is_read(buffer.records[0]):
                    buffer.pop()

    def flow(self) -> tuple[list[Partition], list[Partition]]:
        """Partitions to pause now, and those to resume."""
        pause = [key for key in self._buffers if key not in self._paused and self._is_full(key, 1)]
        resume = [key for key in self._paused if key != self._spine and not self._is_full(key, 2)]
        if self._spine not in self._paused and len(self._ends) >= TRANSACTION_ENDS:
            pause.append(self._spine)
        elif self._spine in self._paused and len(self._ends) < TRANSACTION_ENDS // 2:
            resume.append(self._spine)
        self._paused.update(pause)
        self._paused.difference_update(resume)
        return pause, resume

    def _is_full(self, key: Partition, share: int) -> bool:
        """Whether a partition holds its limit divided by `share`."""
        buffer = self._buffers[key]
        return bool(buffer.records) and (
            len(buffer.records) * share >= self._limits.records or buffer.bytes * share >= self._limits.bytes
        )

    def _spine_offset(self) -> int:
        return self._ends[0][0] if self._ends else self._after_ends

    def _begin(self, admit: Callable[[TransactionEnd], bool], *, alone: bool) -> _Transaction | None:
        end = self.next_end()
        if end is None or not admit(end):
            return None
        left = self._counts(end.counts)
        whole = True
        for key, count in left.items():
            if not self._has_all(key, count, end):
                whole = False
                if key not in self._paused and not self._is_full(key, 1):
                    return None  # more of it will come
        if not whole and not alone:
            return None  # what is at hand is committed before a transaction that takes long
        self._ends.popleft()
        return _Transaction(end, left, waiting=set(left))

    def _counts(self, counts: Mapping[str, Mapping[str, int]]) -> dict[Partition, int]:
        left = {}
        for topic, by_partition in counts.items():
            for number, count in by_partition.items():
                key = topic, int(number)
                if count and key in self._buffers:
                    left[key] = count
        return left

    def _has_all(self, key: Partition, count: int, end: TransactionEnd) -> bool:
        place = end.timeline, end.commit_lsn
        buffer = self._buffers[key]
        self._drop_before(buffer, place)
        records = buffer.records
        return len(records) >= count or (bool(records) and records[-1].position[:2] > place)

    def _drain(self, transaction: _Transaction, records: list[Record], limit: int) -> bool:
        """Take records until the transaction is complete (True), the limit is reached, or a head is missing."""
        heads, left, buffers = transaction.heads, transaction.left, self._buffers
        while True:
            for key in list(transaction.waiting):
                if not self._find_head(transaction, key):
                    return False
            if not heads:
                return True
            if len(records) >= limit:
                return False
            _, key = heads[0]
            buffer = buffers[key]
            records.append(buffer.pop())
            left[key] -= 1
            if left[key] and buffer.records and buffer.records[0].position[:2] == transaction.place:
                heapq.heapreplace(heads, (buffer.records[0].position.ordinal, key))
                continue
            heapq.heappop(heads)
            if left[key]:
                transaction.waiting.add(key)

    def _find_head(self, transaction: _Transaction, key: Partition) -> bool:
        """Whether it is known what a partition gives next to the transaction: a record, or nothing any more."""
        buffer = self._buffers[key]
        self._drop_before(buffer, transaction.place)
        if not buffer.records:
            return False
        position = buffer.records[0].position
        if position[:2] == transaction.place:
            heapq.heappush(transaction.heads, (position.ordinal, key))
        elif transaction.end.kind == "tx":
            raise _gap(key, f"{transaction.left[key]} records of the commit at {_lsn(transaction.place)} are missing")
        transaction.waiting.discard(key)
        return True

    def _drop_before(self, buffer: _Buffer, place: Place) -> None:
        while buffer.records and buffer.records[0].position[:2] < place:
            head = buffer.records[0]
            if not _is_read(head):
                raise _gap(buffer.key, f"no transaction end counts the record at offset {head.offset}")
            buffer.pop()


def _size(record: Record) -> int:
    return len(record.key) + len(record.value) + RECORD_OVERHEAD_BYTES


def _is_read(record: Record) -> bool:
    return _decode_op(record.value).op == "r"


def _lsn(place: Place) -> str:
    return format_lsn(place[1])


def _gap(key: Partition, what: str) -> Gap:
    return Gap(f"Topic {key[0]} has a gap in partition {key[1]}: {what}.", "records_missing")
