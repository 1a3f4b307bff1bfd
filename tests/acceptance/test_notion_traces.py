"""Traces of the resolution protocol that a service brings about, with Notion at the other end; numbers are its own."""

from __future__ import annotations

import uuid
from typing import Any

from connectors.notion.simulator import Fault
from tests.fix_mirrored import WORKSPACE
from tests.fix_office import Office
from tests.people import put
from tests.waiting import until

TELLING = ("capture", "apply", "push")
READING = ("capture", "apply", "fetch")


def started(office: Office) -> tuple[uuid.UUID, Any]:
    """A project that both sides have, and its page; nothing is on its way, and nobody is at work."""
    with office.mirrored.running():
        key = office.project(name="Garden", status="planned", budget=1)
        office.until_both(("Garden", "planned", 1))
        rests(office)
    [page] = office.notion.store.pages("Projects")
    return key, page


def rests(office: Office) -> None:
    """What was told is known to be, here and at the hub."""
    office.mirrored.until("SELECT count(*) FROM placemat.queue", [(0,)])
    until(lambda: office.mirrored.site.placemat("verify").code == 0, 30, what="both sides to agree")


def shown(office: Office, name: str) -> object:
    [page] = office.notion.store.pages("Projects")
    return office.notion.store.shown(page, name)


def listed(office: Office) -> list[tuple[Any, ...]]:
    query = "SELECT kind, field, resolution, won FROM placemat.conflict_log ORDER BY id"
    return office.mirrored.hub.execute(query).fetchall()


def test_trace_6_our_own_write_makes_no_edit_of_a_person_younger_than_it_is(office: Office) -> None:
    """The page's time is moved by the budget that we write, to after the hub's edit of the status."""
    key, page = started(office)
    office.notion.people.edit(page, {"Status": "Paused"})
    put(office.mirrored.hub, "projects", key, status="active")
    put(office.mirrored.hub, "projects", key, budget=2)
    with office.mirrored.running(*TELLING):
        until(lambda: shown(office, "Budget") == 2, 30)
    with office.mirrored.running():
        office.until_both(("Garden", "active", 2))
    assert listed(office) == [("update_origin_differs", "status", "keep_local", "ours")]


def test_trace_9_a_field_that_was_only_looked_at_is_not_taken_for_agreed(office: Office) -> None:
    key, page = started(office)
    office.notion.people.edit(page, {"Status": "Paused"})
    put(office.mirrored.hub, "projects", key, budget=2)
    with office.mirrored.running(*TELLING):
        until(lambda: shown(office, "Budget") == 2, 30)
        office.mirrored.until("SELECT count(*) FROM placemat.queue", [(0,)])
    with office.mirrored.running():
        office.until_both(("Garden", "paused", 2))
    assert listed(office) == []


def test_trace_10_what_is_held_back_is_answered_also_when_it_was_changed_back_before_the_next_look(
    office: Office,
) -> None:
    key, page = started(office)
    office.notion.people.edit(page, {"Status": "Paused"})
    put(office.mirrored.hub, "projects", key, status="active")
    with office.mirrored.running("capture", "push", f"apply:{office.mirrored.name}"):
        office.mirrored.until("SELECT count(*) FROM placemat.queue", [(0,)])
        until(lambda: office.mirrored.run("SELECT status FROM public.projects") == [("paused",)], 30)
    office.notion.people.edit(page, {"Status": "Planned"})
    with office.mirrored.running():
        until(lambda: office.hub_rows() == office.pages(), 30)
        rests(office)
    assert office.hub_rows() == office.pages()


def test_trace_11_a_page_that_is_there_and_equal_is_told_and_heard_from_then_on(office: Office) -> None:
    key = office.project(name="Garden", status="active", budget=1)
    values = {"Name": "Garden", "Status": "Active", "Budget": 1, "Sync Key": str(key)}
    page = office.notion.people.create("Projects", values)
    with office.mirrored.running():
        rests(office)
        put(office.mirrored.hub, "projects", key, budget=2)
        office.until_both(("Garden", "active", 2))
        office.notion.people.edit(page, {"Status": "Paused"})
        office.until_both(("Garden", "paused", 2))
    assert [one.id for one in office.notion.store.pages("Projects", in_trash=None)] == [page.id]
    assert listed(office) == []


def test_trace_12_a_row_that_comes_back_has_the_values_that_it_went_with(office: Office) -> None:
    """The page still has the budget of before the hub's last edit. It was read by its id after the row had gone: by
    what queries tell alone, the edit could be older."""
    key, page = started(office)
    put(office.mirrored.hub, "projects", key, budget=2)
    office.mirrored.hub.execute("DELETE FROM projects")
    office.mirrored.site.set(f"targets.{office.mirrored.name}.skew_seconds", 0)
    with office.mirrored.running(*READING):
        until(lambda: office.mirrored.run("SELECT 1 FROM wanted.projects") == [], 30)
        office.mirrored.run(
            "INSERT INTO placemat.dirty (table_name, remote_id) VALUES ('public.projects', %s)", [page.id]
        )
        office.mirrored.until("SELECT count(*) FROM placemat.dirty", [(0,)])
        office.notion.people.edit(page, {"Name": "Orchard"})
        until(lambda: office.hub_rows() == [("Orchard", "planned", 2)], 30)
    with office.mirrored.running():
        office.until_both(("Orchard", "planned", 2))


def test_trace_14_what_people_have_made_and_taken_away_does_not_come_back_by_its_echo(office: Office) -> None:
    page = office.notion.people.create("Projects", {"Name": "Garden", "Status": "Active"})
    with office.mirrored.running(*READING):
        until(lambda: office.hub_rows() == [("Garden", "active", None)], 30)
    office.notion.people.trash(page)
    with office.mirrored.running(*TELLING):
        office.mirrored.until("SELECT count(*) FROM placemat.queue", [(0,)])
    with office.mirrored.running():
        office.until_both()
        rests(office)
    assert office.notion.counts()["create_page"] == 0
    assert [one.id for one in office.notion.store.pages("Projects", in_trash=True)] == [page.id]


def test_trace_16_a_field_that_only_goes_there_is_put_back_and_keeps_nothing_alive(office: Office) -> None:
    fields = office.mirrored.site.values["targets"][office.mirrored.name]["entities"]["projects"]["fields"]
    fields["budget"]["direction"] = "out"
    office.mirrored.site.write()
    office.mirrored.init()
    _, page = started(office)
    with office.mirrored.running():
        office.notion.people.edit(page, {"Budget": 99})
        until(lambda: shown(office, "Budget") == 1, 30)
        office.until_both(("Garden", "planned", 1))
    office.notion.people.edit(page, {"Budget": 98})
    office.mirrored.hub.execute("DELETE FROM projects")
    with office.mirrored.running():
        office.until_both()
    assert office.hub_rows() == []


def test_trace_17_the_corrected_value_does_not_wait_behind_the_refused_one(office: Office) -> None:
    key, _ = started(office)
    with office.mirrored.running():
        put(office.mirrored.hub, "projects", key, area="North, South")
        until(lambda: office.mirrored.run("SELECT 1 FROM placemat.queue WHERE refused_at IS NOT NULL"), 30)
        put(office.mirrored.hub, "projects", key, area="North", status="active")
        office.until_both(("Garden", "active", 1))
        office.mirrored.until("SELECT count(*) FROM placemat.queue", [(0,)])


def test_trace_19_a_write_whose_answer_was_lost_is_no_edit_of_a_person(office: Office) -> None:
    key, _ = started(office)
    office.notion.faults.add(Fault("cut_after", "update_page"))
    with office.mirrored.running():
        put(office.mirrored.hub, "projects", key, budget=2)
        until(lambda: office.mirrored.run("SELECT attempts FROM placemat.queue") == [(1,)], 30)
        office.mirrored.run("UPDATE placemat.intents SET at = at - interval '2 min'")
        office.mirrored.run("UPDATE placemat.queue SET due = clock_timestamp()")
        office.until_both(("Garden", "planned", 2))
        office.mirrored.until("SELECT count(*) FROM placemat.queue", [(0,)])
        put(office.mirrored.hub, "projects", key, budget=3)
        office.until_both(("Garden", "planned", 3))
    assert listed(office) == []
    assert office.mirrored.hub.execute("SELECT workspace_id FROM projects").fetchone() == (WORKSPACE,)
