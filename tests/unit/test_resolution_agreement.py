"""What waits for a person, and is the same on both sides since, whoever made it so: it is closed, and listed."""

from __future__ import annotations

import pytest

from daemon.resolve import outbound
from daemon.resolve.conflict import Conflict
from daemon.resolve.interval import at
from daemon.resolve.override import Choice, Ruling, Stale
from daemon.resolve.records import HubRecord
from daemon.resolve.rules import FieldRule, Rules
from daemon.resolve.state import NO_SIDE
from daemon.resolve.values import Row, Value
from schemas.position import Position
from tests.resolution_sites import SECOND
from tests.resolution_world import World

COLUMNS = ("name", "note")
MANUAL = {"name": FieldRule("manual")}


def waiting(**theirs: str) -> World:
    """The hub has "ours" in a field that a person decides, and each of these spokes something else."""
    w = World(("ledger", "archive"), COLUMNS, Rules(MANUAL, skew=2 * SECOND))
    w.edit("hub", "1", name="base", note="base")
    w.settle()
    w.pass_time(60)
    w.edit("hub", "1", name="ours")
    for spoke, value in (theirs or {"ledger": "theirs"}).items():
        w.edit(spoke, "1", name=value)
    w.settle()
    assert w.open_conflicts()["1"].spokes == (theirs or {"ledger": "theirs"}).keys()
    w.pass_time(60)
    return w


def agreed(w: World) -> list[tuple[str, str | None, str | None, Value, Value]]:
    """What was listed as such: spoke, field, whose it is, and the values."""

    def shown(spoke: str, one: Conflict) -> tuple[str, str | None, str | None, Value, Value]:
        return spoke, one.field, one.won, one.ours, one.theirs

    return [shown(one.spoke, one.conflict) for one in w.listed if one.conflict.resolution == "agreed"]


def assert_settled(w: World, name: str) -> None:
    """Nothing waits, and what anybody changes from here on is an ordinary edit."""
    assert not w.open_conflicts()
    assert {row and row["name"] for row in w.rows("1").values()} == {name}
    met = len(w.listed)
    for site in ("ledger", "hub", "archive", "ledger"):
        w.pass_time(1)
        w.edit(site, "1", name=f"{site}, {w.now}")
        w.settle()
        assert {row and row["name"] for row in w.rows("1").values()} == {f"{site}, {w.now}"}
    assert len(w.listed) == met
    assert not w.open_conflicts()


def test_somebody_at_the_hub_types_what_waits_in_the_spoke() -> None:
    w = waiting()
    w.edit("hub", "1", name="theirs")
    w.settle()
    assert agreed(w) == [("ledger", "name", "theirs", "theirs", "theirs")]
    assert_settled(w, "theirs")


def test_somebody_at_the_spoke_types_what_the_hub_has() -> None:
    w = waiting()
    w.edit("ledger", "1", name="ours")
    w.settle()
    assert agreed(w) == [("ledger", "name", "ours", "ours", "theirs")]
    assert_settled(w, "ours")


def test_somebody_in_another_spoke_types_what_waits() -> None:
    w = waiting()
    w.edit("archive", "1", name="theirs")
    w.settle()
    assert agreed(w) == [("ledger", "name", "theirs", "theirs", "theirs")]
    assert_settled(w, "theirs")


@pytest.mark.parametrize("editor", ["hub", "archive", "ledger"])
def test_a_trigger_of_the_hub_makes_it_what_waits(editor: str) -> None:
    """Also within the write of the spoke's own edit of something else."""
    w = waiting()
    w.hub.derived["name"] = lambda row: "theirs" if row["note"] == "so be it" else row["name"]
    w.edit(editor, "1", note="so be it")
    w.settle()
    assert agreed(w) == [("ledger", "name", "theirs", "theirs", "theirs")]
    w.hub.derived.clear()
    assert_settled(w, "theirs")


def test_what_was_taken_back_in_the_spoke_and_is_overwritten_since() -> None:
    w = waiting()
    w.edit("ledger", "1", name="base")
    w.settle()
    assert w.open_conflicts()["1"].of("ledger")["name"].value == "base"
    w.edit("hub", "1", name="since")
    w.settle()
    assert agreed(w) == [("ledger", "name", "ours", "since", "base")]
    assert_settled(w, "since")


def test_each_spoke_waits_for_itself() -> None:
    w = waiting(ledger="theirs", archive="other")
    w.edit("hub", "1", name="theirs")
    w.settle()
    assert agreed(w) == [("ledger", "name", "theirs", "theirs", "theirs")]
    assert w.open_conflicts()["1"].spokes == {"archive"}
    w.edit("hub", "1", name="other")
    w.settle()
    assert agreed(w)[1:] == [("archive", "name", "theirs", "other", "other")]
    assert_settled(w, "other")


def test_the_hub_has_moved_on_before_it_hears_that_both_had_the_same() -> None:
    w = waiting()
    w.edit("hub", "1", name="theirs")
    w.observe()
    while w.send("ledger"):
        pass
    w.edit("hub", "1", name="moved on")
    w.settle()
    assert_settled(w, "moved on")


def test_an_edit_that_was_made_before_the_same_value_came_is_a_conflict_still() -> None:
    w = waiting()
    w.edit("hub", "1", name="theirs")
    w.edit("ledger", "1", name="unseeing")
    w.settle()
    assert w.open_conflicts()["1"].of("ledger")["name"].value == "unseeing"
    assert agreed(w) == []


def test_both_sides_delete_a_row_that_waits() -> None:
    w = waiting()
    w.delete("ledger", "1")
    w.settle()
    assert w.open_conflicts()["1"].deletions.keys() == {"ledger"}
    w.delete("hub", "1")
    w.settle()
    assert agreed(w) == [("ledger", None, "theirs", None, None)]
    assert not w.open_conflicts()


def test_the_spoke_deletes_too_what_waits_for_the_hubs_deletion() -> None:
    w = waiting()
    w.delete("hub", "1")
    w.settle()
    w.delete("ledger", "1")
    w.settle()
    assert agreed(w) == [("ledger", None, "ours", None, {"name": "theirs"})]
    assert not w.open_conflicts()


def test_the_spoke_has_a_row_again_whose_deletion_waits() -> None:
    w = waiting()
    w.delete("ledger", "1")
    w.settle()
    w.edit("ledger", "1", name="ours", note="base")
    w.settle()
    assert [one[:3] for one in agreed(w)] == [("ledger", None, "ours")]
    assert_settled(w, "ours")


def test_a_decision_over_what_both_sides_have_by_now_is_refused() -> None:
    for site, value in (("hub", "theirs"), ("ledger", "ours")):
        w = waiting()
        over = w.shown("1")
        w.edit(site, "1", name=value)
        w.settle()
        assert isinstance(w.decide("1", Choice({"name": "decided"}), over), Stale)
        assert_settled(w, value)


def test_what_a_person_has_decided_is_not_listed_again_and_can_be_taken_back() -> None:
    w = waiting()
    ruling = w.decide("1", Choice({"name": "theirs"}))
    assert isinstance(ruling, Ruling)
    w.settle()
    assert agreed(w) == []
    assert isinstance(w.undo("1", ruling, {"name": w.states["1"].fields["name"].ver}), Ruling)
    w.settle()
    assert_settled(w, "ours")


def test_a_decision_cannot_be_taken_back_once_somebody_has_typed_the_same_again_elsewhere() -> None:
    w = waiting()
    ruling = w.decide("1", Choice({"name": "decided"}))
    assert isinstance(ruling, Ruling)
    w.settle()
    versions = {"name": w.states["1"].fields["name"].ver}
    w.edit("hub", "1", name="again")
    w.edit("ledger", "1", name="theirs")
    w.settle()
    w.edit("hub", "1", name="theirs")
    w.settle()
    assert isinstance(w.undo("1", ruling, versions), Stale)
    assert_settled(w, "theirs")


def test_an_edit_that_nothing_waits_for_is_not_told_back() -> None:
    w = waiting()
    w.edit("ledger", "1", name="ours")
    w.settle()
    told = len(w.spokes["ledger"].stream)
    w.edit("ledger", "1", name="of the spoke", note="too")
    w.settle()
    assert len(w.spokes["ledger"].stream) == told + 1


def test_the_first_copy_of_a_row_that_both_sides_have_is_not_told_back() -> None:
    row: Row = {"name": "same", "note": "same"}
    copy = HubRecord(Position(1, 1, 1), row, at(0), copied=True)
    first = outbound.plan("ledger", copy, NO_SIDE, row, Rules(MANUAL))
    assert (first.action, first.told) == ("agree", False)
    side, _ = outbound.settle(first, NO_SIDE, row)
    later = HubRecord(Position(1, 2, 1), {**row, "name": "theirs"}, at(1), copied=True)
    assert outbound.plan("ledger", later, side, {**row, "name": "theirs"}, Rules(MANUAL)).told
