"""`placemat replay` after a resync to a server whose log is at an earlier place, over a stream made by hand."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from daemon import broker, wiring
from daemon.errors import OperatorError
from daemon.recover import replay as replaying
from daemon.recover.replay import Task
from daemon.recover.report import ReplayReport
from daemon.recover.window import Beginning, Commit, End, Moment, OneKey, Record, Start
from schemas.position import in_era
from schemas.topics import partition_of, table_topic, transactions_topic
from tests.fix_servers import Kafka, Postgres, drop_database
from tests.integration.apply_stream import PARTITIONS, World, absent, insert, read, running, update

DDL = "CREATE TABLE a (id int PRIMARY KEY, n int)"
A = "public.a"
OLD_LOG, NEW_LOG = 5_000_000, 1_000
NOW = [(1, 3), (2, 2), (3, 3)]


@pytest.fixture(scope="module")
def resynced(postgres_server: Postgres, kafka_server: Kafka) -> Iterator[World]:
    """Rows of the old log, two of them gone in the gap (4 was never taken), and what the new one made of the others."""
    name = f"eras_{uuid.uuid4().hex[:10]}"
    with psycopg.connect(postgres_server.dsn(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    found = World(kafka_server, postgres_server.dsn(name), DDL, {A: {}})
    stream = found.stream
    stream.commit_lsn = OLD_LOG
    with running(found):
        stream.transaction(*[insert(A, {"id": n, "n": 1}) for n in (1, 2, 5)])
        found.applied_through()
    stream.transaction(insert(A, {"id": 4, "n": 1}))
    begin_era(found)
    with running(found):
        stream.transaction(*[read(A, {"id": n, "n": 2}) for n in (1, 2)], absent(A, {"id": 5}), kind="snapshot")
        stream.transaction(update(A, {"id": 1, "n": 3}), insert(A, {"id": 3, "n": 3}))
        found.applied_through()
        assert rows(found) == NOW
        yield found
    drop_database(postgres_server, name)


@pytest.fixture
def world(resynced: World) -> World:
    """The same, with the rows as they are after the resync."""
    resynced.run_sql("TRUNCATE a; INSERT INTO a VALUES (1, 3), (2, 2), (3, 3)")
    return resynced


def begin_era(world: World) -> None:
    """As a resync does, to a server with a shorter log."""
    spine = transactions_topic(world.source)
    counts = {table_topic(world.source, *A.split(".")): PARTITIONS, spine: 1}
    places = [(topic, number) for topic, count in counts.items() for number in range(count)]
    found = broker.offsets(broker.reach(world.settings.kafka), places, "latest")
    ends = {topic: [found[topic, number] for number in range(count)] for topic, count in counts.items()}
    wiring.restart_target(world.settings, world.target, 1, ends)
    world.stream.timeline, world.stream.commit_lsn = in_era(1, 1), NEW_LOG


def run(world: World, start: Start, until: End | None = None) -> ReplayReport:
    target = wiring.replay_target(world.settings, world.target)
    return replaying.replay(world.settings, world.target, target, Task((A,), start, until), era=1)


def rows(world: World) -> list[tuple[Any, ...]]:
    return world.rows("SELECT id, n FROM a ORDER BY id")


@pytest.mark.parametrize("start", [Beginning(), Moment(int(time.time() * 1_000_000)), Commit(NEW_LOG)])
def test_a_replay_from_before_a_resync_puts_no_older_row_over_a_newer_one(world: World, start: Start) -> None:
    report = run(world, start)
    assert (rows(world), report.changes, report.records) == (NOW, 0, 5)


@pytest.mark.parametrize("start", [Beginning(), Commit(0)])
def test_what_the_new_log_says_is_what_comes_back(world: World, start: Start) -> None:
    world.run_sql("DELETE FROM a WHERE id < 3; UPDATE a SET n = 0; INSERT INTO a VALUES (5, 1)")
    report = run(world, start)
    assert (rows(world), report.changes) == (NOW, 4)


def test_a_key_and_a_record_of_the_old_log_begin_with_the_new_one(world: World) -> None:
    world.run_sql("UPDATE a SET n = 0")
    run(world, OneKey("2"))
    run(world, Record(partition_of(b'{"id":1}', PARTITIONS), 0))
    assert set(rows(world)) >= {(1, 3), (2, 2)}


def test_an_end_in_the_new_log_leaves_later_rows_alone_and_no_others(world: World) -> None:
    world.run_sql("UPDATE a SET n = 0")
    report = run(world, Beginning(), Commit(world.stream.commit_lsn - 1))
    assert (rows(world), report.tables[0].newer) == ([(1, 0), (2, 2), (3, 0)], 1)


def test_an_lsn_of_the_old_log_is_refused_with_a_sentence(world: World) -> None:
    with pytest.raises(OperatorError, match="Nothing was committed since then") as refused:
        run(world, Commit(OLD_LOG))
    assert "last resync" in refused.value.try_
