"""`placemat replay` where two record keys are one key to PostgreSQL, as 1.0 and 1.00 are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import psycopg
import pytest

from connectors.postgres import related
from daemon import wiring
from daemon.recover import replay as replaying
from daemon.recover.replay import Task
from daemon.recover.report import RowChange
from daemon.recover.source import SourceRows
from daemon.recover.window import Beginning
from tests.fix_servers import Kafka
from tests.integration.apply_stream import World, delete, insert, move, running, update

DDL = "CREATE TABLE k (id numeric PRIMARY KEY, n int)"
K = "public.k"


@pytest.fixture
def world(kafka_server: Kafka, database_factory: Callable[[str], str]) -> Iterator[World]:
    found = World(kafka_server, database_factory("keys"), DDL, {K: {"where": "n < 5"}})
    with psycopg.connect(found.url) as connection:
        column = related.SourceColumn("integer", None, None)
        related.remember_columns(connection, found.source, {(K, "n"): column})
    with running(found):
        yield found


def run(world: World, *, dry_run: bool = False) -> list[tuple[bytes, str]]:
    changes: list[RowChange] = []
    target, task = wiring.replay_target(world.settings, world.target), Task((K,), Beginning(), dry_run=dry_run)
    replaying.replay(world.settings, world.target, target, task, era=0, on_change=changes.append)
    return [(one.key, one.kind) for one in changes]


def test_a_row_goes_only_if_no_other_writing_of_its_key_is_there(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replaying, "SourceRows", partial(SourceRows, stall_seconds=1.0))  # no capture answers here
    stream = world.stream
    stream.transaction(*[insert(K, {"id": f"{n}.0", "n": 1}) for n in (1, 2, 3, 4)])
    stream.transaction(move(K, {"id": "1.0"}, {"id": "1.00", "n": 1}), delete(K, {"id": "2.0"}))
    stream.transaction(insert(K, {"id": "2.00", "n": 2}), update(K, {"id": "3.0", "n": 9}))
    stream.transaction(move(K, {"id": "4.0"}, {"id": "4.00", "n": 1}))
    world.applied_through()
    texts = "SELECT id::text FROM k ORDER BY id"
    assert world.rows(texts) == [("1.00",), ("2.00",), ("4.00",)]
    assert run(world) == []
    world.run_sql("INSERT INTO k VALUES (3.0, 3)")  # not for this target: its route says so
    world.run_sql("UPDATE k SET id = 4.0 WHERE id = 4")  # the text is the source's no more, the row is
    named = [(b'{"id":"3.0"}', "delete"), (b'{"id":"4.0"}', "fetch")]
    assert sorted(run(world, dry_run=True)) == named
    assert sorted(run(world)) == named
    assert world.rows(texts) == [("1.00",), ("2.00",), ("4.0",)]
