"""Whatever the interleaving of partitions, duplicates and left-over chunks: the merge gives commit order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.contract import Partition, Place, Progress, Record
from daemon.consume.merge import Limits, Merge
from schemas.envelope import TransactionEnd
from schemas.position import Position

TABLES = ("a", "b")
SPINE: Partition = ("ends", 0)
ELSEWHERE = "other"
Draw = Callable[[st.SearchStrategy[int]], int]


@dataclass
class Log:
    """What stands in the topics: records by partition, transaction ends, and the order that is right."""

    partitions: dict[Partition, list[Record]]
    ends: list[TransactionEnd]
    expected: list[tuple[Position, str]]

    def append(self, key: Partition, position: Position, op: str) -> None:
        log = self.partitions[key]
        log.append(Record(*key, len(log), position, b"", b'{"op":"%b"}' % op.encode()))


@st.composite
def logs(draw: Draw) -> Log:
    """Transactions, snapshot chunks (some abandoned and left over), doubled ends, records appended again."""
    keys = [(table, number) for table in TABLES for number in range(draw(st.integers(1, 3)))]
    log = Log({key: [] for key in keys}, [], [])
    for number in range(1, draw(st.integers(1, 12)) + 1):
        kind = draw(st.integers(0, 5))
        op = "r" if kind in (0, 1) else "c"
        abandoned = kind == 0
        counts: dict[str, Counter[str]] = {}
        for ordinal in range(1, draw(st.integers(0, 9)) + 1):
            key = keys[draw(st.integers(0, len(keys) - 1))]
            position = Position(1, number * 10, ordinal)
            log.append(key, position, op)
            if not abandoned:
                counts.setdefault(key[0], Counter())[str(key[1])] += 1
                log.expected.append((position, op))
        if draw(st.integers(0, 3)) == 0:
            counts.setdefault(ELSEWHERE, Counter())["0"] += 1
        if counts:
            end = TransactionEnd(
                kind="snapshot" if op == "r" else "tx", timeline=1, commit_lsn=number * 10, ts_us=0, xid=number,
                counts={topic: dict(by) for topic, by in counts.items()}, epoch=1,
            )  # fmt: skip
            log.ends += [end] * draw(st.integers(1, 2))
        for key in keys:
            if log.partitions[key] and draw(st.integers(0, 9)) == 0:
                old = log.partitions[key][draw(st.integers(0, len(log.partitions[key]) - 1))]
                log.partitions[key].append(old._replace(offset=len(log.partitions[key])))
    return log


class Reader:
    """Feeds a merge as a consumer would: from the stored offsets, pausing what is to be paused."""

    def __init__(self, log: Log, stored: Progress, limits: Limits, tables: Collection[str] = TABLES) -> None:
        self.log = log
        self.keys = [key for key in log.partitions if key[0] in tables]
        self.merge = Merge(stored, self.keys, SPINE, limits)
        self.at = {key: stored.partitions[key].next_offset if key in stored.partitions else 0 for key in self.keys}
        self.at[SPINE] = stored.transactions_offset
        self.paused: set[Partition] = set()

    def feed(self, key: Partition) -> bool:
        """One record of a partition; False when it has none, or is paused."""
        source: list[Record] | list[TransactionEnd] = self.log.ends if key == SPINE else self.log.partitions[key]
        if key in self.paused or self.at[key] >= len(source):
            return False
        item = source[self.at[key]]
        if isinstance(item, Record):
            self.merge.feed(item)
        else:
            self.merge.feed_end(self.at[key], item)
        self.at[key] += 1
        pause, resume = self.merge.flow()
        self.paused |= set(pause)
        self.paused -= set(resume)
        return True


def together(stored: Progress, new: Progress) -> Progress:
    return Progress(new.transactions_offset, new.place, {**stored.partitions, **new.partitions})


@settings(max_examples=150, deadline=None)
@given(logs(), st.data(), st.integers(1, 4), st.integers(1, 5))
def test_the_merge_gives_commit_order_once_each_whatever_comes_when(
    log: Log, data: st.DataObject, limit: int, most: int
) -> None:
    stored = Progress()
    reader = Reader(log, stored, Limits(limit, 1 << 30))
    taken: list[tuple[Position, str]] = []
    open_: list[tuple[Position, str]] = []
    crashes = 0
    idle = False
    while not idle:
        if crashes < 3 and data.draw(st.integers(0, 9)) == 0:  # what is not committed is read again
            crashes += 1
            reader, open_ = Reader(log, stored, Limits(limit, 1 << 30)), []
        keys = data.draw(st.permutations([SPINE, *log.partitions]))
        some = data.draw(st.integers(1, len(keys)))
        fed = any([reader.feed(key) for key in keys[:some]]) or any([reader.feed(key) for key in keys[some:]])
        batch = reader.merge.take(most)
        pause, resume = reader.merge.flow()
        reader.paused = (reader.paused | set(pause)) - set(resume)
        open_ += [(record.position, "r" if b'"r"' in record.value else "c") for record in batch.records]
        if batch.at_boundary:
            reader.merge.drop_stale()
            progress = reader.merge.progress()
            if progress is not None:
                stored = together(stored, progress)
                reader.merge.stored(progress)
            taken += open_
            open_ = []
        idle = not (fed or batch.records or batch.ends or resume)
    assert taken == log.expected
    assert open_ == []


class Target:
    """What a target has committed: each lane's progress, and the events of each table."""

    def __init__(self) -> None:
        self.lanes: dict[str, Progress] = {"main": Progress()}
        self.taken: dict[str, list[tuple[Position, str]]] = {table: [] for table in TABLES}

    def tables(self, lane: str) -> list[str]:
        """Those that the lane applies."""
        return [table for table in TABLES if table not in self.lanes] if lane == "main" else [lane]


class Applying:
    """One lane of a worker, from what the target holds; what is not at a boundary is not committed."""

    def __init__(self, log: Log, target: Target, lane: str, limit: int) -> None:
        self.lane = lane
        self.target = target
        self.reader = Reader(log, target.lanes[lane], Limits(limit, 1 << 30), target.tables(lane))
        self.open: list[Record] = []

    @property
    def place(self) -> Place:
        return self.target.lanes[self.lane].place

    def step(self, data: st.DataObject, most: int, until: Place | None = None) -> bool:
        """Feed some partitions and take what there is; whether anything has moved."""
        keys = data.draw(st.permutations([SPINE, *self.reader.keys]))
        some = data.draw(st.integers(1, len(keys)))
        fed = any([self.reader.feed(key) for key in keys[:some]]) or any([self.reader.feed(key) for key in keys[some:]])
        merge = self.reader.merge
        batch = merge.take(most, lambda end: until is None or (end.timeline, end.commit_lsn) <= until)
        pause, resume = merge.flow()
        self.reader.paused = (self.reader.paused | set(pause)) - set(resume)
        self.open += batch.records
        if batch.at_boundary:
            merge.drop_stale()
            progress = merge.progress()
            if progress is not None:
                self.target.lanes[self.lane] = together(self.target.lanes[self.lane], progress)
                merge.stored(progress)
            for record in self.open:
                self.target.taken[record.topic].append((record.position, "r" if b'"r"' in record.value else "c"))
            self.open = []
        return bool(fed or batch.records or batch.ends or resume)


@settings(max_examples=150, deadline=None)
@given(logs(), st.data(), st.integers(1, 4), st.integers(1, 5))
def test_a_table_that_is_paused_and_resumed_at_any_time_misses_nothing_and_repeats_nothing(
    log: Log, data: st.DataObject, limit: int, most: int
) -> None:
    target = Target()
    main, behind = Applying(log, target, "main", limit), None
    crashes = pauses = 0
    idle = False
    while not idle or len(target.lanes) > 1:
        choice = data.draw(st.integers(0, 9))
        if choice == 0 and crashes < 3:
            crashes += 1
            main, behind = Applying(log, target, "main", limit), None
        elif choice == 1 and len(target.lanes) == 1 and pauses < 3:  # split: as committed, what is open is forgotten
            pauses += 1
            main_progress = target.lanes["main"]
            own = {key: taken for key, taken in main_progress.partitions.items() if key[0] == "a"}
            rest = {key: taken for key, taken in main_progress.partitions.items() if key[0] != "a"}
            target.lanes["a"] = Progress(main_progress.transactions_offset, main_progress.place, own)
            target.lanes["main"] = Progress(main_progress.transactions_offset, main_progress.place, rest)
            main = Applying(log, target, "main", limit)
        idle = not main.step(data, most)
        if len(target.lanes) > 1 and data.draw(st.booleans()):
            behind = behind or Applying(log, target, "a", limit)
            idle = not behind.step(data, most, until=main.place) and idle
            if not behind.open and behind.place == main.place:  # rejoin
                main_progress, own_progress = target.lanes["main"], target.lanes.pop("a")
                partitions = {**main_progress.partitions, **own_progress.partitions}
                target.lanes["main"] = Progress(main_progress.transactions_offset, main_progress.place, partitions)
                main, behind, idle = Applying(log, target, "main", limit), None, False
    for table in TABLES:
        offsets = {record.position for key, records in log.partitions.items() if key[0] == table for record in records}
        assert target.taken[table] == [one for one in log.expected if one[0] in offsets]


@settings(max_examples=60, deadline=None)
@given(logs(), st.integers(1, 3))
def test_no_partition_holds_more_than_its_limit(log: Log, limit: int) -> None:
    reader = Reader(log, Progress(), Limits(limit, 1 << 30))
    moved = True
    while moved:
        moved = any([reader.feed(key) for key in (*log.partitions, SPINE)])
        assert all(len(buffer.records) <= limit for buffer in reader.merge._buffers.values())
        moved |= bool(reader.merge.take(1).records)
        pause, resume = reader.merge.flow()
        reader.paused = (reader.paused | set(pause)) - set(resume)
