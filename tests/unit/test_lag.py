"""Lag from numbers alone."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.observe.lag import (
    Bounds,
    OldestUnapplied,
    age_seconds,
    bytes_behind,
    count,
    records_behind,
    touches,
)
from schemas.envelope import TransactionEnd

STORIES = "placemat.primary.public.stories"
PLACES = "placemat.primary.public.places"


def end(commit_lsn: int, counts: dict[str, dict[str, int]] | None = None, timeline: int = 1) -> TransactionEnd:
    return TransactionEnd(
        kind="tx",
        timeline=timeline,
        commit_lsn=commit_lsn,
        ts_us=commit_lsn * 10,
        xid=7,
        counts={STORIES: {"0": 1}} if counts is None else counts,
        epoch=1,
    )


class Spine:
    """A transactions topic in memory that notes which offsets were read."""

    def __init__(self, *ends: TransactionEnd) -> None:
        self.ends = list(ends)
        self.read_offsets: list[int] = []

    def read(self, start: int, stop: int) -> Iterator[tuple[int, TransactionEnd]]:
        for offset in range(start, stop):
            self.read_offsets.append(offset)
            yield offset, self.ends[offset]


def test_records_are_counted_from_the_stored_offset_of_each_partition() -> None:
    bounds = {(STORIES, 0): Bounds(0, 100), (STORIES, 1): Bounds(5, 40), (STORIES, 2): Bounds(0, 7)}
    first = records_behind(bounds, {(STORIES, 0): 90, (STORIES, 2): 7})
    assert first == {(STORIES, 0): 90, (STORIES, 1): 5}
    assert count(bounds, first) == 10 + 35


def test_records_that_retention_has_removed_are_not_counted() -> None:
    bounds = {(STORIES, 0): Bounds(50, 100)}
    assert count(bounds, records_behind(bounds, {(STORIES, 0): 10})) == 50


def test_a_place_beyond_the_end_is_no_negative_lag() -> None:
    assert records_behind({(STORIES, 0): Bounds(0, 10)}, {(STORIES, 0): 12}) == {}


def test_age_is_unknown_without_a_time_and_never_negative() -> None:
    assert age_seconds(None, 5) is None
    assert age_seconds(1_000_000, 3_500_000) == 2.5
    assert age_seconds(2_000_000, 1_000_000) == 0


def test_bytes_run_from_what_is_applied_or_else_from_the_oldest() -> None:
    assert bytes_behind(end(900), (1, 400), end(500)) == 500
    assert bytes_behind(end(900), None, end(500)) == 400
    assert bytes_behind(end(900), None, None) is None
    assert bytes_behind(None, (1, 400), None) is None


def test_a_transaction_touches_a_topic_when_it_has_records_there() -> None:
    assert touches(end(1), [STORIES])
    assert not touches(end(1), [PLACES])
    assert not touches(end(1, {}), [STORIES])
    assert not touches(end(1, {STORIES: {"0": 0}}), [STORIES])


def test_the_oldest_unapplied_transaction_is_the_first_that_is_routed_and_after_the_applied_one() -> None:
    spine = Spine(end(100), end(200, {PLACES: {"0": 3}}), end(300, {}), end(400), end(500))
    oldest = OldestUnapplied([STORIES], spine.read)
    assert oldest.find(0, 5, (1, 100)) == spine.ends[3]


def test_a_doubled_transaction_end_is_not_taken_for_unapplied() -> None:
    spine = Spine(end(100), end(100), end(200))
    assert OldestUnapplied([STORIES], spine.read).find(1, 3, (1, 100)) == spine.ends[2]


def test_a_commit_of_a_later_timeline_is_after_every_one_of_an_earlier() -> None:
    spine = Spine(end(100, timeline=2))
    assert OldestUnapplied([STORIES], spine.read).find(0, 1, (1, 500)) == spine.ends[0]


def test_what_was_read_is_not_read_again_while_it_stays_unapplied() -> None:
    spine = Spine(*(end(lsn, {PLACES: {"0": 1}}) for lsn in range(100, 110)), end(200), end(300))
    oldest = OldestUnapplied([STORIES], spine.read)
    assert oldest.find(0, 12, None) == spine.ends[10]
    spine.read_offsets.clear()
    assert oldest.find(0, 12, None) == oldest.find(6, 12, (1, 105)) == spine.ends[10]
    assert spine.read_offsets == []
    assert oldest.find(11, 12, (1, 200)) == spine.ends[11]
    assert spine.read_offsets == [11]


def test_a_search_that_found_nothing_goes_on_where_it_stopped() -> None:
    spine = Spine(*(end(lsn, {}) for lsn in range(100, 105)))
    oldest = OldestUnapplied([STORIES], spine.read)
    assert oldest.find(0, 5, None) is None
    spine.ends.append(end(200))
    spine.read_offsets.clear()
    assert oldest.find(0, 6, None) == spine.ends[5]
    assert spine.read_offsets == [5]


def test_a_target_that_was_set_back_is_searched_from_there() -> None:
    spine = Spine(end(100), end(200), end(300))
    oldest = OldestUnapplied([STORIES], spine.read)
    assert oldest.find(2, 3, (1, 200)) == spine.ends[2]
    assert oldest.find(0, 3, None) == spine.ends[0]


def test_a_found_transaction_that_is_applied_while_the_offset_stands_is_passed() -> None:
    spine = Spine(end(100), end(200))
    oldest = OldestUnapplied([STORIES], spine.read)
    assert oldest.find(0, 2, None) == spine.ends[0]
    assert oldest.find(0, 2, (1, 100)) == spine.ends[1]
