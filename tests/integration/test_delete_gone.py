"""`placemat snapshot TABLE… --delete-gone`: what a target has and its source has no more leaves it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from connectors.postgres.pauses import Pauses
from connectors.postgres.sink import PostgresSink
from daemon.apply.worker import ApplyWorker
from daemon.progress import Progress
from daemon.resync import gone
from daemon.resync.gone import Gone, delete_gone
from tests.command import Ended
from tests.fix_capture import DDL, Life, Rig, RigFactory
from tests.waiting import until

THERE = """
CREATE TABLE items (id bigint PRIMARY KEY, version bigint NOT NULL DEFAULT 0, remark text);
CREATE TABLE pieces (number bigint PRIMARY KEY, item_id bigint NOT NULL REFERENCES items, note text);
"""
ROUTES = {
    "public.items": {"columns": {"note": "remark"}},
    "public.parts": {"table": "public.pieces", "columns": {"id": "number"}, "where": "note = 'shown'"},
}
GONE = (
    "INSERT INTO items SELECT i, 0, 'gone' FROM generate_series(900, 919) i;"
    " INSERT INTO pieces SELECT i, i, 'gone' FROM generate_series(900, 909) i;"
    " INSERT INTO pieces VALUES (7, 7, 'hidden at the source')"
)


@dataclass(slots=True)
class Followed:
    """Capture and apply at work, and a target with rows that nobody has sent it."""

    rig: Rig
    target: str
    worker: Life

    def there(self, statement: str) -> list[Any]:
        with psycopg.connect(self.target, autocommit=True) as connection:
            found = connection.execute(statement.encode())
            return found.fetchall() if found.description else []

    def snapshot(self, *arguments: str) -> Ended:
        return self.rig.site.placemat("snapshot", *arguments, "--delete-gone", "--json")


def follow(rig: Rig, target: str, there: str, routes: Mapping[str, Any]) -> Followed:
    with psycopg.connect(target) as connection:
        connection.execute(there.encode())
    rig.site.set("targets", {"copy": {"url": target, "source": rig.site.source, "tables": routes}})
    rig.init().start()
    worker = Life(ApplyWorker(rig.site.settings, "copy", PostgresSink))  # type: ignore[arg-type]
    rig.stack.callback(worker.stop)
    return Followed(rig, target, worker)


@pytest.fixture
def followed(capture_factory: RigFactory, database_factory: Callable[[str], str]) -> Followed:
    rig = capture_factory(ddl=DDL)
    rig.sql("INSERT INTO items SELECT i, 0, 'n' || i FROM generate_series(1, 20) i")
    rig.sql("INSERT INTO parts SELECT i, i, (ARRAY['shown', 'hidden'])[1 + i % 2] FROM generate_series(1, 20) i")
    found = follow(rig, database_factory("target"), THERE, ROUTES)
    until(lambda: found.there("SELECT count(*) FROM pieces") == [(10,)], 30, what="the rows in the target")
    found.there(GONE)
    return found


def test_what_only_the_target_has_leaves_it_after_the_copy_children_first(followed: Followed) -> None:
    planned = followed.snapshot("items", "parts", "--dry-run")
    assert planned.code == 0, planned.err
    assert [(one["target"], one["table"], one["rows"], one["parked"]) for one in planned.json["gone"]] == [
        ("copy", "public.parts", 11, 0),
        ("copy", "public.items", 20, 0),
    ]
    assert followed.there("SELECT count(*) FROM pieces") == [(21,)], "a dry run deletes nothing"

    followed.rig.sql("INSERT INTO items VALUES (901, 1, 'there again')")
    ended = followed.snapshot("items", "parts")
    assert ended.code == 0, ended.err
    assert [(one["table"], one["deleted"], one["left"]) for one in ended.json["gone"]] == [
        ("public.parts", 10, 0),  # the copy has taken the other one away: it does not pass the route
        ("public.items", 19, 0),
    ]
    assert {job["state"] for job in ended.json["jobs"]} == {"done"}
    assert followed.there("SELECT count(*), max(number) FROM pieces") == [(10, 20)]
    assert followed.there("SELECT count(*), max(remark) FILTER (WHERE id = 901) FROM items") == [(21, "there again")]
    assert followed.rig.site.placemat("verify").code == 0


@pytest.mark.long
def test_a_row_whose_key_the_source_cannot_hold_is_left_and_told_and_the_others_leave(
    capture_factory: RigFactory, database_factory: Callable[[str], str]
) -> None:
    followed = follow(
        capture_factory(ddl="CREATE TABLE items (id int PRIMARY KEY)", tables=("items",)),
        database_factory("target"),
        "CREATE TABLE items (id bigint PRIMARY KEY)",
        {"public.items": {}},
    )
    followed.there("INSERT INTO items VALUES (7), (3000000000), (8)")
    [planned] = followed.snapshot("items", "--dry-run").json["gone"]
    assert (planned["rows"], planned["own"]) == (2, 1)
    progress: list[Progress] = []
    [found] = delete_gone(followed.rig.site.settings, "copy", lambda _: None, on_progress=progress.append)
    assert found == Gone("public.items", deleted=2, settled=0, left=1, own=1)
    assert (progress[0].done, progress[0].total, progress[-1]) == (0, 3, Progress("copy public.items", 3, 3))
    ended = followed.snapshot("items")
    [told] = ended.json["gone"]
    assert (ended.code, told["deleted"], told["left"]) == (1, 0, 1), ended.err
    assert "the target's own" in told["why"]
    assert "placemat verify public.items names them; delete them at copy" in ended.err
    assert followed.there("SELECT id FROM items") == [(3000000000,)]


@pytest.mark.long
def test_what_cannot_leave_is_counted_and_the_error_says_what_to_do(
    followed: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(followed.target, autocommit=True) as connection:
        pauses = Pauses(connection, "copy", followed.rig.site.source)
        pauses.pause("public.parts", "Ada", "Because")
        until(lambda: [one.state for one in pauses.read()] == ["paused"], what="the pause")
    ended = followed.snapshot("parts")
    assert ended.code == 1
    assert [(one["table"], one["left"], one["why"]) for one in ended.json["gone"]] == [
        ("public.parts", 11, "public.parts is paused")
    ]
    assert "Try: placemat resume copy public.parts; then: placemat snapshot parts --delete-gone\n" in ended.err

    followed.worker.stop()
    monkeypatch.setattr(gone, "STALL_SECONDS", 0.1)
    ended = followed.snapshot("items", "parts")
    assert (ended.code, [one["left"] for one in ended.json["gone"]]) == (1, [11, 20])
    assert "no worker of the target runs" in ended.json["gone"][1]["why"]
    assert "placemat run apply:copy; then: placemat snapshot items parts --delete-gone\n" in ended.err

    followed.there("UPDATE placemat.pauses SET state = 'resuming'")
    ended = followed.snapshot("parts")
    assert (ended.code, ended.json["gone"][0]["why"]) == (1, "public.parts catches up after a pause")
    assert "Try: placemat status; then: " in ended.err

    followed.there("DELETE FROM placemat.pauses")
    progress: list[Progress] = []
    found = delete_gone(followed.rig.site.settings, "copy", lambda _: None, on_progress=progress.append)
    assert [(one.table, one.to_go, one.after) for one in found] == [
        ("public.parts", 11, None),
        ("public.items", 20, "public.parts"),
    ]
    assert {one.step for one in progress if one.waiting} == {"copy public.parts"}
    assert followed.there("SELECT count(*) FROM pieces") == [(21,)]
