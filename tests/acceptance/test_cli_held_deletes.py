"""People's mistakes: deletes beyond a target's limit wait for `placemat resume TARGET --confirm-deletes`, or come back
by `--reject-deletes`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest

from daemon.seams import AFTER_PUT_BACK, VARIABLE
from tests import forked
from tests.asking import ask
from tests.command import Ended
from tests.fix_capture import DDL, Rig, RigFactory
from tests.waiting import until

ITEMS, PARTS = "public.items", "public.parts"
GUARDED, OPEN = "copy", "open"
MANY = 600
ROWS = "SELECT id, version, note FROM items ORDER BY id"
CHILDREN = "SELECT id, item_id, note FROM parts ORDER BY id"


class Daemon:
    """`placemat run` as a process, from `items` and `parts` into a target with a guard and into one without."""

    def __init__(self, rig: Rig, urls: dict[str, str]) -> None:
        self.rig = rig
        self.urls = urls
        self.process = rig.site.spawn("run")

    def placemat(self, *arguments: str) -> Ended:
        return self.rig.site.placemat(*arguments)

    def at(self, target: str, statement: str) -> list[tuple[Any, ...]]:
        return ask(self.urls[target], statement)

    def arrived(self, target: str) -> None:
        for rows in (ROWS, CHILDREN):
            until(partial(self.equal, target, rows), 30, what=f"{target} to be equal")

    def equal(self, target: str, rows: str) -> bool:
        return self.rig.sql(rows) == self.at(target, rows)

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.placemat("status", "--json").json
        return found

    def held(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.status()["targets"][GUARDED]["held"]
        return found

    def worker(self, target: str) -> dict[str, Any]:
        return next(one for one in self.status()["workers"] if one["name"] == f"apply:{target}")


@pytest.fixture
def rig(capture_factory: RigFactory, database_factory: Callable[[str], str]) -> Rig:
    rig = capture_factory()
    targets: dict[str, Any] = {}
    for name in (GUARDED, OPEN):
        url = database_factory(name)
        with psycopg.connect(url) as connection:
            connection.execute(DDL.encode())
        targets[name] = {"url": url, "source": rig.site.source, "tables": {ITEMS: {}, PARTS: {"exclude": ["note"]}}}
    targets[OPEN]["delete_guard"] = {"enabled": False}
    rig.site.set("targets", targets)
    return rig.init()


@pytest.fixture
def daemon(rig: Rig) -> Iterator[Daemon]:
    rig.sql(f"INSERT INTO items SELECT i, 0, 'n' || i FROM generate_series(1, {MANY}) i")
    rig.sql("INSERT INTO parts (id, item_id) SELECT i, i FROM generate_series(1, 50) i")
    found = Daemon(rig, {name: one["url"] for name, one in rig.site.values["targets"].items()})
    try:
        found.arrived(GUARDED)
        found.arrived(OPEN)
        yield found
    finally:
        found.process.kill()
        found.process.communicate()


def delete_all(daemon: Daemon) -> tuple[list[Any], list[Any]]:
    """The mistake; what there was before."""
    before = daemon.rig.sql(ROWS), daemon.rig.sql(CHILDREN)
    daemon.rig.sql("WITH gone AS (DELETE FROM parts) DELETE FROM items")
    until(daemon.held, 30, what="the hold")
    return before


def writable(daemon: Daemon) -> None:
    daemon.rig.site.set(f"sources.{daemon.rig.site.source}.restore_url", daemon.rig.url)


def test_a_delete_of_everything_is_held_told_and_put_back_where_it_was_done(daemon: Daemon) -> None:
    items, parts = delete_all(daemon)
    [held] = daemon.held()
    [table] = held["tables"]
    assert (held["answer"], table["table"], table["deletes"], table["rows"]) == (None, ITEMS, MANY, MANY)
    until(lambda: daemon.worker(GUARDED)["state"] == "waiting", 30, what="the worker to tell that it waits")
    assert f"{MANY} of {MANY} rows of {ITEMS}" in daemon.worker(GUARDED)["detail"]
    assert "--confirm-deletes" in daemon.placemat("status").out
    daemon.arrived(OPEN)
    assert daemon.worker(OPEN)["state"] == "running"
    assert (daemon.at(GUARDED, ROWS), daemon.at(GUARDED, CHILDREN)) == (items, parts)
    until(lambda: daemon.placemat("lag", "--json").json["targets"][GUARDED]["records"] > 0, what="lag")

    nobody = daemon.placemat("resume", GUARDED, "--reject-deletes")
    assert (nobody.code, "restore_url" in nobody.err) == (1, True)
    assert daemon.held()[0]["answer"] is None, "nothing is answered that cannot be done"
    writable(daemon)

    would = daemon.placemat("resume", GUARDED, "--reject-deletes", "--dry-run", "--json")
    assert (would.code, would.json["state"], would.json["dry_run"], would.json["put_back"]) == (0, "held", True, [])
    assert daemon.held()[0]["answer"] is None

    done = daemon.placemat("resume", GUARDED, "--reject-deletes", "--by", "Ada", "--reason", "A mistake.", "--json")
    assert done.code == 0, done.err
    back = {one["table"]: one for one in done.json["put_back"]}
    assert (done.json["state"], back[ITEMS]["back"], back[PARTS]["back"]) == ("rejected", MANY, 50)
    assert back[PARTS]["lost_columns"] == ["note"]
    assert (daemon.rig.sql(ROWS), daemon.rig.sql(CHILDREN)) == (items, parts)
    daemon.arrived(GUARDED)
    daemon.arrived(OPEN)
    until(lambda: daemon.worker(GUARDED)["state"] == "running", 30, what="the worker to go on")
    assert daemon.status()["targets"][GUARDED]["rejected"] == []
    assert daemon.placemat("verify").code == 0

    nothing = daemon.placemat("resume", GUARDED, "--confirm-deletes")
    assert (nothing.code, "No deletes of target copy wait" in nothing.err) == (1, True)


def test_deletes_that_are_meant_go_through_when_they_are_confirmed(daemon: Daemon) -> None:
    delete_all(daemon)
    would = daemon.placemat("resume", "--target", GUARDED, "--confirm-deletes", "--dry-run")
    assert (would.code, "Would be confirmed" in would.err, len(daemon.held())) == (0, True, 1)
    done = daemon.placemat("resume", GUARDED, "--confirm-deletes", "--json")
    assert (done.code, done.json["state"], done.json["put_back"]) == (0, "confirmed", [])
    assert (daemon.at(GUARDED, ROWS), daemon.at(GUARDED, CHILDREN)) == ([], [])


def test_a_rejection_that_is_killed_between_its_steps_is_taken_up_again(daemon: Daemon) -> None:
    items, parts = delete_all(daemon)
    writable(daemon)
    words = ["--config", str(daemon.rig.site.config), "resume", GUARDED, "--reject-deletes"]
    with Path(os.devnull).open("wb") as nowhere:
        for _ in range(2):
            environment = {**os.environ, VARIABLE: AFTER_PUT_BACK}
            process = forked.spawn(words, environment, nowhere.fileno(), nowhere.fileno())
            assert process.wait() == -9
    [left] = [one for one in daemon.status()["targets"][GUARDED]["rejected"] if one["table"] == ITEMS]
    assert left["keys"] == MANY, "the source has the first batch, and the target has not forgotten it"
    assert "are to be put back" in daemon.placemat("status").out
    daemon.rig.sql("UPDATE items SET note = 'made again' WHERE id = (SELECT min(id) FROM items)")
    done = daemon.placemat("resume", GUARDED, "--reject-deletes", "--json")
    assert done.code == 0, done.err
    [of_items] = [one for one in done.json["put_back"] if one["table"] == ITEMS]
    assert (of_items["back"], of_items["there"]) == (100, 500)
    assert [row[0] for row in daemon.rig.sql(ROWS)] == [row[0] for row in items]
    assert daemon.rig.sql("SELECT count(*) FROM items WHERE note = 'made again'") == [(1,)]
    assert daemon.rig.sql(CHILDREN) == parts
    daemon.arrived(GUARDED)
    daemon.arrived(OPEN)


def test_an_answer_that_makes_no_sense_is_told(rig: Rig) -> None:
    both = rig.site.placemat("resume", GUARDED, "--confirm-deletes", "--reject-deletes")
    assert (both.code, "confirmed or rejected" in both.err) == (2, True)
    table = rig.site.placemat("resume", GUARDED, "items", "--confirm-deletes")
    assert (table.code, "not at a table" in table.err) == (2, True)
    nowhere = rig.site.placemat("resume", "elsewhere", "--confirm-deletes")
    assert (nowhere.code, "There is no target elsewhere." in nowhere.err) == (2, True)
    nothing = rig.site.placemat("resume", GUARDED, "--reject-deletes")
    assert (nothing.code, "No deletes of target copy wait" in nothing.err) == (1, True)
    assert rig.site.placemat("resume").code == 2


def test_an_answer_that_no_worker_follows_is_told_and_stays(daemon: Daemon) -> None:
    delete_all(daemon)
    daemon.process.kill()
    daemon.process.communicate()
    late = daemon.placemat("resume", GUARDED, "--confirm-deletes", "--by", "Ada", "--reason", "Meant.", "--wait", "0.1")
    assert (late.code, "has not followed the answer within 0.1 seconds" in late.err) == (1, True)
    [held] = daemon.held()
    assert (held["answer"], held["by"], held["reason"]) == ("confirmed", "Ada", "Meant.")
    assert "confirmed by Ada, and not followed yet" in daemon.placemat("status").out
    other = daemon.placemat("resume", GUARDED, "--reject-deletes", "--wait", "0.1")
    assert (other.code, "were confirmed by Ada" in other.err) == (1, True)
