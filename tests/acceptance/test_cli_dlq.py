"""`placemat dlq`, on keys that the test parks, with the test in the worker's place."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import datetime

import psycopg
import pytest

from tests.command import Ended
from tests.fix_site import Site
from tests.waiting import until

EVENT = '{"op":"u","before":null,"after":{"id":"1","title":"Told in private"}}'


@pytest.fixture
def parked(site: Site) -> list[int]:
    """Two parked keys, one event behind each."""
    assert site.placemat("init").code == 0
    made = []
    with psycopg.connect(site.ledger) as connection:
        for number in (1, 2):
            row = connection.execute(
                "INSERT INTO placemat.parked (source, table_name, key, kind, sqlstate, reason)"
                " VALUES (%s, 'public.stories', %s, 'refused', '23514', 'constraint short refuses it') RETURNING id",
                [site.source, json.dumps({"id": str(number)})],
            ).fetchone()
            assert row is not None
            made.append(row[0])
            connection.execute(
                "INSERT INTO placemat.parked_events VALUES (%s, 1, 'placemat.p.public.stories', 0, 7, %s)",
                [row[0], EVENT],
            )
    return made


def as_worker(site: Site, statement: str, then: Callable[[], Ended]) -> Ended:
    """Run a verb while the test does to requested keys what a worker would do."""

    def work() -> None:
        with psycopg.connect(site.ledger, autocommit=True) as connection:
            until(
                lambda: connection.execute("SELECT 1 FROM placemat.parked WHERE request IS NOT NULL").fetchone(),
                what="a request",
            )
            connection.execute(statement.encode())

    thread = threading.Thread(target=work)
    thread.start()
    ended = then()
    thread.join()
    return ended


def test_status_tells_how_many_keys_are_parked(site: Site, parked: list[int]) -> None:
    assert site.placemat("status", "--json").json["targets"]["empathy_ledger"]["parked"] == len(parked)
    assert "2 keys are parked; placemat dlq list shows why" in site.placemat("status").out


def test_list_shows_what_is_parked_and_show_the_events_behind_it(site: Site, parked: list[int]) -> None:
    keys = site.placemat("dlq", "list", "--json").json["parked"]
    assert [(key["id"], key["key"], key["events"]) for key in keys] == [
        (parked[0], {"id": "1"}, 1),
        (parked[1], {"id": "2"}, 1),
    ]
    listed = site.placemat("dlq", "list").out.splitlines()
    assert "  id=1  " in listed[1]
    assert datetime.fromisoformat(listed[1][-19:]).astimezone() == datetime.fromisoformat(keys[0]["parked_at"]).replace(
        microsecond=0
    )
    assert listed[3:] == [f"{parked[0]}, {parked[1]}: constraint short refuses it"]
    shown = site.placemat("dlq", "show", str(parked[0]), "--json").json
    assert shown["queue"] == [{"topic": "placemat.p.public.stories", "partition": 0, "offset": 7, "op": "u"}]
    assert "private" not in site.placemat("dlq", "show", str(parked[0])).out
    assert "private" in site.placemat("dlq", "show", str(parked[0]), "--values").out


def test_redrive_waits_until_the_worker_has_done_it(site: Site, parked: list[int]) -> None:
    ended = as_worker(
        site,
        "DELETE FROM placemat.parked WHERE request = 'redrive'",
        lambda: site.placemat("dlq", "redrive", str(parked[0]), "--json"),
    )
    assert (ended.code, ended.json["done"], ended.json["refused"]) == (0, [parked[0]], [])
    assert [key["id"] for key in site.placemat("dlq", "list", "--json").json["parked"]] == [parked[1]]


def test_a_key_that_is_refused_again_is_a_failure_with_its_reason(site: Site, parked: list[int]) -> None:
    ended = as_worker(
        site,
        "UPDATE placemat.parked SET request = NULL, attempts = attempts + 1",
        lambda: site.placemat("dlq", "redrive", "--all"),
    )
    assert ended.code == 1
    assert "Error: 2 of 2 were refused again: constraint short refuses it" in ended.err


def test_a_row_that_is_asked_for_is_waited_for(site: Site, parked: list[int]) -> None:
    """The worker has taken the request up, and the row is on its way."""
    asked = (
        f"UPDATE placemat.parked SET kind = 'needs_full_row', sqlstate = NULL, request = NULL WHERE id = {parked[0]}"
    )
    ended = as_worker(site, asked, lambda: site.placemat("dlq", "redrive", str(parked[0]), "--wait", "1", "--json"))
    assert (ended.code, ended.json["pending"], ended.json["refused"]) == (1, [parked[0]], [])
    assert "1 of 1 are still to come" in ended.err


def test_a_request_that_nobody_takes_up_stays(site: Site, parked: list[int]) -> None:
    ended = site.placemat("dlq", "discard", str(parked[1]), "--wait", "0.2")
    assert ended.code == 1
    assert "Error: The worker has not done it within 0.2 seconds" in ended.err
    assert [key["request"] for key in site.placemat("dlq", "list", "--json").json["parked"]] == [None, "discard"]


def test_dry_run_asks_for_nothing(site: Site, parked: list[int]) -> None:
    ended = site.placemat("dlq", "discard", "--all", "--dry-run", "--json")
    assert (ended.code, ended.json["asked"], ended.json["done"]) == (0, parked, [])
    assert {key["request"] for key in site.placemat("dlq", "list", "--json").json["parked"]} == {None}


def test_what_is_not_parked_and_what_is_not_said_are_refused(site: Site, parked: list[int]) -> None:
    unknown = site.placemat("dlq", "redrive", "999")
    assert (unknown.code, unknown.err.splitlines()[0]) == (1, "Error: No key is parked under 999.")
    nothing = site.placemat("dlq", "redrive")
    assert (nothing.code, nothing.err.splitlines()[0]) == (2, "Error: Say which keys to redrive.")
    both = site.placemat("dlq", "redrive", str(parked[0]), "--all")
    assert (both.code, both.err.splitlines()[0]) == (2, "Error: Keys are named beside --all.")


def test_a_target_that_is_not_prepared_or_not_there_is_told(site: Site) -> None:
    assert site.placemat("dlq", "list").err.startswith("Error: Target empathy_ledger is not prepared.")
    assert site.placemat("dlq", "list", "--target", "notion").code == 2
