"""What a person decides, and takes back: trace 15."""

from __future__ import annotations

from daemon.resolve.conflict import shown
from daemon.resolve.interval import at
from daemon.resolve.override import Choice, Ruling, Stale, decide
from daemon.resolve.rules import FieldRule
from schemas.position import START
from tests.resolution_row import assert_everywhere, world
from tests.resolution_world import World


def manual_conflict() -> World:
    w = world(name=FieldRule("manual"))
    w.edit("hub", "1", name="ours")
    w.edit("ledger", "1", name="theirs", note="also edited")
    w.settle()
    return w


def test_a_field_that_waits_for_a_person_holds_up_no_other() -> None:
    w = manual_conflict()
    rows = w.rows("1")
    assert [row and row["name"] for row in rows.values()] == ["ours", "theirs", "ours"]
    assert_everywhere(w, note="also edited")


def test_a_decision_flows_out_and_wins_over_replays_of_what_it_decided() -> None:
    w = manual_conflict()
    assert isinstance(w.decide("1", Choice({"name": "theirs"})), Ruling)
    w.settle()
    w.spokes["ledger"].received = w.spokes["ledger"].taken = 0
    w.spokes["archive"].taken = 0
    w.settle()
    assert_everywhere(w, name="theirs")
    assert not w.open_conflicts()


def test_trace_15_a_decision_over_a_state_that_has_moved_is_refused() -> None:
    w = manual_conflict()
    hub = w.hub_at("1")
    over = shown(hub.conflict, hub.state)
    w.edit("hub", "1", name="moved")
    assert isinstance(decide(over, Choice({"name": "theirs"}), w.hub_at("1"), at(w.now)), Stale)
    w.settle()
    assert isinstance(decide(over, Choice({"name": "theirs"}), w.hub_at("1"), at(w.now)), Stale)
    w.edit("ledger", "1", name="moved too")
    hub = w.hub_at("1")
    over = shown(hub.conflict, hub.state)
    w.settle()
    assert isinstance(decide(over, Choice({"name": "theirs"}), w.hub_at("1"), at(w.now)), Stale)


def test_trace_15_a_row_that_the_hub_deletes_under_an_open_conflict_waits_for_the_decision_as_a_row() -> None:
    for choice, expected in ((Choice({}, row=False), None), (Choice({"name": "theirs"}), "theirs")):
        w = manual_conflict()
        w.delete("hub", "1")
        w.settle()
        assert "1" in w.spokes["ledger"].rows
        assert isinstance(w.decide("1", choice), Ruling)
        w.settle()
        assert {row and row["name"] for row in w.rows("1").values()} == {expected}
        assert not w.open_conflicts()


def test_a_spoke_that_deletes_a_row_of_which_a_field_waits_leaves_that_to_the_person_too() -> None:
    w = manual_conflict()
    w.delete("ledger", "1")
    w.settle()
    assert "1" in w.hub.rows
    assert w.open_conflicts()["1"].deletions.keys() == {"ledger"}
    assert isinstance(w.decide("1", Choice({})), Ruling)
    w.settle()
    assert_everywhere(w, name="ours", note="also edited")


def test_an_edit_under_way_while_a_person_decides_is_a_new_conflict() -> None:
    w = manual_conflict()
    w.edit("ledger", "1", name="meanwhile")
    assert isinstance(w.decide("1", Choice({"name": "decided"})), Ruling)
    w.settle()
    assert [one["name"].value for one in w.open_conflicts()["1"].fields.values()] == ["meanwhile"]


def test_a_decision_is_undone_unless_the_field_has_changed_since() -> None:
    w = manual_conflict()
    ruling = w.decide("1", Choice({"name": "theirs"}))
    assert isinstance(ruling, Ruling)
    w.settle()
    versions = {"name": w.states["1"].fields["name"].ver}
    assert isinstance(w.undo("1", ruling, versions), Ruling)
    w.settle()
    assert_everywhere(w, name="ours")
    assert isinstance(w.undo("1", ruling, versions), Stale)


def test_a_decision_about_a_row_is_undone_unless_the_row_has_changed_since() -> None:
    for choice, gone, row in ((Choice({}, row=False), None, "ours"), (Choice({"name": "theirs"}), "theirs", None)):
        w = manual_conflict()
        if row is None:
            w.delete("hub", "1")
            w.settle()
        ruling = w.decide("1", choice)
        assert isinstance(ruling, Ruling)
        w.settle()
        assert {each and each["name"] for each in w.rows("1").values()} == {gone}
        version = w.states["1"].rver
        assert isinstance(w.undo("1", ruling, {}, START), Stale)
        back = w.undo("1", ruling, dict.fromkeys(ruling.fields, version), version)
        assert isinstance(back, Ruling)
        w.settle()
        assert {each and each["name"] for each in w.rows("1").values()} == {row}
        assert isinstance(w.undo("1", ruling, dict.fromkeys(ruling.fields, version), version), Stale)


def test_a_row_that_a_decision_brought_back_and_somebody_has_edited_since_is_not_taken_away() -> None:
    w = manual_conflict()
    w.delete("hub", "1")
    w.settle()
    ruling = w.decide("1", Choice({"name": "theirs"}))
    assert isinstance(ruling, Ruling)
    w.settle()
    version = w.states["1"].rver
    w.pass_time(10)
    w.edit("hub", "1", note="edited since")
    w.settle()
    assert isinstance(w.undo("1", ruling, {"name": version}, version), Stale)
