from __future__ import annotations

from collections.abc import Sequence
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.embedded.witness.keys import Change, State, Verdict, judge

CLEAN = Verdict(lost=False, duplicated=0, out_of_order=0)


def changes(*transactions: str) -> list[Change]:
    """A history from one word per transaction: a letter is a state after an upsert, `-` a delete, `T` a truncate,
    and `!x` a foreign-key action that leads to x."""
    made: list[Change] = []
    places = count(1)
    for xid, word in enumerate(transactions):
        for mark in word:
            op = {"-": "D", "T": "T", "!": "F"}.get(mark, "U")
            state = None if op != "U" else mark
            made.append(Change(next(places), xid, op, state))
    return made


def before(state: str) -> list[Change]:
    return [Change(0, -1, "B", state)]


@pytest.mark.parametrize(
    ("primary", "target"),
    [
        (["a", "b", "c"], ["a", "b", "c"]),
        (["a", "b", "c"], ["c"]),
        (["a", "b", "c"], ["abc"]),
        (["a", "-", "a"], ["a", "-", "a"]),
        (["a", "-", "a"], ["a"]),
        (["a", "-"], ["a-"]),
        (["a", "-"], []),
        (["a", "T", "b"], ["a", "T", "b"]),
        (["T", "a"], ["T", "a"]),
        (["a", "T"], ["a", "-"]),
        (["a", "a", "a"], ["a", "aa"]),
        (["a", "a", "a", "b"], ["aaa", "b"]),
        (["a", "b", "a", "b"], ["a", "ba", "b"]),
        (["a", "b"], ["a", "!bb"]),
    ],
)
def test_a_subsequence_of_the_primary_s_states_is_clean(primary: Sequence[str], target: Sequence[str]) -> None:
    assert judge(changes(*primary), changes(*target), reads=0) == CLEAN


@pytest.mark.parametrize(
    ("primary", "target", "reads", "verdict"),
    [
        (["a", "b"], ["a"], 0, Verdict(True, 0, 0)),
        (["a"], [], 0, Verdict(True, 0, 0)),
        (["a", "-"], ["a"], 0, Verdict(True, 0, 0)),
        (["a"], ["a", "a"], 0, Verdict(False, 1, 0)),
        (["a"], ["a", "a"], 1, CLEAN),
        (["a", "b"], ["a", "a", "b"], 0, Verdict(False, 1, 0)),
        (["a", "b", "c"], ["b", "b", "c"], 0, Verdict(False, 1, 0)),
        (["a", "b"], ["abb"], 0, Verdict(False, 1, 0)),
        (["a", "b"], ["b", "a"], 0, Verdict(True, 0, 1)),
        (["a", "b", "c"], ["a", "b", "a", "c"], 0, Verdict(False, 0, 1)),
        (["a", "b"], ["a", "x", "b"], 0, Verdict(False, 0, 1)),
        (["a", "b"], ["a", "b", "x"], 0, CLEAN),
        (["a"], ["a", "-"], 0, CLEAN),
    ],
)
def test_each_fault_moves_its_counter(
    primary: Sequence[str], target: Sequence[str], reads: int, verdict: Verdict
) -> None:
    assert judge(changes(*primary), changes(*target), reads) == verdict


def test_a_row_from_before_is_where_both_sides_may_start() -> None:
    journal = before("a") + changes("b")
    assert judge(journal, changes("a", "b"), reads=0) == CLEAN
    assert judge(journal, before("a") + changes("b"), reads=0) == CLEAN
    assert judge(journal, before("a") + changes("a", "b"), reads=0) == Verdict(False, 1, 0)
    assert judge(journal, before("x") + changes("b"), reads=0) == CLEAN


histories = st.lists(st.sampled_from(["a", "b", "-"]), max_size=12)


@given(histories, st.data())
def test_whatever_is_folded_within_target_transactions_stays_clean(history: list[str], data: st.DataObject) -> None:
    groups: list[str] = []
    rest = "".join(history)
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        events, rest = rest[:size], rest[size:]
        kept = data.draw(st.sampled_from([events, events[-1]]))
        groups.append(kept)
    journal = changes(*history)
    assert judge(journal, changes(*groups), reads=0) == CLEAN


@given(histories.filter(bool), st.data())
def test_every_repeat_of_a_change_is_counted(history: list[str], data: st.DataObject) -> None:
    repeated = data.draw(st.integers(0, len(history) - 1))
    target = history[: repeated + 1] + history[repeated:]
    verdict = judge(changes(*history), changes(*target), reads=0)
    assert verdict.duplicated + verdict.out_of_order >= 1


def final_state(history: Sequence[str]) -> State:
    return None if not history or history[-1] == "-" else history[-1]


@given(histories, histories)
def test_what_is_last_decides_what_is_lost(history: list[str], applied: list[str]) -> None:
    """Of a target that stops somewhere on the primary's way."""
    stopped = history[: len(applied)]
    verdict = judge(changes(*history), changes(*stopped), reads=0)
    assert verdict.lost == (final_state(stopped) != final_state(history))
