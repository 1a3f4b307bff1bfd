"""Columns that not every side has, or not for long: nobody says anything of what is not there, or was never filled."""

from __future__ import annotations

from daemon.resolve import outbound
from daemon.resolve.decision import Decision, Hub
from daemon.resolve.inbound import receive
from daemon.resolve.interval import UNKNOWN, at
from daemon.resolve.records import HubRecord, Known, SpokeRecord
from daemon.resolve.rules import Rules
from daemon.resolve.state import NO_SIDE, FieldState, Link, RowState, Settled, Side
from daemon.resolve.values import Row, digests
from schemas.position import Position
from tests.resolution_sites import SECOND

FIRST, THEN = Position(1, 10, 1), Position(1, 20, 1)
HERE: Row = {"id": 1, "name": "one"}
AT_HUB: Row = {**HERE, "name": "two", "bio": "a long life"}
RULES = Rules({}, skew=2 * SECOND)


def test_an_answer_writes_nothing_of_a_column_that_the_spoke_does_not_have_and_says_nothing_of_it() -> None:
    side = Side(True, FIRST, {name: Settled(one, FIRST) for name, one in digests(HERE).items()})
    answer = HubRecord(THEN, AT_HUB, UNKNOWN, answer=True, known={"ledger": Known()})
    plan = outbound.plan("ledger", answer, side, HERE, RULES)
    assert plan.values == {"name": "two"}
    after, mark = outbound.settle(plan, side, {**HERE, "name": "two"})
    assert mark is not None
    assert (set(mark.sent), "bio" in after.fields) == ({"name"}, False)


def test_of_a_row_that_an_answer_makes_only_the_columns_that_are_there_are_told() -> None:
    answer = HubRecord(THEN, AT_HUB, UNKNOWN, answer=True, known={"ledger": Known(dead=True)})
    plan = outbound.plan("ledger", answer, NO_SIDE, None, RULES)
    _, mark = outbound.settle(plan, NO_SIDE, {**HERE, "name": "two"})
    assert mark is not None
    assert mark.sent.keys() == HERE.keys()


def test_a_column_that_is_new_and_empty_keeps_no_row_from_being_deleted_late() -> None:
    fields = {name: FieldState(one, FIRST, FIRST, at(10 * SECOND)) for name, one in digests(HERE).items()}
    state = RowState(alive=True, rver=FIRST, time=at(10 * SECOND), fields=fields)
    link = Link(FIRST, digests(HERE), seen=dict.fromkeys(HERE, FIRST), row_seen=FIRST)
    deletion = SpokeRecord(THEN, None, at(100 * SECOND))
    for nick, action in ((None, "delete"), ("of a person", "none")):
        hub = Hub({**HERE, "nick": nick}, state, THEN, THEN, late=True)
        found = receive("ledger", deletion, hub, link, RULES)
        assert isinstance(found, Decision)
        assert found.action == action
