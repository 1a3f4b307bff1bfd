"""What the merge does with heads that no transaction end counts, and with ends that come too late."""

from __future__ import annotations

import pytest

from connectors.contract import Progress, Record, Taken
from daemon.consume.merge import Limits, Merge
from daemon.errors import OperatorError
from schemas.envelope import TransactionEnd
from schemas.position import Position

SPINE = ("ends", 0)
ZERO, ONE = ("t", 0), ("t", 1)


def merge(stored: Progress | None = None) -> Merge:
    return Merge(stored or Progress(), [ZERO, ONE], SPINE, Limits(2, 1 << 20))


def record(partition: int, offset: int, lsn: int, ordinal: int, op: str = "c") -> Record:
    return Record("t", partition, offset, Position(1, lsn, ordinal), b"k", b'{"op":"%b"}' % op.encode())


def end(lsn: int, counts: dict[str, int], kind: str = "tx") -> TransactionEnd:
    return TransactionEnd.model_validate(
        {"kind": kind, "timeline": 1, "commit_lsn": lsn, "ts_us": 0, "xid": 1, "counts": {"t": counts}, "epoch": 1}
    )


def test_a_stream_event_that_no_end_counts_is_a_gap() -> None:
    lane = merge()
    lane.feed(record(0, 0, 10, 1))
    lane.feed_end(0, end(20, {"0": 1}))
    with pytest.raises(OperatorError, match=r"gap in partition 0.*no transaction end counts"):
        lane.take(10)


def test_an_event_that_is_missing_is_a_gap() -> None:
    lane = merge()
    lane.feed(record(0, 0, 20, 1))
    lane.feed_end(0, end(10, {"0": 1}))
    with pytest.raises(OperatorError, match="1 records of the commit at 0/A are missing"):
        lane.take(10)


def test_rows_of_a_frozen_capture_that_were_dropped_are_not_waited_for() -> None:
    lane = merge()
    lane.feed(record(0, 0, 30, 1))
    lane.feed_end(0, end(20, {"0": 3}, "snapshot"))
    lane.feed_end(1, end(30, {"0": 1}))
    batch = lane.take(10)
    assert [one.position.commit_lsn for one in batch.records] == [30]
    assert len(batch.ends) == 2


def test_rows_of_an_abandoned_chunk_are_dropped() -> None:
    lane = merge()
    lane.feed(record(0, 0, 10, 1, "r"))
    lane.feed(record(0, 1, 20, 1))
    lane.feed_end(0, end(20, {"0": 1}))
    assert [one.offset for one in lane.take(10).records] == [1]


def test_a_partition_with_no_count_is_never_waited_for() -> None:
    lane = merge()
    lane.feed(record(0, 0, 10, 1))
    lane.feed_end(0, end(10, {"0": 1, "1": 0}))
    assert lane.take(10).at_boundary


def test_what_is_not_admitted_waits_and_all_after_it_although_it_is_at_hand() -> None:
    lane = merge()
    for at, lsn in enumerate((10, 20, 30)):
        lane.feed(record(at % 2, at, lsn, 1))
        lane.feed_end(at, end(lsn, {str(at % 2): 1}))
    batch = lane.take(10, lambda one: one.commit_lsn != 20)
    assert [one.position.commit_lsn for one in batch.records] == [10]
    assert batch.at_boundary
    assert [one.position.commit_lsn for one in lane.take(10).records] == [20, 30]


def test_a_doubled_or_old_end_is_dropped() -> None:
    lane = merge(Progress(4, (1, 50), {}))
    lane.feed_end(4, end(40, {"0": 1}))
    lane.feed_end(5, end(50, {"0": 1}))
    assert lane.take(10).ends == []
    moved = lane.progress()
    assert moved is not None
    assert moved.transactions_offset == 6


def test_offsets_that_moved_over_dropped_duplicates_only_are_stored() -> None:
    lane = merge(Progress(1, (1, 10), {ZERO: Taken(3, Position(1, 10, 3))}))
    assert not lane.feed(record(0, 3, 10, 2))
    moved = lane.progress()
    assert moved is not None
    assert moved.partitions == {ZERO: Taken(4, Position(1, 10, 3))}
    lane.stored(moved)
    assert lane.progress() is None


def test_what_an_abandoned_chunk_left_is_dropped_when_idle() -> None:
    lane = merge(Progress(1, (1, 50), {}))
    lane.feed(record(0, 0, 40, 1, "r"))
    lane.feed(record(1, 0, 60, 1, "r"))
    lane.drop_stale()
    moved = lane.progress()
    assert moved is not None
    assert moved.partitions[ZERO].next_offset == 1
    assert ONE not in moved.partitions


def test_a_large_transaction_flows_through_small_buffers() -> None:
    lane = merge()
    lane.feed_end(0, end(10, {"0": 50, "1": 50}))
    offsets, paused = [0, 0], set[int]()
    taken: list[int] = []
    while len(taken) < 100:
        for partition in (0, 1):
            if partition not in paused and offsets[partition] < 50:
                lane.feed(record(partition, offsets[partition], 10, 1 + 2 * offsets[partition] + partition))
                offsets[partition] += 1
        pause, resume = lane.flow()
        paused = (paused | {key[1] for key in pause}) - {key[1] for key in resume}
        batch = lane.take(7)
        taken += [one.position.ordinal for one in batch.records]
        assert batch.at_boundary == (len(taken) in (0, 100))
    assert taken == list(range(1, 101))


def test_what_is_complete_is_not_held_up_by_a_large_transaction_behind_it() -> None:
    lane = merge()
    lane.feed(record(1, 0, 10, 1))
    lane.feed_end(0, end(10, {"1": 1}))
    lane.feed_end(1, end(20, {"0": 9}))
    for at in range(2):
        lane.feed(record(0, at, 20, at + 1))
    assert lane.take(10).at_boundary
    assert not lane.take(10).at_boundary
