"""Ten ways a naive connector goes wrong with Notion, and the daemon goes right in each of them; in the tenth,
and the ninth by webhooks, in `test_notion_webhooks.py`.

What is done to it is what is done to the naive one in `test_notion_naive.py`; hub and pages are in step all the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.notion.simulator import Fault, Settings
from connectors.notion.simulator.faults import Kind
from tests.contract.notion_contract import Contract
from tests.fix_mirrored import WORKSPACE
from tests.fix_office import Office, made_office
from tests.fix_outward import Outward
from tests.fix_servers import Kafka, Postgres
from tests.people import made, put
from tests.waiting import until

LIMIT = 20
"""Rows after which a query ends, in place of 10,000."""


def told_twice(office: Office) -> list[str]:
    return [key for key, pages in office.notion.store.by_key("Projects", in_trash=None).items() if len(pages) != 1]


def told(office: Office) -> bool:
    """Whether nothing waits; what is due only later is due at once, and what was on its way has landed."""
    office.mirrored.run("UPDATE placemat.queue SET due = clock_timestamp()")
    office.mirrored.run("UPDATE placemat.intents SET at = at - interval '2 min'")
    return bool(office.pages()) and not office.mirrored.run("SELECT 1 FROM placemat.queue")


def rests(office: Office) -> None:
    until(office.mirrored.settled, 60, what="rest")


@pytest.mark.parametrize("kind", ["cut_after", "cut_within", "saved_503", "saved_503_silent", "failed_after"])
def test_1_and_2_a_create_that_was_answered_by_nothing_or_an_error_is_one_page(office: Office, kind: Kind) -> None:
    office.notion.faults.add(Fault(kind, "create_page"))
    with office.mirrored.running():
        office.project(name="Garden")
        until(lambda: told(office), 60)
    assert (office.pages(), told_twice(office)) == ([("Garden", "planned", None)], [])
    assert office.notion.counts()["create_page"] == 1


def test_3_the_second_edit_of_a_minute_is_read(at_work: Office) -> None:
    at_work.project(name="Garden")
    at_work.until_both(("Garden", "planned", None))
    [page] = at_work.notion.store.pages("Projects")
    for budget in (1, 2, 3):
        at_work.notion.people.edit(page, {"Budget": budget})
        at_work.until_both(("Garden", "planned", budget))


@pytest.fixture
def cramped(
    postgres_server: Postgres, kafka_server: Kafka, tmp_path: Path, notion_contract: Contract
) -> Iterator[Office]:
    settings = Settings(connection_per_minute=6_000, query_rows=LIMIT)
    with made_office(postgres_server, kafka_server, tmp_path, notion_contract, settings) as found:
        yield found


def test_4_beyond_the_rows_that_a_query_tells_all_are_read_and_none_is_deleted(cramped: Office) -> None:
    """With a limit of 20 rows here; that the simulator's is 10,000 has its own test."""
    now = cramped.notion.store.clock()
    for number in range(3 * LIMIT):
        at = now - timedelta(minutes=number + 10)
        cramped.notion.people.create("Projects", {"Name": f"{number}", "Status": "Active", "Budget": number}, at=at)
    with cramped.mirrored.running():
        cramped.until_both(*((f"{number}", "active", float(number)) for number in range(3 * LIMIT)))
        until(lambda: "" not in cramped.notion.store.by_key("Projects"), 30, what="keys, all in the same minute or two")
        done = cramped.mirrored.site.placemat("verify", "--json")
    assert (done.code, done.json["differences"]) == (0, 0)
    assert len(cramped.notion.store.pages("Projects")) == 3 * LIMIT


def test_5_all_wait_for_as_long_as_notion_says_and_an_overload_ends_nothing(office: Office) -> None:
    names = [f"project {number}" for number in range(12)]
    office.notion.faults.add(Fault("overloaded", "create_page", retry_after=1))
    office.notion.faults.add(Fault("throttled", "create_page", nth=6, retry_after=2))
    with office.mirrored.running("capture", "apply", "fetch", "push"):
        for name in names:
            office.project(name=name)
        until(lambda: len(office.pages()) == len(names), 60)
    [held] = [seen for seen in office.notion.log if seen.status == 429]
    begun = [(seen.at - held.at).total_seconds() for seen in office.notion.log if seen.number > held.number]
    in_flight = [at for at in begun if at < 1]
    assert len(in_flight) <= 2 * 3, "what was on its way already"
    assert not [at for at in begun if 1 <= at < 1.9]
    assert (told_twice(office), office.notion.statuses()[429]) == ([], 1)


@pytest.mark.parametrize("text", ["x" * 2001, "🌱" * 1001, "a" + "🌱" * 1000 + "line\n" * 3_000])
def test_6_a_long_text_arrives_whole(at_work: Office, text: str) -> None:
    at_work.project(name="Garden", description=text)
    at_work.until_both(("Garden", "planned", None))
    [page] = at_work.notion.store.pages("Projects")
    assert at_work.notion.store.shown(page, "Description") == text
    at_work.notion.people.edit(page, {"Budget": 5})
    at_work.until_both(("Garden", "planned", 5))
    assert at_work.mirrored.hub.execute("SELECT description FROM projects").fetchone() == (text,)


def test_6_a_text_that_notion_cannot_hold_keeps_one_row_out_and_is_said_so(at_work: Office) -> None:
    at_work.project(name="Garden", description="x" * 200_001)
    at_work.project(name="Orchard")
    until(lambda: at_work.pages() == [("Orchard", "planned", None)], 30)
    refused = until(lambda: at_work.mirrored.run("SELECT reason FROM placemat.queue WHERE refused_at IS NOT NULL"), 30)
    assert refused == [("description: a text of 200,001 characters is longer than Notion takes (200,000)",)]


def test_7_a_property_is_followed_when_it_is_renamed(at_work: Office) -> None:
    key = at_work.project(name="Garden", budget=5)
    at_work.until_both(("Garden", "planned", 5))
    [page] = at_work.notion.store.pages("Projects")
    at_work.notion.people.rename_property("Projects", "Budget", "Money")
    put(at_work.mirrored.hub, "projects", key, budget=6)
    until(lambda: at_work.notion.store.shown(page, "Money") == 6, 30)
    at_work.notion.people.edit(page, {"Money": 7})
    until(lambda: at_work.hub_rows() == [("Garden", "planned", 7)], 30)


def test_7_a_property_whose_type_is_changed_stops_it_with_a_sentence_and_empties_nothing(office: Office) -> None:
    with office.mirrored.running():
        key = office.project(name="Garden", budget=5)
        office.until_both(("Garden", "planned", 5))
        rests(office)
    office.notion.people.change_type("Projects", "Budget", "rich_text")
    put(office.mirrored.hub, "projects", key, name="Garden bed")
    ended = office.mirrored.site.placemat("run", f"fetch:{office.mirrored.name}", f"push:{office.mirrored.name}")
    assert ended.code == 1, ended.err
    assert "Budget" in ended.err
    assert office.hub_rows() == [("Garden bed", "planned", 5)]
    office.notion.people.change_type("Projects", "Budget", "number")
    with office.mirrored.running():
        office.until_both(("Garden bed", "planned", 5))


def test_8_a_page_in_the_trash_is_the_same_page_when_it_comes_back(outward: Outward) -> None:
    with outward.mirrored.running():
        key = made(outward.mirrored.hub, "places", workspace_id=WORKSPACE, name="River bend")
        outward.until_named("Places", "River bend")
        [page] = outward.notion.store.pages("Places")
        outward.notion.people.trash(page)
        put(outward.mirrored.hub, "places", key, name="River's bend")
        outward.until_named("Places", "River's bend")
        outward.notion.people.trash(page)
        outward.notion.people.restore(page)
        put(outward.mirrored.hub, "places", key, name="River")
        outward.until_named("Places", "River")
    assert [one.id for one in outward.notion.store.pages("Places", in_trash=None)] == [page.id]


def test_9_what_we_have_written_comes_back_as_nothing_new(at_work: Office) -> None:
    for number in range(5):
        at_work.project(name=f"{number}")
    at_work.until_both(*((f"{number}", "planned", None) for number in range(5)))
    rests(at_work)

    def asked() -> Counter[Any]:
        return Counter(seen.route for seen in at_work.notion.log)

    before = asked()
    until(lambda: asked()["query_data_source"] >= before["query_data_source"] + 20, 30, what="further polls")
    after = asked()
    assert [after[route] - before[route] for route in ("create_page", "update_page")] == [0, 0]


def test_9_an_edit_of_a_person_right_after_ours_is_theirs(at_work: Office) -> None:
    key = at_work.project(name="Garden")
    at_work.until_both(("Garden", "planned", None))
    [page] = at_work.notion.store.pages("Projects")
    for ours, theirs in ((10, 11), (20, 21)):
        put(at_work.mirrored.hub, "projects", key, budget=ours)
        until(lambda ours=ours: at_work.notion.store.shown(page, "Budget") == ours, 30)  # type: ignore[misc]
        at_work.notion.people.edit(page, {"Budget": theirs})
        at_work.until_both(("Garden", "planned", theirs))
