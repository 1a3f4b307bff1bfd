"""The schedules that break the obvious designs of two-way synchronisation, by their numbers in the protocol.

Rows that come and go (12 to 14), what people decide (15) and what is refused (17) stand beside this; so do those that
only a service without a change stream can meet: 5, 6, 9, 10 and 19.
"""

from __future__ import annotations

from daemon.resolve.interval import UNKNOWN, at
from daemon.resolve.rules import FieldRule
from daemon.resolve.values import Value, digest
from tests.resolution_row import assert_everywhere, assert_nowhere, world
from tests.resolution_sites import SECOND


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
