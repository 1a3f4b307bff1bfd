"""What the other side does not take, until it is corrected: trace 17."""

from __future__ import annotations

from collections.abc import Callable

from daemon.resolve import outbound
from daemon.resolve.interval import at
from daemon.resolve.records import HUB, HubRecord, Known
from daemon.resolve.rules import Rules
from daemon.resolve.state import Pending, Settled, Side
from daemon.resolve.values import digest
from schemas.position import Position
from tests.resolution_row import assert_everywhere, assert_nowhere, world
from tests.resolution_world import World


def test_trace_17_a_corrected_value_does_not_wait_behind_the_one_that_was_refused() -> None:
    side = Side(True, Position(1, 1, 1), {"name": Settled(digest("base"), Position(1, 1, 1))})
    known = {"ledger": Known(fields={"name": frozenset((digest("edited"),))})}
    refused = HubRecord(Position(1, 2, 1), {"name": "refused"}, at(1), answer=True, known=known)
    corrected = HubRecord(Position(1, 3, 1), {"name": "corrected"}, at(2))
    parked = outbound.fold("ledger", [refused, corrected])
    plan = outbound.plan("ledger", parked, side, {"name": "edited"}, Rules())
    assert (plan.action, plan.values, plan.at) == ("update", {"name": "corrected"}, Position(1, 3, 1))


def test_a_row_made_again_at_the_hub_while_a_deletion_is_agreed_is_not_left_out() -> None:
    """The answer knows nothing of it; the spoke says that it has no row, and the hub answers with what it has."""
    side = Side(True, Position(1, 1, 1), {"name": Settled(digest("base"), Position(1, 1, 1))})
    dead = {"ledger": Known(dead=True)}
    run = [
        HubRecord(Position(1, 5, 1), None, at(5), last={"name": "base"}),
        HubRecord(Position(1, 6, 1), {"name": "again"}, at(6), created_by=frozenset({HUB})),
        HubRecord(Position(1, 7, 1), None, at(7), Pending("ours"), answer=True, known=dead, origin="ledger"),
    ]
    assert outbound.plan("ledger", outbound.fold("ledger", run), side, None, Rules()).told


def test_trace_17_what_the_hub_has_refused_is_taken_once_it_is_corrected() -> None:
    w = world()
    w.unwelcome = frozenset({"refused"})
    w.edit("ledger", "1", name="refused", note="waits with it")
    w.edit("ledger", "2", name="refused", note="made")
    w.settle()
    assert w.parked.keys() == {("ledger", "1"), ("ledger", "2")}
    w.edit("hub", "1", tags=["meanwhile"])
    w.edit("ledger", "1", name="corrected")
    w.edit("ledger", "2", name="corrected")
    w.settle()
    assert w.parked == {}
    assert w.listed == []
    assert_everywhere(w, name="corrected", note="waits with it", tags=["meanwhile"])
    assert {row and (row["name"], row["note"]) for row in w.rows("2").values()} == {("corrected", "made")}


def test_trace_17_what_the_hub_has_refused_and_a_person_takes_back_leaves_nothing_behind() -> None:
    w = world()
    w.unwelcome = frozenset({"refused"})
    w.edit("ledger", "1", name="refused")
    w.edit("ledger", "2", name="refused")
    w.settle()
    w.edit("ledger", "1", name="base")
    w.delete("ledger", "2")
    w.settle()
    assert w.parked == {}
    assert_everywhere(w, name="base")
    assert all(row is None for row in w.rows("2").values())
    w.edit("hub", "1", name="next")
    w.edit("hub", "2", name="made here")
    w.settle()
    assert_everywhere(w, name="next")
    assert {row and row["name"] for row in w.rows("2").values()} == {"made here"}
    assert w.listed == []


def test_trace_17_a_correction_is_no_newer_than_it_was_made() -> None:
    w = world()
    w.unwelcome = frozenset({"refused"})
    w.edit("ledger", "1", name="refused")
    w.settle()
    w.edit("ledger", "1", name="corrected")
    w.pass_time(10)
    w.edit("hub", "1", name="newer")
    w.settle()
    assert_everywhere(w, name="newer")
    assert [(one.conflict.ours, one.conflict.theirs, one.conflict.won) for one in w.listed][-1] == (
        "newer", "corrected", "ours",
    )  # fmt: skip


def queued(w: World, *records: Callable[[], None]) -> None:
    """What the ledger does in one transaction, behind a value that the hub has refused."""
    w.unwelcome = frozenset({"refused"})
    w.edit("ledger", "1", name="refused")
    w.settle()
    for one in records:
        one()
        assert w.receive("ledger", queued=True)
    assert w.parked


def test_trace_17_a_row_that_waits_and_is_made_again_is_to_others_the_row_that_it_was() -> None:
    w = world()
    known = w.states["1"].rver
    queued(w, lambda: w.delete("ledger", "1"), lambda: w.edit("ledger", "1", name="base", note="base", tags=[]))
    w.settle()
    assert w.parked == {}
    assert w.states["1"].rver == known, "no event of the hub's tells of another life"
    w.delete("archive", "1")
    w.settle()
    assert_nowhere(w)
    assert w.listed == []


def test_trace_17_a_row_that_waits_and_is_made_and_deleted_again_leaves_nothing_behind() -> None:
    w = world()
    w.delete("archive", "1")
    w.settle()
    w.pass_time(60)
    known = w.states["1"].rver
    queued(w, lambda: w.edit("ledger", "1", name="made"), lambda: w.delete("ledger", "1"))
    w.settle()
    assert w.parked == {}
    assert w.states["1"].rver == known
    w.edit("archive", "1", name="made again")
    w.settle()
    assert_everywhere(w, name="made again")
    assert w.listed == []
