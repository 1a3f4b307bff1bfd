"""`placemat pause` and `placemat resume` beside a running daemon: one table waits, and nothing else does."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from tests.asking import ask
from tests.command import Ended
from tests.fix_capture import DDL, Rig, RigFactory
from tests.waiting import until

ITEMS, PARTS = "public.items", "public.parts"
WHY = "Ada counts them."


class Daemon:
    """`placemat run` as a process, from `items` and `parts` into a target that is called copy."""

    def __init__(self, rig: Rig, target: str) -> None:
        self.rig = rig
        self.target = target
        self.process = rig.site.spawn("run")

    def placemat(self, *arguments: str) -> Ended:
        return self.rig.site.placemat(*arguments)

    def there(self, statement: str) -> list[tuple[Any, ...]]:
        return ask(self.target, statement)

    def arrived(self, table: str) -> None:
        rows = f"SELECT to_jsonb(t) FROM {table} t ORDER BY id"
        until(lambda: self.rig.sql(rows) == self.there(rows), 30, what=f"{table} to be equal")

    def paused(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.placemat("status", "--json").json["targets"]["copy"]["paused"]
        return found

    def lag(self) -> dict[str, Any]:
        found: dict[str, Any] = self.placemat("lag", "--json").json["targets"]["copy"]
        return found


@pytest.fixture
def rig(capture_factory: RigFactory, database_factory: Callable[[str], str]) -> Rig:
    rig = capture_factory()
    target = database_factory("target")
    with psycopg.connect(target) as connection:
        connection.execute(DDL.encode())
    tables: dict[str, Any] = {ITEMS: {}, PARTS: {}}
    rig.site.set("targets", {"copy": {"url": target, "source": rig.site.source, "tables": tables}})
    return rig.init()


@pytest.fixture
def daemon(rig: Rig) -> Iterator[Daemon]:
    rig.sql("INSERT INTO items SELECT i, 0, 'n' || i FROM generate_series(1, 20) i")
    rig.sql("INSERT INTO parts SELECT i, i FROM generate_series(1, 20) i")
    found = Daemon(rig, rig.site.values["targets"]["copy"]["url"])
    try:
        found.arrived("parts")
        rig.copied()  # the copy's records would wait beside the updates
        until(lambda: found.lag()["records"] == 0, what="the copy to be applied")
        yield found
    finally:
        found.process.kill()
        found.process.communicate()


def test_a_table_paused_by_hand_waits_alone_until_it_is_resumed_through_a_change_of_its_structure(
    daemon: Daemon,
) -> None:
    would = daemon.placemat("pause", "copy", "parts", "--dry-run", "--json")
    told = {"request": "pause", "target": "copy", "table": PARTS, "dry_run": True, "state": "running"}
    assert (would.code, would.json, daemon.paused()) == (0, told, [])
    done = daemon.placemat("pause", "copy", "parts", "--reason", WHY, "--json")
    assert (done.code, done.json) == (0, {**told, "dry_run": False, "state": "paused"})

    daemon.rig.sql("UPDATE parts SET note = 'waits'")
    daemon.rig.sql("UPDATE items SET note = 'flows'")
    daemon.arrived("items")
    assert daemon.there("SELECT count(*) FROM parts WHERE note = 'waits'") == [(0,)]
    [told_of] = daemon.paused()
    assert (told_of["table"], told_of["state"], told_of["reason"]) == (PARTS, "paused", WHY)
    assert f"{PARTS} is paused since" in daemon.placemat("status").out
    until(lambda: daemon.lag()["records"] == 0, what="nothing else to be behind")
    assert daemon.lag()["paused"] == {PARTS: 20}
    verified = daemon.placemat("verify")
    assert (verified.code, f"{PARTS} of target copy is paused" in verified.err) == (1, True)

    again = daemon.placemat("pause", "copy", PARTS, "--reason", "Another one.", "--json")
    assert (again.code, again.json["state"], daemon.paused()) == (0, "paused", [told_of])
    assert WHY in again.err

    daemon.rig.sql("ALTER TABLE parts ADD COLUMN size int")
    daemon.rig.sql("UPDATE parts SET size = id")
    daemon.rig.sql("UPDATE items SET version = 1")
    daemon.arrived("items")
    assert daemon.paused() == [told_of]
    refused = daemon.placemat("resume", "copy", "parts")
    assert (refused.code, refused.err.count(f"{PARTS} was paused again")) == (1, 1)
    assert "ADD COLUMN" in refused.err, "it says what to run"
    assert [one["by"] for one in daemon.paused()] == ["placemat"]
    advice = daemon.placemat("verify").err.partition("Try: ")[2]
    assert re.search(r"ADD COLUMN .*; then: placemat resume copy public.parts; then: placemat verify\n$", advice), (
        advice
    )

    daemon.there("ALTER TABLE parts ADD COLUMN size int")
    resumed = daemon.placemat("resume", "copy", "parts", "--json")
    assert (resumed.code, resumed.json["state"]) == (0, "running")
    daemon.arrived("parts")
    assert (daemon.paused(), daemon.lag()["paused"]) == ([], {})
    assert daemon.placemat("verify").code == 0


def test_a_name_that_there_is_not_and_a_table_that_is_not_paused_are_told_in_a_sentence(rig: Rig) -> None:
    for verb in ("pause", "resume"):
        nowhere = rig.site.placemat(verb, "elsewhere", "parts")
        assert (nowhere.code, nowhere.err) == (2, "Error: There is no target elsewhere.\nTry: Choose one of: copy.\n")
        unknown = rig.site.placemat(verb, "copy", "beat")
        assert (unknown.code, "has no route for table public.beat" in unknown.err) == (2, True)
        twice = rig.site.placemat(verb, "copy", "parts", "--target", "copy")
        assert (twice.code, "its target once" in twice.err) == (2, True)
    resumed = rig.site.placemat("resume", "parts", "--target", "copy")
    assert (resumed.code, "public.parts of target copy is not paused" in resumed.err) == (1, True)


def test_a_pause_that_no_worker_takes_up_is_told_and_can_be_taken_back(rig: Rig) -> None:
    asked = rig.site.placemat("pause", "copy", "parts", "--wait", "0.1", "--json")
    assert (asked.code, asked.json["state"]) == (1, "asked")
    assert "The worker has not done it within 0.1 seconds" in asked.err
    back = rig.site.placemat("resume", "parts", "--json")  # there is one target only
    assert (back.code, back.json["state"]) == (0, "running")
