"""What a target may lose unasked: counts and limits, without a database."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from connectors.contract import DeleteLimit, Hold, Place
from connectors.postgres.guard import Excess, Guard
from schemas.position import START, Position

T = "public.t"
LIMIT = DeleteLimit(share=0.1, least=10, hours=1)
BEGUN: Place = (1, 5)


def at(commit_lsn: int, ordinal: int = 1) -> Position:
    return Position(1, commit_lsn, ordinal)


def delete(guard: Guard, *commits: int, rows: int | None = None, table: str = T) -> None:
    deleted = [(b'{"id":%d}' % number, at(commit)) for number, commit in enumerate(commits)]
    guard.count(table, len(commits) if rows is None else rows, deleted, BEGUN)


def excesses(guard: Guard, left: int, before: Mapping[str, int] | None = None) -> list[Excess]:
    """`left`: rows that the table has after what was deleted."""
    return guard.excesses(LIMIT, before or {}, lambda _, enough: min(left, enough))


@pytest.mark.parametrize(
    ("deletes", "left", "asked"),
    [(9, 0, False), (10, 89, True), (10, 90, False), (11, 98, True), (11, 99, False), (100, 899, True)],
)
def test_more_than_the_share_is_asked_about_and_never_less_than_the_least(deletes: int, left: int, asked: bool) -> None:
    guard = Guard()
    delete(guard, *[7] * deletes)
    assert bool(excesses(guard, left)) == asked


def test_deletes_of_the_hours_before_count_with_those_of_the_transaction() -> None:
    guard = Guard()
    delete(guard, *[7] * 4)
    assert excesses(guard, 80) == []
    [found] = excesses(guard, 80, {T: 8})
    assert (found.deletes, found.before, found.rows) == (4, 8, 92)
    assert found.share == pytest.approx(12 / 92)


def test_a_table_is_counted_only_when_so_many_go_that_it_matters() -> None:
    guard = Guard()
    delete(guard, *[7] * 9)
    asked: list[tuple[str, int]] = []

    def count(table: str, enough: int) -> int:
        asked.append((table, enough))
        return enough

    assert (guard.excesses(LIMIT, {}, count), asked) == ([], [])
    delete(guard, 7)
    assert guard.excesses(LIMIT, {}, count) == []
    assert asked == [(T, 90)]


def test_keys_without_a_row_are_no_deletes() -> None:
    guard = Guard()
    delete(guard, *[7] * 50, rows=5)
    assert excesses(guard, 0) == []


def test_a_share_of_all_rows_asks_about_nothing() -> None:
    guard = Guard()
    delete(guard, *[7] * 50)
    assert guard.excesses(DeleteLimit(1, 1, 1), {}, lambda *_: 0) == []


def test_an_emptied_table_has_lost_all_its_rows() -> None:
    guard = Guard()
    guard.count_all(T, 40, at(7))
    [found] = excesses(guard, 0)
    assert (found.deletes, found.share) == (40, 1.0)


def test_commits_wait_from_the_first_that_passes_the_limit_through_the_last_of_that_table() -> None:
    guard = Guard()
    delete(guard, *[7] * 6, *[8] * 6, 9, 11)
    delete(guard, 20, table="public.other")
    found = excesses(guard, 80)
    assert guard.span(LIMIT, found) == ((1, 8), (1, 11))


def test_what_a_parents_change_has_led_to_counts_from_the_transactions_first_commit() -> None:
    guard = Guard()
    delete(guard, 8)
    guard.count(T, 20, [(b'{"id":%d}' % number, START) for number in range(20)], BEGUN)
    assert guard.span(LIMIT, excesses(guard, 0)) == (BEGUN, (1, 8))


def test_a_few_keys_are_shown() -> None:
    guard = Guard()
    delete(guard, *[7] * 50)
    [found] = excesses(guard, 0)
    assert found.sample == ('{"id":0}', '{"id":1}', '{"id":2}', '{"id":3}', '{"id":4}')


def test_nothing_of_a_transaction_that_is_over_counts() -> None:
    guard = Guard()
    delete(guard, *[7] * 50)
    guard.forget()
    assert not guard.deletes
    delete(guard, *[7] * 9)
    assert excesses(guard, 0) == []


def test_only_deletes_of_the_rejected_commits_are_left_out() -> None:
    guard = Guard()
    assert not guard.rejected(at(7))
    guard.rejecting = ((1, 7), (1, 9))
    assert [guard.rejected(at(commit)) for commit in (6, 7, 9, 10)] == [False, True, True, False]
    assert guard.rejected(START), "a parent's change within these commits"


def test_a_hold_lets_through_what_comes_before_it_and_its_answer_nothing_that_comes_after() -> None:
    waiting = Hold((1, 7), (1, 9), 5, "", "", answered=False)
    assert [waiting.admits((1, commit)) for commit in (6, 7, 9, 10)] == [True, False, False, False]
    answered = Hold((1, 7), (1, 9), 5, "", "", answered=True)
    assert [answered.admits((1, commit)) for commit in (6, 7, 9, 10)] == [True, True, True, False]
