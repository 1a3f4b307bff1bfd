"""The schedules of the resolution protocol that only a service without a change stream can meet, by their numbers."""

from __future__ import annotations

from daemon.resolve.inbound import since
from daemon.resolve.intent import Intent, Recovery, recover
from daemon.resolve.interval import Interval
from daemon.resolve.outbound import Plan
from daemon.resolve.rules import FieldRule, Rules
from daemon.resolve.values import Row, Value, digest
from schemas.position import Position
from tests.resolution_service import ServiceSite
from tests.resolution_sites import SECOND
from tests.resolution_world import World

AT = Position(1, 5, 1)


def world(**rules: FieldRule) -> tuple[World, ServiceSite]:
    """A hub, a database and a service that agree on one row."""
    service = ServiceSite("calendar")
    made = World(("ledger", service), ("name", "note"), Rules(rules, skew=2 * SECOND))
    made.edit("hub", "1", name="base", note="base")
    made.settle()
    made.pass_time(300)
    return made, service


def assert_everywhere(w: World, **values: Value) -> None:
    for site, row in w.rows("1").items():
        assert row is not None, site
        assert {name: row[name] for name in values} == values, site


def test_trace_5_a_read_made_before_our_write_and_published_after_it_is_no_revert() -> None:
    w, service = world()
    w.edit("calendar", "1", note="edited")
    assert service.fetch(w)
    w.edit("hub", "1", name="newer")
    for _ in range(4):
        service.send(w, 1)
    assert service.deliver()
    w.settle()
    assert_everywhere(w, name="newer", note="edited")
    assert w.listed == []


def test_trace_5_nothing_is_read_while_a_request_for_the_row_is_open() -> None:
    w, service = world()
    w.edit("hub", "1", name="newer")
    service.send(w, 1)
    w.edit("calendar", "1", note="edited")
    assert service.opened is not None
    assert not service.fetch(w)


def test_trace_6_an_edit_was_made_after_the_read_before_and_at_the_latest_when_the_service_says() -> None:
    assert since(100, 160) == Interval(100, 160)
    assert since(100, 90) == Interval(90, 90)


def test_trace_6_a_wide_interval_is_a_tie_and_its_loser_is_listed() -> None:
    w, _ = world()
    w.edit("hub", "1", name="ours")
    w.pass_time(100)
    w.edit("calendar", "1", name="theirs, newer")
    w.pass_time(100)
    w.settle()
    assert_everywhere(w, name="ours")
    assert [(one.conflict.resolution, one.conflict.theirs) for one in w.listed] == [("keep_local", "theirs, newer")]


def test_trace_9_a_field_that_was_only_compared_keeps_the_compared_value() -> None:
    w, service = world()
    w.edit("hub", "1", name="newer")
    service.send(w, 1)
    assert service.opened is not None
    service._request(w, service.opened)
    w.edit("calendar", "1", note="edited since")
    w.settle()
    assert_everywhere(w, name="newer", note="edited since")


def test_trace_10_what_is_held_is_reported_and_answered_though_it_is_changed_back_before_the_next_read() -> None:
    w, service = world()
    w.edit("calendar", "1", name="for a moment")
    w.edit("hub", "1", name="newer")
    service.send(w, 1)
    assert service.rows["1"]["name"] == "for a moment"
    w.edit("calendar", "1", name="base")
    w.settle()
    assert_everywhere(w, name="newer")


def test_trace_10_what_waits_for_a_person_is_reported_and_not_answered_for_ever() -> None:
    w, service = world(name=FieldRule("manual"))
    w.edit("hub", "1", name="ours")
    w.edit("calendar", "1", name="theirs")
    w.settle()
    assert service.rows["1"]["name"] == "theirs"
    assert w.open_conflicts()["1"].of("calendar")["name"].value == "theirs"


def test_trace_11_adopting_what_is_there_is_told_so_that_the_next_edit_is_no_conflict() -> None:
    w, service = world()
    w.edit("calendar", "1", name="alike")
    w.edit("hub", "1", name="alike")
    service.send(w, 1)
    w.edit("calendar", "1", name="next")
    w.settle()
    assert_everywhere(w, name="next")
    assert w.listed == []


def intent(before: Row, values: Row) -> Intent:
    return Intent(Plan("update", AT, values), before)


def test_trace_19_after_a_crash_a_field_as_wanted_was_ours_and_one_as_before_was_not_done() -> None:
    open_ = intent({"name": "a", "note": "a"}, {"name": "b", "note": "b"})
    assert recover(open_, {"name": "b", "note": "b"}) == Recovery("done", {"name": "b", "note": "b"})
    assert recover(open_, {"name": "a", "note": "a"}) == Recovery("undone")


def test_trace_19_one_proven_field_proves_the_request_and_the_rest_lies_on_top_of_it() -> None:
    now = {"name": "b", "note": "?"}
    found = recover(intent({"name": "a", "note": "a"}, {"name": "b", "note": "b"}), now)
    assert found == Recovery("done", now, frozenset({"note"}))


def test_trace_19_what_cannot_be_told_is_reported_and_never_wins() -> None:
    found = recover(intent({"name": "a"}, {"name": "b"}), {"name": "?"})
    assert found == Recovery("unsure", {"name": "?"}, frozenset({"name"}))


def test_trace_19_what_the_service_normalised_before_the_crash_is_no_edit_against_the_hub() -> None:
    w, service = world()
    service.triggers["name"] = lambda value: value.upper() if isinstance(value, str) else value
    w.edit("hub", "1", name="sent", note="sent")
    service.send(w, 1)
    service.send(w, 1)
    service.crash()
    w.edit("hub", "1", name="newer")
    w.settle()
    assert_everywhere(w, name="NEWER", note="sent")


def test_a_request_that_a_crash_prevented_is_made_once() -> None:
    w, service = world()
    w.edit("hub", "1", name="newer")
    service.send(w, 1)
    service.crash()
    before = service.versions["1"]
    w.settle()
    assert_everywhere(w, name="newer")
    assert service.versions["1"] == before + 1
    assert digest(service.rows["1"]["name"]) == service.sides["1"].fields["name"].digest
