"""A Notion that people have filled, without any keys, and a hub that is full too: linked once, nothing is twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.notion.simulator import Settings
from daemon.state.engine import opened
from daemon.state.workers import Told, tell
from tests.contract.notion_contract import Contract
from tests.fix_mirrored import WORKSPACE
from tests.fix_office import STATUS, Office, made_office
from tests.fix_servers import Kafka, Postgres
from tests.people import made
from tests.waiting import until

LONG_AGO = datetime.now(UTC) - timedelta(days=2)
YESTERDAY = datetime.now(UTC) - timedelta(days=1)


@pytest.fixture
def full(postgres_server: Postgres, kafka_server: Kafka, tmp_path: Path, notion_contract: Contract) -> Iterator[Office]:
    """What is made there is made before anything is prepared."""
    settings = Settings(connection_per_minute=6_000)
    with made_office(postgres_server, kafka_server, tmp_path, notion_contract, settings, prepared=False) as found:
        yield found


def page(office: Office, name: str, at: datetime = YESTERDAY, **values: Any) -> str:
    return office.notion.people.create("Projects", {"Name": name, "Status": "Planned", **values}, at=at).id


def row(office: Office, name: str, at: datetime = YESTERDAY, **values: Any) -> str:
    return str(office.project(name=name, created_at=at, updated_at=at, **values))


def link(office: Office, *words: str) -> Any:
    done = office.mirrored.site.placemat("link", office.mirrored.name, "--json", *words)
    assert done.code in (0, 3), done.err
    return json.loads(done.out)


def keys(office: Office) -> dict[str, str]:
    """By page, the key that it holds."""
    found = office.notion.store.by_key("Projects")
    return {one.id: key for key, pages in found.items() for one in pages}


def values(office: Office, name: str) -> list[list[Any]]:
    store = office.notion.store
    return [
        [store.shown(one, field) for field in ("Budget", "Area")]
        for one in store.pages("Projects")
        if store.shown(one, "Name") == name
    ]


def test_pages_that_are_rows_already_become_them_and_everything_else_is_made_once(full: Office) -> None:
    office = full
    same, older, newer = page(office, "Garden", Budget=1), page(office, "Orchard", LONG_AGO), page(office, "Kitchen")
    page(office, "There")
    office.notion.people.edit(older, {"Area": "page"}, at=LONG_AGO)
    office.notion.people.edit(newer, {"Area": "page"}, at=YESTERDAY)
    ours = [row(office, "Garden", budget=1), row(office, "Orchard", area="hub")]
    ours.append(row(office, "Kitchen", LONG_AGO, area="hub"))
    row(office, "Here")
    office.mirrored.init()
    planned = link(office, "--match", "name", "--dry-run")
    assert set(keys(office).values()) == {""}, "a dry run changes nothing"
    done = link(office, "--match", "name")
    assert planned["tables"] == done["tables"]
    assert {name: done[name] for name in ("rekeyed", "differing", "only_hub", "only_target", "ambiguous")} == {
        "rekeyed": 3, "differing": 2, "only_hub": 1, "only_target": 1, "ambiguous": 0
    }  # fmt: skip
    with office.mirrored.running():
        office.until_both(
            ("Garden", "planned", 1), ("Here", "planned", None), ("Kitchen", "planned", None),
            ("Orchard", "planned", None), ("There", "planned", None),
        )  # fmt: skip
        until(lambda: "" not in keys(office).values(), 30, what="the keys given")
        assert [keys(office)[one] for one in (same, older, newer)] == ours
        until(lambda: values(office, "Orchard") == [[None, "hub"]], 30, what="the later value there")
        area = "SELECT area FROM projects WHERE name = 'Kitchen'"
        until(lambda: office.mirrored.hub.execute(area).fetchone() == ("page",), 30, what="the later value here")
    assert link(office, "--match", "name")["nothing_to_do"]


def test_what_nobody_can_tell_waits_on_both_sides_until_it_is_linked_again(office: Office) -> None:
    first, second = page(office, "Garden", Area="North"), page(office, "Garden", Area="South")
    key = row(office, "Garden", area="South")
    assert link(office, "--match", "name")["ambiguous"] == 3
    with office.mirrored.running():
        parked = "SELECT count(*) FROM placemat.parked"
        until(lambda: office.mirrored.hub.execute(parked).fetchone() == (2,), 30, what="the pages waiting")
        until(lambda: office.mirrored.run(parked) == [(1,)], 30, what="the row waiting")
        assert [len(office.hub_rows()), len(office.pages())] == [1, 2]
    assert link(office, "--match", "name,area")["rekeyed"] == 1
    with office.mirrored.running():
        office.until_both(("Garden", "planned", None), ("Garden", "planned", None))
        until(lambda: keys(office)[second] == key, 30, what="the key given")
        until(lambda: keys(office)[first] not in ("", key), 30, what="a row of its own")
        office.mirrored.until(parked, [(0,)])


def test_a_page_that_names_another_is_equal_to_the_row_that_names_its_row(full: Office) -> None:
    mirrored, notion = full.mirrored, full.notion
    target, hub = mirrored.site.values["targets"][mirrored.name], mirrored.hub
    target["entities"]["opportunities"] = {
        "table": "public.opportunities", "data_source": notion.sources["Opportunities"].id, "both_ways": True,
        "updated_at": "updated_at", "defaults": {"workspace_id": str(WORKSPACE)},
        "fields": {
            "name": {"property": "title"}, "project_id": {"property": "Project", "relation": "projects"},
        },
    }  # fmt: skip
    mirrored.site.values["sources"][mirrored.site.source]["tables"] += ["public.opportunities"]
    mirrored.site.write()
    hub.execute("GRANT SELECT ON opportunities TO placemat_capture")
    hub.execute("GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON opportunities TO placemat_apply")
    hub.execute("ALTER TABLE opportunities REPLICA IDENTITY FULL")
    hub.execute("ALTER PUBLICATION placemat ADD TABLE opportunities")
    garden = page(full, "Garden")
    notion.people.create("Opportunities", {"Name": "Grant", "Project": [garden]}, at=YESTERDAY)
    key = row(full, "Garden")
    made(hub, "opportunities", workspace_id=WORKSPACE, name="Grant", project_id=key)
    mirrored.init()
    found = link(full, "--match", "name", "--match", "name,project_id")
    assert (found["rekeyed"], found["differing"]) == (2, 0)
    with mirrored.running():
        until(lambda: len(notion.store.by_key("Opportunities").keys() - {""}) == 1, 30, what="its key given")
        full.until_both(("Garden", "planned", None))
    assert [one.id for [one] in notion.store.by_key("Projects").values()] == [garden]
    assert hub.execute("SELECT project_id::text, count(*) FROM opportunities GROUP BY 1").fetchall() == [(key, 1)]


def test_it_is_refused_while_anybody_could_carry_a_page_over(office: Office) -> None:
    with opened(office.mirrored.site.settings.state.url.get_secret_value()) as engine:
        tell(engine, "elsewhere", {f"fetch:{office.mirrored.name}": Told("running", None, datetime.now(UTC))})
    done = office.mirrored.site.placemat("link", office.mirrored.name)
    assert done.code != 0
    assert f"Worker fetch:{office.mirrored.name} runs" in done.err


def test_status_is_matched_by_the_hub_s_own_value(office: Office) -> None:
    page(office, "Garden", Status=STATUS["active"])
    row(office, "Orchard", status="active")
    assert link(office, "--match", "status")["rekeyed"] == 1
