"""Rows of the hub appear in Notion: from the primary's log to the simulator's own store."""

from __future__ import annotations

from connectors.notion.simulator import Fault
from tests.fix_mirrored import WORKSPACE
from tests.fix_outward import Outward
from tests.people import made, put
from tests.supervised import Supervised
from tests.waiting import until


def test_rows_of_the_hub_appear_change_and_leave(outward: Outward) -> None:
    mirrored, hub = outward.mirrored, outward.mirrored.hub
    with mirrored.running():
        place = made(hub, "places", workspace_id=WORKSPACE, name="River bend", region="North")
        made(hub, "artifacts", workspace_id=WORKSPACE, name="Canoe", kind="object", place_id=place)
        outward.until_named("Places", "River bend")
        outward.until_named("Artifacts", "Canoe")
        [canoe] = outward.notion.store.pages("Artifacts")
        assert outward.notion.store.shown(canoe, "Place") == [outward.notion.store.pages("Places")[0].id]
        put(hub, "places", place, name="River's bend")
        outward.until_named("Places", "River's bend")
        hub.execute("DELETE FROM artifacts")
        outward.until_named("Artifacts")
    assert len(outward.notion.store.pages("Artifacts", in_trash=True)) == 1


def test_a_reply_that_is_lost_makes_no_second_page(outward: Outward) -> None:
    outward.notion.faults.add(Fault("cut_after", "create_page"))
    with outward.mirrored.running():
        made(outward.mirrored.hub, "places", workspace_id=WORKSPACE, name="River bend")
        until(lambda: outward.mirrored.run("SELECT attempts FROM placemat.queue") == [(1,)], 30)
        outward.mirrored.run("UPDATE placemat.queue SET due = clock_timestamp()")
        outward.mirrored.until("SELECT count(*) FROM placemat.queue", [(0,)])
    assert [one["Name"] for one in outward.pages("Places")] == ["River bend"]
    assert outward.notion.counts()["create_page"] == 1


def test_a_property_that_people_take_away_stops_the_worker_and_refuses_no_row(outward: Outward) -> None:
    mirrored, hub = outward.mirrored, outward.mirrored.hub
    with Supervised(*mirrored.workers()) as workers:
        place = made(hub, "places", workspace_id=WORKSPACE, name="River bend", region="North")
        other = made(hub, "places", workspace_id=WORKSPACE, name="Hill", region="North")
        outward.until_named("Places", "River bend", "Hill")
        outward.notion.people.remove_property("Places", "Region")
        put(hub, "places", place, region="South")
        put(hub, "places", other, region="South")
        until(lambda: "Column region of public.places has no property Region in Notion" in workers.details, 30)
        made(hub, "artifacts", workspace_id=WORKSPACE, name="Canoe", kind="object")
        mirrored.until("SELECT name FROM wanted.artifacts", [("Canoe",)])
    assert mirrored.run("SELECT count(*) FROM placemat.queue WHERE refused_at IS NOT NULL") == [(0,)]
