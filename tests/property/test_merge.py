"""Whatever the interleaving of partitions, duplicates and left-over chunks: the merge gives commit order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.contract import Partition, Progress, Record
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

    def __init__(self, log: Log, stored: Progress, limits: Limits) -> None:
        self.log = log
        self.merge = Merge(stored, log.partitions.keys(), SPINE, limits)
        self.at = {key: stored.partitions[key].next_offset if key in stored.partitions else 0 for key in log.partitions}
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
