"""What many events of a key come to, and how an error of the loop is judged."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.contract import Record, TryAgain
from connectors.postgres.rows import CannotFold, Event, Net, decode_change, fold
from daemon.apply.policy import Action, decide, ending
from daemon.errors import Fenced, OperatorError, Unavailable
from schemas.position import START

COLUMNS = ("a", "b")
Row = dict[str, int]


def event(op: str, after: Row | None, unchanged: tuple[str, ...] = ()) -> Event:
    value = orjson.dumps({"op": op, "after": after, **({"unchanged": unchanged} if unchanged else {})})
    return Event("t", Record("t", 0, 0, START, b"k", value), decode_change(value))


def values(net: Net) -> Row:
    return {name: orjson.loads(bytes(raw)) for name, raw in net.columns.items()}


@st.composite
def histories(draw: st.DrawFn) -> tuple[Row | None, list[Event], Row | None]:
    """A row or none, events that may happen to it, and what it is after them."""
    row: Row | None = draw(st.none() | st.just({"a": -1, "b": -1}))
    before, events = row, []
    for number in range(draw(st.integers(1, 8))):
        kind = draw(st.sampled_from(["whole", "part", "delete"]))
        if kind == "whole" or row is None:
            row = {"a": number, "b": number}
            events.append(event("u", row))
        elif kind == "part":
            name = draw(st.sampled_from(COLUMNS))
            row = {**row, name: number}
            events.append(event("u", {name: number}, tuple(other for other in COLUMNS if other != name)))
        else:
            row = None
            events.append(event("d", None))
    return before, events, row


@given(histories())
def test_the_net_effect_is_that_of_all_events_in_order(history: tuple[Row | None, list[Event], Row | None]) -> None:
    before, events, after = history
    net = fold(events)["t"][b"k"]
    if net.kind == "delete":
        assert after is None
    elif net.kind == "upsert":
        assert values(net) == after
    else:
        assert before is not None
        assert {**before, **values(net)} == after


def test_parts_that_make_up_a_row_are_a_whole_row() -> None:
    net = fold([event("u", {"a": 1}, ("b",)), event("u", {"b": 2}, ("a",))])["t"][b"k"]
    assert (net.kind, values(net)) == ("upsert", {"a": 1, "b": 2})


def test_a_part_of_a_deleted_row_does_not_fold() -> None:
    with pytest.raises(CannotFold):
        fold([event("d", None), event("u", {"a": 1}, ("b",))])


@pytest.mark.parametrize(
    ("error", "action"),
    [
        (TryAgain(), Action.RETRY),
        (Unavailable(), Action.PROBE),
        (Fenced(), Action.STOP),
        (OperatorError("a", "b"), Action.STOP),
        (ValueError(), Action.STOP),
    ],
)
def test_every_error_has_one_action_and_an_unknown_one_stops(error: Exception, action: Action) -> None:
    assert decide(error) is action


def test_an_unknown_error_ends_with_a_sentence_without_its_text() -> None:
    stopped = ending(ValueError("secret"), "ledger")
    assert isinstance(stopped, OperatorError)
    assert "ledger" in str(stopped)
    assert "secret" not in str(stopped)
