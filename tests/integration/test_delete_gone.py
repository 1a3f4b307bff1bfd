"""`placemat snapshot TABLE… --delete-gone`: what a target has and its source has no more leaves it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from connectors.postgres.pauses import Pauses
from connectors.postgres.sink import PostgresSink
from daemon.apply.worker import ApplyWorker
from daemon.resync import gone
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


@pytest.fixture
def followed(capture_factory: RigFactory, database_factory: Callable[[str], str]) -> Followed:
    rig = capture_factory(ddl=DDL)
    rig.sql("INSERT INTO items SELECT i, 0, 'n' || i FROM generate_series(1, 20) i")
    rig.sql("INSERT INTO parts SELECT i, i, (ARRAY['shown', 'hidden'])[1 + i % 2] FROM generate_series(1, 20) i")
    target = database_factory("target")
    with psycopg.connect(target) as connection:
        connection.execute(THERE.encode())
    rig.site.set("targets", {"copy": {"url": target, "source": rig.site.source, "tables": ROUTES}})
    rig.init().start()
    worker = Life(ApplyWorker(rig.site.settings, "copy", PostgresSink))  # type: ignore[arg-type]
    rig.stack.callback(worker.stop)
    found = Followed(rig, target, worker)
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
    assert [one["table"] for one in followed.snapshot("items", "--dry-run").json["gone"]] == ["public.items"]
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
def test_what_cannot_leave_is_counted_and_the_error_says_what_to_do(
    followed: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(followed.target, autocommit=True) as connection:
        pauses = Pauses(connection, "copy", followed.rig.site.source)
        pauses.pause("public.parts", "Ada", "Because")
        until(lambda: [one.state for one in pauses.read()] == ["paused"], what="the pause")
    ended = followed.snapshot("parts")
    assert (ended.code, ended.json["gone"][0]["left"], ended.json["gone"][0]["why"]) == (
        1,
        11,
        "public.parts is paused",
    )
    assert "Try: placemat resume copy public.parts; then: placemat snapshot parts --delete-gone\n" in ended.err

    followed.worker.stop()
    monkeypatch.setattr(gone, "STALL_SECONDS", 0.1)
    ended = followed.snapshot("items", "parts")
    assert (ended.code, [one["left"] for one in ended.json["gone"]]) == (1, [11, 20])
    assert "no worker of the target runs" in ended.json["gone"][1]["why"]
    assert "placemat run apply:copy; then: placemat snapshot items parts --delete-gone\n" in ended.err
    assert followed.there("SELECT count(*) FROM pieces") == [(21,)]
