"""The schedules that break the obvious designs of two-way synchronisation, by their numbers in the protocol.

Those that only a service without a change stream can meet are not here: 5, 6, 9, 10 and 19.
"""

from __future__ import annotations

from collections.abc import Callable

from daemon.resolve import outbound
from daemon.resolve.conflict import shown
from daemon.resolve.interval import UNKNOWN, at
from daemon.resolve.override import Choice, Ruling, Stale, decide
from daemon.resolve.records import HubRecord, Known
from daemon.resolve.rules import FieldRule, Rules
from daemon.resolve.state import Settled, Side
from daemon.resolve.values import Value, digest
from schemas.position import START, Position
from tests.resolution_world import SECOND, World

COLUMNS = ("name", "note", "tags")


def world(**rules: FieldRule) -> World:
    """A hub and two spokes that agree on one row."""
    made = World(("ledger", "archive"), COLUMNS, Rules(rules, skew=2 * SECOND))
    made.edit("hub", "1", name="base", note="base", tags=[])
    made.settle()
    made.pass_time(60)
    return made


def assert_everywhere(at: World, **values: Value) -> None:
    for site, row in at.rows("1").items():
        assert row is not None, site
        assert {name: row[name] for name in values} == values, site


def assert_nowhere(at: World) -> None:
    assert all(row is None for row in at.rows("1").values())


def upper(value: Value) -> Value:
    return value.upper() if isinstance(value, str) else value


def lower(value: Value) -> Value:
    return value.lower() if isinstance(value, str) else value


def test_trace_1_a_spoke_that_lost_gets_the_hubs_value_though_the_hub_row_has_not_changed() -> None:
    w = world()
    w.edit("hub", "1", name="ours")
    w.edit("ledger", "1", name="theirs")
    before = len(w.stream)
    w.settle()
    assert_everywhere(w, name="ours")
    assert [record.answer for _, record in w.stream[before:]] == [True]
    assert [one.conflict.theirs for one in w.listed] == ["theirs"]


def test_trace_2_an_answer_overwrites_what_the_hub_has_judged_and_nothing_newer() -> None:
    w = world()
    w.edit("hub", "1", name="ours")
    w.edit("ledger", "1", name="judged")
    w.observe()
    assert w.receive("ledger")
    w.pass_time(10)
    w.edit("ledger", "1", name="newer")
    while w.send("ledger"):
        pass
    assert w.spokes["ledger"].rows["1"]["name"] == "newer"
    w.settle()
    assert_everywhere(w, name="newer")


def test_trace_3_a_hub_edit_back_to_the_old_value_is_an_edit() -> None:
    w = world()
    w.edit("hub", "1", name="between")
    w.edit("hub", "1", name="base")
    w.observe()
    w.observe()
    w.edit("ledger", "1", name="theirs")
    assert w.receive("ledger")
    w.settle()
    assert_everywhere(w, name="base")
    assert [(one.conflict.ours, one.conflict.theirs) for one in w.listed] == [("base", "theirs")]


def test_trace_4_an_older_edit_waits_for_the_hubs_own_that_is_not_captured_yet() -> None:
    w = world()
    w.edit("ledger", "1", name="older")
    w.pass_time(10)
    w.edit("hub", "1", name="newer")
    assert not w.receive("ledger")
    w.observe()
    assert w.receive("ledger")
    w.settle()
    assert_everywhere(w, name="newer")


def test_trace_4_what_the_hub_does_later_and_nobody_can_wait_for_counts_as_done_at_the_same_time() -> None:
    for theirs in ("edited", None):
        for ours in ("newer", None):
            w = world()
            if theirs is None:
                w.delete("ledger", "1")
            else:
                w.edit("ledger", "1", name=theirs)
            w.pass_time(10)
            if ours is None:
                w.delete("hub", "1")
            else:
                w.edit("hub", "1", name=ours)
            assert not w.receive("ledger")
            assert w.receive("ledger", late=True)
            w.settle()
            assert {row and row["name"] for row in w.rows("1").values()} == {ours}
            assert [one.conflict.won for one in w.listed] == (["ours"] if theirs or ours else [])


def test_trace_7_a_second_edit_on_a_value_that_the_hub_normalises_is_no_conflict() -> None:
    w = world()
    w.hub.triggers["name"] = upper
    w.edit("ledger", "1", name="first")
    w.receive("ledger")
    w.edit("ledger", "1", name="second")
    w.settle()
    assert_everywhere(w, name="SECOND")
    assert w.listed == []


def test_trace_7_what_a_spoke_normalises_counts_only_while_the_hub_has_what_was_sent() -> None:
    w = world()
    w.spokes["ledger"].triggers["name"] = upper
    w.edit("hub", "1", name="sent")
    w.observe()
    w.send("ledger")
    w.edit("hub", "1", name="since")
    w.settle()
    assert_everywhere(w, name="SINCE")
    assert w.listed == []


def test_trace_7_a_machines_change_keeps_the_version_so_that_an_edit_under_way_meets_no_conflict() -> None:
    w = world()
    w.spokes["ledger"].triggers["name"] = upper
    w.edit("hub", "1", name="sent")
    while w.send("archive"):
        pass
    w.edit("archive", "1", name="edited")
    w.observe()
    w.send("ledger")
    w.receive("ledger")
    w.settle()
    assert_everywhere(w, name="EDITED")
    assert w.listed == []


def test_trace_8_two_triggers_that_disagree_are_stopped_and_listed() -> None:
    w = world()
    w.hub.triggers["name"] = lower
    w.spokes["ledger"].triggers["name"] = upper
    w.edit("hub", "1", name="Sent")
    w.settle()
    assert {one.conflict.resolution for one in w.listed} == {"skip"}
    assert w.hub.rows["1"]["name"] == "sent"
    assert w.spokes["ledger"].rows["1"]["name"] == "SENT"


def test_trace_11_what_both_sides_have_is_answered_so_that_the_next_change_is_not_held() -> None:
    w = world()
    w.edit("hub", "1", name="alike")
    w.edit("ledger", "1", name="alike")
    w.observe()
    assert w.receive("ledger")
    w.edit("hub", "1", name="next")
    while w.send("ledger", most=9):
        pass
    w.settle()
    assert_everywhere(w, name="next")
    assert w.listed == []


def test_trace_11_an_edit_that_the_hub_has_overwritten_before_it_came_back_is_not_held() -> None:
    w = world()
    w.edit("ledger", "1", name="taken")
    w.receive("ledger")
    w.edit("hub", "1", name="next")
    w.send("ledger", most=9)
    assert w.spokes["ledger"].rows["1"]["name"] == "next"


def test_trace_12_a_row_that_a_later_edit_brings_back_has_the_hubs_newer_values() -> None:
    w = world()
    w.edit("hub", "1", note="newer")
    w.delete("hub", "1")
    w.pass_time(10)
    w.edit("ledger", "1", name="edited")
    w.settle()
    assert_everywhere(w, name="edited", note="newer")
    assert [one.conflict.kind for one in w.listed] == ["update_deleted"]


def test_a_late_update_that_is_older_than_the_deletion_does_not_bring_the_row_back() -> None:
    w = world()
    w.edit("ledger", "1", name="older")
    w.pass_time(10)
    w.delete("hub", "1")
    w.settle()
    assert_nowhere(w)
    assert [(one.conflict.kind, one.conflict.won, one.conflict.theirs) for one in w.listed] == [
        ("update_deleted", "ours", {"name": "older"})
    ]


def test_a_row_that_was_erased_is_not_brought_back_by_an_edit_of_its_former_life() -> None:
    w = world(tags=FieldRule("merge"))
    w.delete("hub", "1")
    assert not w.erase("1"), "the hub's own stream has not told yet that it is gone"
    assert w.observe()
    assert w.erase("1")
    w.pass_time(10)
    w.edit("ledger", "1", name="edited", tags=["edited"])
    w.settle()
    assert_nowhere(w)
    assert [(one.conflict.kind, one.conflict.won, one.conflict.ours, one.conflict.theirs) for one in w.listed] == [
        ("update_deleted", "ours", None, None)
    ]
    assert not any(link.kept for link in w.links.values())


def test_a_row_that_was_erased_can_be_made_again_on_any_side_and_is_as_it_was_made() -> None:
    for site in ("hub", "ledger"):
        w = world()
        w.delete("hub", "1")
        w.settle()
        assert w.erase("1")
        w.pass_time(10)
        w.edit(site, "1", name="made again")
        w.settle()
        assert_everywhere(w, name="made again", note=None, tags=None)
        w.edit("archive", "1", note="edited")
        w.settle()
        assert_everywhere(w, name="made again", note="edited")
        assert w.listed == []


def test_a_row_that_a_spoke_has_made_again_before_it_heard_of_the_deletion_is_as_it_was_made() -> None:
    w = world()
    w.delete("hub", "1")
    assert w.observe()
    assert w.erase("1")
    w.pass_time(10)
    w.delete("ledger", "1")
    w.edit("ledger", "1", name="made again")
    w.settle()
    assert_everywhere(w, name="made again", note=None)
    assert w.erase("1") is False, "it is there"


def test_a_deletion_that_comes_to_the_hub_again_brings_no_erased_values_back() -> None:
    w = world()
    w.delete("ledger", "1")
    w.settle()
    assert w.erase("1")
    erased = w.states["1"]
    w.observed -= 1
    w.spokes["ledger"].received -= 1
    w.settle()
    assert w.states["1"] == erased
    assert not erased.values
    assert not erased.fields


def test_an_edit_of_a_row_that_we_have_made_again_does_not_know_of_the_hubs_later_deletion() -> None:
    """Though the spoke has deleted the row before, as the hub has then."""
    w = world()
    w.delete("hub", "1")
    w.edit("hub", "1", name="again", note="again")
    w.delete("ledger", "1")
    w.observe()
    w.observe()
    while w.send("ledger"):
        pass
    w.edit("ledger", "1", note="edited")
    w.pass_time(10)
    w.delete("hub", "1")
    w.settle()
    assert_nowhere(w)
    assert [one.conflict.kind for one in w.listed] == ["update_deleted"]


def test_trace_13_an_edit_to_a_former_life_does_not_win_by_rule() -> None:
    w = world(name=FieldRule("target"), tags=FieldRule("merge"))
    w.edit("ledger", "1", name="former", tags=["former"])
    w.pass_time(10)
    w.delete("hub", "1")
    w.edit("hub", "1", name="present", note="present", tags=["present"])
    w.settle()
    assert_everywhere(w, name="present", tags=["present"])
    assert {one.conflict.rule for one in w.listed} == {"latest"}


def test_trace_14_the_echo_of_a_creation_does_not_bring_back_what_the_spoke_has_deleted_since() -> None:
    w = World(("ledger", "archive"), COLUMNS)
    w.edit("ledger", "1", name="made")
    w.receive("ledger")
    w.delete("ledger", "1")
    while w.send("ledger"):
        pass
    assert "1" not in w.spokes["ledger"].rows
    w.settle()
    assert_nowhere(w)


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


def test_trace_16_an_edit_of_a_field_that_is_only_sent_outward_is_put_back_and_brings_no_row_back() -> None:
    w = world(note=FieldRule(outward=True))
    w.edit("ledger", "1", note="edited")
    w.settle()
    assert_everywhere(w, note="base")
    w.delete("hub", "1")
    w.pass_time(10)
    w.edit("ledger", "1", note="edited again")
    w.settle()
    assert_nowhere(w)


def test_trace_17_a_corrected_value_does_not_wait_behind_the_one_that_was_refused() -> None:
    side = Side(True, Position(1, 1, 1), {"name": Settled(digest("base"), Position(1, 1, 1))})
    known = {"ledger": Known(fields={"name": frozenset((digest("edited"),))})}
    refused = HubRecord(Position(1, 2, 1), {"name": "refused"}, at(1), answer=True, known=known)
    corrected = HubRecord(Position(1, 3, 1), {"name": "corrected"}, at(2))
    parked = outbound.fold([refused, corrected])
    plan = outbound.plan("ledger", parked, side, {"name": "edited"}, Rules())
    assert (plan.action, plan.values, plan.at) == ("update", {"name": "corrected"}, Position(1, 3, 1))


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


def test_trace_18_a_replay_changes_nothing_that_has_moved_on() -> None:
    w = world()
    w.edit("hub", "1", name="first")
    w.settle()
    w.edit("ledger", "1", name="second")
    w.settle()
    before = w.rows("1")
    for spoke in w.spokes.values():
        spoke.received = spoke.taken = 0
    w.settle()
    assert w.rows("1") == before
    assert w.listed == []


def test_trace_20_a_merge_does_not_count_the_union_as_seen() -> None:
    w = world(tags=FieldRule("merge"))
    w.edit("hub", "1", tags=["hub"])
    w.edit("ledger", "1", tags=["ledger"])
    w.observe()
    w.receive("ledger")
    w.edit("ledger", "1", tags=["ledger", "more"])
    w.settle()
    assert {
        str(sorted(map(str, row["tags"]))) for row in w.rows("1").values() if row and isinstance(row["tags"], list)
    } == {"['hub', 'ledger', 'more']"}


def test_a_time_that_nobody_has_told_never_beats_a_known_one() -> None:
    known = at(1_000)
    assert known.after(UNKNOWN, 2 * SECOND)
    assert not UNKNOWN.after(known, 0)
    assert not UNKNOWN.after(UNKNOWN, 0)


def test_what_both_sides_have_is_as_new_as_the_later_of_both_edits() -> None:
    w = world()
    w.edit("hub", "1", name="alike")
    w.pass_time(50)
    w.edit("archive", "1", name="between")
    w.pass_time(50)
    w.edit("ledger", "1", name="alike")
    w.observe()
    assert w.receive("ledger")
    assert w.receive("archive")
    w.settle()
    assert_everywhere(w, name="alike")
    assert [one.conflict.theirs for one in w.listed] == ["between"]


def test_a_conflict_is_listed_with_both_values_both_times_the_rule_and_the_base() -> None:
    w = world()
    w.edit("hub", "1", name="ours")
    w.pass_time(1)
    w.edit("ledger", "1", name="theirs")
    w.settle()
    (listed,) = (one.conflict for one in w.listed)
    assert (listed.kind, listed.field, listed.rule) == ("update_origin_differs", "name", "latest")
    assert (listed.resolution, listed.won) == ("keep_local", "ours")
    assert (listed.ours, listed.theirs, listed.base) == ("ours", "theirs", digest("base"))
    assert listed.theirs_time.lo - listed.ours_time.hi == SECOND


def test_the_rules_hub_and_target_are_fixed_whoever_was_later() -> None:
    w = world(name=FieldRule("hub"), note=FieldRule("target"))
    w.edit("ledger", "1", note="theirs, older")
    w.pass_time(60)
    w.edit("hub", "1", name="ours", note="ours")
    w.edit("archive", "1", name="theirs")
    w.settle()
    assert_everywhere(w, name="ours", note="theirs, older")


def test_trace_8_a_value_stored_apart_that_a_trigger_puts_back_is_told_though_no_event_has_it() -> None:
    w = world()
    w.apart = frozenset({"name"})
    w.spokes["ledger"].triggers["name"] = lambda _: "base"
    w.edit("hub", "1", name="sent")
    w.settle()
    assert_everywhere(w, name="base")


def test_what_a_spoke_has_seen_is_not_forgotten_when_an_older_write_of_ours_comes_behind_it() -> None:
    w = world()
    w.edit("archive", "1", name="edited")
    w.delete("hub", "1")
    w.delete("archive", "1")
    w.edit("hub", "1", name="made here", note="n")
    w.edit("archive", "1", name="made there", note="n")
    w.edit("ledger", "1", name="edited too")
    w.pass_time(10)
    w.delete("archive", "1")
    w.delete("hub", "1")
    for _ in range(4):
        w.send("archive")  # the hub's row of before comes and goes, behind what the archive had itself
    w.pass_time(10)
    w.edit("archive", "1", name="made again", note="n")
    w.settle()
    assert_everywhere(w, name="made again")
    assert not [one for one in w.listed if one.conflict.theirs == "made again"]


def test_a_row_that_both_sides_have_made_apart_is_decided_by_its_rules() -> None:
    w = world(name=FieldRule("target"), note=FieldRule("manual"), tags=FieldRule("merge"))
    w.edit("hub", "2", name="ours", note="ours", tags=["a"])
    w.edit("ledger", "2", name="theirs", note="theirs", tags=["b"])
    w.settle()
    rows = w.rows("2")
    for row in rows.values():
        assert row is not None
        assert row["name"] == "theirs"
        assert row["tags"] == ["a", "b"]
    assert {site: row["note"] for site, row in rows.items() if row} == {
        "hub": "ours", "archive": "ours", "ledger": "theirs",
    }  # fmt: skip
    assert {one.conflict.rule for one in w.listed} == {"target", "manual", "merge"}
