"""Which rows of a snapshot may be published."""

from __future__ import annotations

from daemon.capture.visibility import WHOLE_TABLE_AFTER, Snapshot, Visibility

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
    assert visibility.dirty("t", "a", unseen)
    assert not visibility.dirty("t", "a", seen)
    assert not visibility.dirty("t", "b", unseen)
    assert not visibility.dirty("other", "a", unseen)


def test_an_open_transaction_touches_nothing_before_it_commits() -> None:
    visibility = Visibility([])
    visibility.begin(14)
    visibility.touch("t", "a")
    assert not visibility.dirty("t", "a", Snapshot.parse("10:20:14"))


def test_a_truncate_touches_every_key_of_its_table() -> None:
    visibility = Visibility([])
    visibility.begin(14)
    visibility.touch("t", "a")
    visibility.touch_all("t")
    visibility.touch("t", "b")
    visibility.commit()
    assert visibility.dirty("t", "anything", Snapshot.parse("10:20:14"))
    assert not visibility.dirty("u", "anything", Snapshot.parse("10:20:14"))


def test_beyond_the_limit_a_transaction_touches_the_whole_table_and_memory_stays_flat() -> None:
    visibility = Visibility([])
    streamed(visibility, 14, *(str(number) for number in range(WHOLE_TABLE_AFTER)))
    assert not visibility.dirty("t", "another", Snapshot.parse("10:20:14"))
    streamed(visibility, 15, *(str(number) for number in range(WHOLE_TABLE_AFTER + 1)))
    assert visibility.dirty("t", "another", Snapshot.parse("10:20:15"))


def test_what_a_snapshot_sees_is_forgotten() -> None:
    visibility = Visibility([])
    streamed(visibility, 14, "a")
    streamed(visibility, 15, "b")
    visibility.forget(Snapshot.parse("10:20:15"))
    assert visibility.remembered == 1
    assert visibility.dirty("t", "b", Snapshot.parse("10:20:15"))


def test_a_transaction_without_rows_is_not_remembered() -> None:
    visibility = Visibility([])
    streamed(visibility, 14)
    assert visibility.remembered == 0


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
    assert visibility.dirty("t", "a", older)
    visibility.forget(newer)
    assert not visibility.dirty("t", "a", older)
