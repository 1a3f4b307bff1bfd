"""Rows that are deleted, erased, brought back and made again: traces 12 to 14."""

from __future__ import annotations

from daemon.resolve.rules import FieldRule
from tests.resolution_row import COLUMNS, assert_everywhere, assert_nowhere, world
from tests.resolution_world import World


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
