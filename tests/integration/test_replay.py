"""`placemat replay` beside a live worker, over a stream made by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from daemon import wiring
from daemon.recover import replay as replaying
from daemon.recover.replay import Task
from daemon.recover.report import ReplayReport, RowChange
from daemon.recover.window import Beginning
from tests.fix_servers import Kafka
from tests.integration.apply_stream import World, insert, running

DDL = """
CREATE TABLE parents (id int PRIMARY KEY, amount numeric CONSTRAINT positive CHECK (amount >= 0), body text, doc json);
CREATE TABLE children (id int PRIMARY KEY, parent_id int NOT NULL REFERENCES parents);
"""
PARENTS, CHILDREN = "public.parents", "public.children"


def row(id_: int, amount: Any = 1, body: str | None = "b") -> dict[str, object]:
    return {"id": id_, "amount": amount, "body": body, "doc": {"a": id_}}


@pytest.fixture
def world(kafka_server: Kafka, database_factory: Callable[[str], str]) -> World:
    return World(kafka_server, database_factory("target"), DDL, {PARENTS: {}, CHILDREN: {}})


def replay(world: World, *tables: str, **options: Any) -> tuple[ReplayReport, list[RowChange]]:
    changes: list[RowChange] = []
    options.setdefault("start", Beginning())
    task = Task(tables or (PARENTS, CHILDREN), **options)
    target = wiring.replay_target(world.settings, world.target)
    return replaying.replay(world.settings, world.target, target, task, on_change=changes.append), changes


def test_an_emptied_and_an_altered_table_come_back_and_the_dry_run_names_those_rows(world: World) -> None:
    with running(world):
        world.stream.transaction(*[insert(PARENTS, row(n)) for n in range(1_000)])
        world.stream.transaction(*[insert(CHILDREN, {"id": n, "parent_id": n}) for n in range(1_000)])
        world.applied_through()
        before = world.rows("SELECT * FROM parents ORDER BY id"), world.rows("SELECT * FROM children ORDER BY id")
        world.run_sql("TRUNCATE children; UPDATE parents SET body = body || '!' WHERE id % 100 = 0")
        report, named = replay(world, dry_run=True)
        assert (report.changes, report.left) == (1_010, 0)
        assert {(c.key, c.kind, c.fields) for c in named if c.table == PARENTS} == {
            (b'{"id":%d}' % n, "update", ("body",)) for n in range(0, 1_000, 100)
        }
        assert {c.key for c in named if c.table == CHILDREN} == {b'{"id":%d}' % n for n in range(1_000)}
        done, changed = replay(world)
        assert [t.to_json() for t in done.tables] == [t.to_json() for t in report.tables]
        assert set(changed) == set(named)
        assert replay(world)[0].changes == 0
    assert before == (
        world.rows("SELECT * FROM parents ORDER BY id"), world.rows("SELECT * FROM children ORDER BY id"),
    )  # fmt: skip
