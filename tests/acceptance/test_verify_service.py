"""`placemat verify` of a service: what it has, field by field, beside what it is to have."""

from __future__ import annotations

import json
import uuid
from typing import Any

from connectors.notion.simulator import Fault
from daemon.reconcile.report import VerifyReport
from daemon.reconcile.verify import verify
from daemon.wiring import services
from tests.fix_mirrored import WORKSPACE, Mirrored
from tests.fix_office import Office
from tests.fix_outward import Outward
from tests.people import made, put
from tests.waiting import until


def compared(mirrored: Mirrored, sample: int | None = None) -> VerifyReport:
    """With what stands still taken for a difference at once."""
    settings = mirrored.site.settings
    return verify(
        settings, [], eras={}, sample=sample, show_values=True, stall_seconds=0.1,
        services=lambda name: services.side(settings, name),
    )  # fmt: skip


def of_service(report: VerifyReport, table: str) -> dict[str, Any]:
    [target] = [one for one in report.targets if one.service is not None]
    [found] = [one for one in target.service or () if one.table == table]
    return found.to_json()


def told(outward: Outward) -> list[uuid.UUID]:
    """Places that Notion shows."""
    hub, names = outward.mirrored.hub, [f"place {number}" for number in range(7)]
    with outward.mirrored.running():
        keys = [made(hub, "places", workspace_id=WORKSPACE, name=name, region="North") for name in names]
        outward.until_named("Places", *names)
        outward.mirrored.until("SELECT count(*) FROM placemat.queue", [(0,)])
    return keys


def test_a_service_that_shows_all_rows_has_no_difference(outward: Outward) -> None:
    keys = told(outward)
    done = outward.mirrored.site.placemat("verify", "--json")
    assert done.code == 0, done.err
    [target] = done.json["targets"]
    assert [one["rows"] for one in target["tables"] if one["table"] == "public.places"] == [
        {"source": 7, "target": 7, "compared": 7}
    ]
    [places] = [one for one in target["service"] if one["table"] == "public.places"]
    assert (places["rows"], places["fields"]) == ({"source": 7, "target": 7, "compared": 7}, 14)
    assert "the service" in outward.mirrored.site.placemat("verify").out
    sampled = of_service(compared(outward.mirrored, sample=3), "public.places")
    assert (sampled["differences"], 3 <= sampled["rows"]["compared"] <= 6, len(keys)) == (0, True, 7)


def test_a_table_that_only_names_rows_is_compared_with_the_mirror_and_is_no_record(outward: Outward) -> None:
    mirrored = outward.mirrored
    site, hub = mirrored.site, mirrored.hub
    site.values["targets"][mirrored.name]["entities"] = {
        "people": {
            "table": "public.contacts", "data_source": outward.notion.sources["People"].id,
            "only_if_named_by": ["public.interactions.contact_id"], "fields": {"given_name": {"property": "title"}},
        }
    }  # fmt: skip
    site.values["sources"][site.source]["tables"] += ["public.contacts", "public.interactions"]
    hub.execute("ALTER PUBLICATION placemat ADD TABLE contacts, interactions")
    site.write()
    mirrored.init()
    with mirrored.running():
        una = made(hub, "contacts", workspace_id=WORKSPACE, given_name="Una")
        mail = {"message_id": "m", "direction": "inbound", "occurred_at": "2026-06-01"}
        made(hub, "interactions", workspace_id=WORKSPACE, contact_id=una, **mail)
        outward.until_named("People", "Una")
        mirrored.until("SELECT count(*) FROM placemat.queue", [(0,)])
    report = compared(mirrored)
    [target] = report.targets
    assert sorted((one.table, one.differences) for one in target.tables) == [
        ("public.contacts", 0), ("public.interactions", 0),
    ]  # fmt: skip
    assert [(one.table, one.rows, one.differences) for one in target.service or ()] == [("public.contacts", 1, 0)]
    replayed = site.placemat("replay", "--target", mirrored.name, "--from", "beginning", "--dry-run")
    assert replayed.code == 0, replayed.err


def test_every_difference_of_a_service_is_named_with_its_fields(outward: Outward) -> None:
    keys = [str(key) for key in told(outward)]
    people, store = outward.notion.people, outward.notion.store
    pages = {store.shown(page, "Sync Key"): page for page in store.pages("Places")}
    people.edit(pages[keys[0]], {"Region": "South"})
    people.trash(pages[keys[1]])
    people.delete_forever(pages[keys[2]])
    people.create("Places", {"Name": "place 3", "Region": "North", "Sync Key": keys[3]})
    stranger = str(uuid.uuid4())
    people.create("Places", {"Name": "left long ago", "Sync Key": stranger})
    people.create("Places", {"Name": "a page of their own"})
    outward.mirrored.run("UPDATE wanted.places SET name = 'told by nobody' WHERE id = %s", [keys[4]])
    report = compared(outward.mirrored)
    found = of_service(report, "public.places")
    listed = {one["key"]["id"]: (one["kind"], one["fields"], one.get("values")) for one in found["listed"]}
    assert listed == {
        keys[0]: ("differs", ["region"], {"region": {"source": "North", "target": "South"}}),
        keys[1]: ("only_in_source", [], None),
        keys[2]: ("only_in_source", [], None),
        keys[3]: ("twice", [], None),
        keys[4]: ("differs", ["name"], {"name": {"source": "told by nobody", "target": "place 4"}}),
        stranger: ("only_in_target", [], None),
    }
    assert (found["rows"], found["still_changing"]) == ({"source": 7, "target": 7, "compared": 8}, 0)
    assert report.targets[0].applying is False, "a change waited, and nobody told it"
    assert f"id={keys[3]}: several times in the service" in report.render()


def test_what_is_on_its_way_is_no_difference(office: Office) -> None:
    with office.mirrored.running():
        for number in range(20):
            office.project(name=f"project {number}", status="active")
        until(lambda: len(office.pages()) == 20, 30)
        page = office.notion.store.pages("Projects")[0]
        office.notion.people.edit(page, {"Budget": 7})
        office.notion.people.create("Projects", {"Name": "theirs", "Status": "Active"})
        office.mirrored.hub.execute("UPDATE projects SET budget = 8 WHERE name LIKE 'project 1%'")
        done = office.mirrored.site.placemat("verify", "--json")
        assert (done.code, json.loads(done.out)["differences"]) == (0, 0), done.out


def test_what_a_service_has_refused_differs_and_is_named_with_its_number(office: Office) -> None:
    with office.mirrored.running():
        office.project(name="Garden", area="North, South")
        found = until(lambda: office.mirrored.run("SELECT number FROM placemat.queue WHERE refused_at IS NOT NULL"), 30)
        done = office.mirrored.site.placemat("verify", "--json")
    assert done.code == 3
    [target] = [one for one in done.json["targets"] if one["service"] is not None]
    [listed] = target["service"][0]["listed"]
    assert (listed["kind"], listed["parked"]) == ("only_in_source", found[0][0])


def replayed(mirrored: Mirrored, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    """Exit status, and the rows."""
    done = mirrored.site.placemat("replay", "--target", mirrored.name, *arguments, "--json")
    return done.code, [json.loads(line) for line in done.out.splitlines()][:-1]


def test_a_replay_has_a_service_told_what_it_has_otherwise(outward: Outward) -> None:
    keys = [str(key) for key in told(outward)]
    people, store = outward.notion.people, outward.notion.store
    pages = {store.shown(page, "Sync Key"): page for page in store.pages("Places")}
    people.edit(pages[keys[0]], {"Region": "South"})
    people.trash(pages[keys[1]])
    people.delete_forever(pages[keys[2]])
    outward.mirrored.hub.execute("DELETE FROM places WHERE id = %s", [keys[3]])
    with outward.mirrored.running("capture", "apply"):
        outward.mirrored.until("SELECT count(*) FROM placemat.queue", [(1,)])
        outward.mirrored.run("UPDATE placemat.remotes SET alive = false WHERE key = %s", [f'{{"id":"{keys[3]}"}}'])
        outward.mirrored.run("DELETE FROM placemat.queue")
        status, rows = replayed(outward.mirrored, "--from", "beginning", "--dry-run")
        changes = {one["key"]["id"]: (one["change"], one["fields"]) for one in rows}
        assert (status, changes) == (
            3,
            {
                keys[0]: ("update", ["region"]),
                keys[1]: ("insert", []),
                keys[2]: ("insert", []),
                keys[3]: ("delete", []),
            },
        )
        assert outward.mirrored.run("SELECT count(*) FROM placemat.queue") == [(0,)]
        assert replayed(outward.mirrored, "--from", "beginning")[0] == 0
    with outward.mirrored.running():
        outward.mirrored.until("SELECT count(*) FROM placemat.queue", [(0,)])
    assert sorted(str(one["Name"]) for one in outward.pages("Places")) == sorted(
        f"place {number}" for number in (0, 1, 2, 4, 5, 6)
    )
    assert compared(outward.mirrored).clean
    assert pages[keys[1]] in store.pages("Places"), "taken out of the trash"
    with outward.mirrored.running("capture", "apply"):
        assert replayed(outward.mirrored, "--from", "beginning", "--dry-run") == (0, [])


def test_a_replay_of_one_key_has_it_told_again_after_it_was_given_up(office: Office) -> None:
    with office.mirrored.running():
        key = office.project(name="Garden")
        office.until_both(("Garden", "planned", None))
        office.notion.faults.add(Fault("refused", "update_page", times=None))
        put(office.mirrored.hub, "projects", key, budget=2)
        until(lambda: office.mirrored.run("SELECT number FROM placemat.queue WHERE refused_at IS NOT NULL"), 30)
        given_up = office.mirrored.site.placemat("dlq", "discard", "--all", "--target", office.mirrored.name)
        assert given_up.code == 0, given_up.err
        office.notion.faults.clear()
        assert office.pages() == [("Garden", "planned", None)]
        assert replayed(office.mirrored, "--key", str(key)) == (
            0, [{"table": "public.projects", "key": {"id": str(key)}, "change": "update", "fields": ["budget"]}],
        )  # fmt: skip
        office.until_both(("Garden", "planned", 2))
        office.mirrored.until("SELECT count(*) FROM placemat.queue", [(0,)])
        assert office.mirrored.site.placemat("verify").code == 0
