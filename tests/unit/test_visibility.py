"""Which rows of a snapshot may be published."""

from __future__ import annotations

import tracemalloc

from daemon.capture.visibility import MOST_TOUCHES, WHOLE_TABLE_AFTER, Snapshot, Visibility

WRAP = 1 << 32


def streamed(visibility: Visibility, xid: int, *keys: str, table: str = "t") -> None:
    visibility.begin(xid)
    for key in keys:
        visibility.touch(table, key)
    visibility.commit()


def test_a_snapshot_sees_what_had_ended_when_it_was_taken() -> None:
    snapshot = Snapshot.parse("10:20:10,14")
    assert [xid for xid in range(8, 22) if snapshot.sees(xid)] == [8, 9, 11, 12, 13, *range(15, 20)]
    assert Snapshot.parse("10:10:") == Snapshot(10, 10, frozenset())


def test_a_key_is_dirty_while_the_snapshot_does_not_see_who_touched_it() -> None:
    visibility = Visibility([])
    streamed(visibility, 14, "a")
    unseen, seen = Snapshot.parse("10:20:14"), Snapshot.parse("15:20:")
    assert visibility.dirty("t", unseen)("a")
    assert not visibility.dirty("t", seen)("a")
    assert not visibility.dirty("t", unseen)("b")
    assert not visibility.dirty("other", unseen)("a")


def test_an_open_transaction_touches_nothing_before_it_commits() -> None:
    visibility = Visibility([])
    visibility.begin(14)
    visibility.touch("t", "a")
    assert not visibility.dirty("t", Snapshot.parse("10:20:14"))("a")


def test_a_truncate_touches_every_key_of_its_table() -> None:
    visibility = Visibility([])
    visibility.begin(14)
    visibility.touch("t", "a")
    visibility.touch_all("t")
    visibility.touch("t", "b")
    visibility.commit()
    assert visibility.dirty("t", Snapshot.parse("10:20:14"))("anything")
    assert not visibility.dirty("u", Snapshot.parse("10:20:14"))("anything")


def test_beyond_the_limit_a_transaction_touches_the_whole_table_and_memory_stays_flat() -> None:
    visibility = Visibility([])
    streamed(visibility, 14, *(str(number) for number in range(WHOLE_TABLE_AFTER)))
    assert not visibility.dirty("t", Snapshot.parse("10:20:14"))("another")
    streamed(visibility, 15, *(str(number) for number in range(WHOLE_TABLE_AFTER + 1)))
    assert visibility.dirty("t", Snapshot.parse("10:20:15"))("another")


def test_beyond_the_limit_all_transactions_together_touch_whole_tables_and_memory_stays_flat() -> None:
    visibility = Visibility([])
    tracemalloc.start()
    for number in range(30 * MOST_TOUCHES // 10):
        streamed(visibility, 14 + number, str(number), table="busy")
    streamed(visibility, 5_000_000, "a", table="quiet")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 25 * 1024 * 1024
    open_ones = Snapshot.parse("14:14:")
    assert visibility.dirty("busy", open_ones)("another")
    assert visibility.dirty("quiet", open_ones)("a")
    assert not visibility.dirty("quiet", open_ones)("another")
    assert not visibility.dirty("busy", Snapshot.parse("6000000:6000000:"))("another")


def test_what_was_merged_is_still_unseen_until_a_snapshot_sees_it() -> None:
    visibility = Visibility([])
    for number in range(MOST_TOUCHES + 1):
        streamed(visibility, 14 + number, str(number))
    last = 14 + MOST_TOUCHES
    all_but_the_last = Snapshot.parse(f"{last}:{last + 1}:{last}")
    assert visibility.unseen(all_but_the_last) == {last}
    visibility.forget(all_but_the_last)
    assert visibility.dirty("t", all_but_the_last)("any key")
    visibility.forget(Snapshot.parse(f"{last + 1}:{last + 1}:"))
    assert not visibility.remembers


def test_what_a_snapshot_sees_is_forgotten() -> None:
    visibility = Visibility([])
    streamed(visibility, 14, "a")
    streamed(visibility, 15, "b")
    visibility.forget(Snapshot.parse("10:20:15"))
    assert visibility.remembers
    assert visibility.dirty("t", Snapshot.parse("10:20:15"))("b")


def test_a_transaction_without_rows_is_not_remembered() -> None:
    visibility = Visibility([])
    streamed(visibility, 14)
    assert not visibility.remembers


def test_a_copy_waits_for_what_was_in_progress_at_the_start_of_the_stream() -> None:
    visibility = Visibility([14, 16])
    assert visibility.waits_for(Snapshot.parse("10:20:14,16")) == 14
    assert visibility.waits_for(Snapshot.parse("15:20:16")) == 16
    streamed(visibility, 16, "a")
    assert visibility.waits_for(Snapshot.parse("15:20:16")) is None


def test_the_transaction_waited_for_is_known_by_its_lower_bits_in_the_stream() -> None:
    visibility = Visibility([WRAP + 14])
    streamed(visibility, 14, "a")
    assert visibility.waits_for(Snapshot.parse(f"{WRAP + 10}:{WRAP + 20}:{WRAP + 14}")) is None


def test_what_one_of_the_snapshots_in_use_does_not_see_is_kept() -> None:
    visibility = Visibility([])
    streamed(visibility, 14, "a")
    older, newer = Snapshot.parse("10:20:14"), Snapshot.parse("15:20:")
    visibility.forget(newer, older)
    assert visibility.dirty("t", older)("a")
    visibility.forget(newer)
    assert not visibility.dirty("t", older)("a")
