"""Nothing twice, nothing lost, nothing half: workers that are replaced, killed and restarted."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Thread

import psycopg
import pytest

from connectors.contract import Destination, Progress, Routing, Taken
from connectors.postgres import bookkeeping
from connectors.postgres.sink import PostgresSink
from daemon.errors import Fenced, OperatorError, Unavailable
from schemas.position import Position
from schemas.topics import table_topic
from tests.fix_servers import Kafka
from tests.integration.apply_stream import Running, World, insert, running, update
from tests.supervised import Supervised
from tests.waiting import until

DDL = """
CREATE TABLE items (id int PRIMARY KEY, n int, body text);
CREATE TABLE log (seq bigint GENERATED ALWAYS AS IDENTITY, op text, id int);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO public.log (op, id) VALUES (TG_OP, NEW.id); RETURN NULL; END $$;
CREATE TRIGGER note AFTER INSERT OR UPDATE ON items FOR EACH ROW EXECUTE FUNCTION note();
"""
ITEMS = "public.items"


def item(id_: int, n: int = 0, body: str = "") -> dict[str, object]:
    return {"id": id_, "n": n, "body": body}


@pytest.fixture
def world(kafka_server: Kafka, database_factory: Callable[[str], str]) -> World:
    return World(
        kafka_server, database_factory("target"), DDL, {ITEMS: {}},
        batch_rows=500, buffer_bytes=1_048_576, session_timeout_seconds=2,
    )  # fmt: skip


def sink(world: World) -> PostgresSink:
    return PostgresSink(Destination(world.target, world.url, world.source, {ITEMS: Routing()}))


def test_a_sink_whose_epoch_is_over_commits_nothing(world: World) -> None:
    old = sink(world)
    old.claim()
    world.run_sql("UPDATE placemat.lanes SET epoch = epoch + 1")
    old.write(world.stream.records(insert(ITEMS, item(1))))
    with pytest.raises(Fenced):
        old.commit(Progress(1, (1, 2_000), {}))
    assert world.rows("SELECT * FROM items") == []
    old.close()


def test_a_replaced_sink_commits_nothing_and_holds_no_lock(world: World) -> None:
    old, new = sink(world), sink(world)
    old.claim()
    old.write(world.stream.records(insert(ITEMS, item(1))))
    new.claim()
    new.write(world.stream.records(insert(ITEMS, item(1))))
    with pytest.raises(Unavailable):
        old.commit(Progress(1, (1, 2_000), {}))
    assert world.rows("SELECT * FROM items") == []
    old.close()
    new.close()


def test_a_sink_whose_offset_has_moved_commits_nothing(world: World) -> None:
    one = sink(world)
    one.claim()
    world.run_sql("UPDATE placemat.lanes SET transactions_offset = 7")
    one.write(world.stream.records(insert(ITEMS, item(1))))
    with pytest.raises(Fenced):
        one.commit(Progress(1, (1, 2_000), {}))
    assert world.rows("SELECT * FROM items") == []
    one.close()


def test_rows_and_offsets_are_stored_in_one_transaction_that_begins_with_the_mark_of_its_origin(world: World) -> None:
    world.run_sql("CREATE PUBLICATION p FOR TABLE items")
    world.run_sql("SELECT pg_create_logical_replication_slot('s' || current_database(), 'pgoutput')")
    one = sink(world)
    one.claim()
    one.write(world.stream.records(insert(ITEMS, item(1))))
    key = (table_topic(world.source, "public", "items"), 2)
    one.commit(Progress(5, (1, 2_000), {key: Taken(9, Position(1, 2_000, 1))}))
    one.close()
    changes = world.rows(
        "SELECT data FROM pg_logical_slot_get_binary_changes('s' || current_database(), NULL, NULL,"
        " 'proto_version', '1', 'publication_names', 'p', 'messages', 'true')"
    )
    marked = next(at for at, (data,) in enumerate(changes) if b"placemat.origin" in bytes(data))
    kinds = [bytes(data)[:1] for (data,) in changes]
    assert kinds[marked - 1 :] == [b"B", b"M", b"R", b"I", b"C"]
    again = sink(world)
    assert again.claim() == Progress(5, (1, 2_000), {key: Taken(9, Position(1, 2_000, 1))})
    again.close()


def test_a_worker_killed_after_the_target_commit_applies_nothing_twice(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.stream.transaction(*[insert(ITEMS, item(n)) for n in range(20)])

    def dies(name: str) -> None:
        if name == "before_offset_commit":
            raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr("daemon.apply.lane.seam", dies)
        killed = Running(world.worker())
        until(lambda: not killed.alive, what="the end of the worker")
    with running(world):
        world.stream.transaction(update(ITEMS, item(3, 1)))
        world.applied_through()
    assert world.rows("SELECT op, count(*) FROM log GROUP BY op ORDER BY op") == [("INSERT", 20), ("UPDATE", 1)]


def test_a_worker_killed_before_the_target_commit_loses_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.stream.transaction(*[insert(ITEMS, item(n)) for n in range(20)])

    def dies(name: str) -> None:
        if name == "before_target_commit":
            raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr("daemon.apply.lane.seam", dies)
        killed = Running(world.worker())
        until(lambda: not killed.alive, what="the end of the worker")
    assert world.rows("SELECT * FROM items") == []
    with running(world):
        world.applied_through()
    assert world.rows("SELECT op, count(*) FROM log GROUP BY op") == [("INSERT", 20)]


def test_a_second_worker_stands_by_and_takes_over(world: World) -> None:
    with running(world, "one") as first:
        until(lambda: "running" in first.states, what="the first worker at work")
        with running(world, "two") as second:
            until(lambda: "standby" in second.states, what="the second worker")
            world.stream.transaction(insert(ITEMS, item(1)))
            world.applied_through()
            first.stop()
            world.stream.transaction(insert(ITEMS, item(2)))
            world.applied_through()
            assert "running" in second.states
    assert world.rows("SELECT id FROM items ORDER BY id") == [(1,), (2,)]


def test_two_workers_of_one_name_do_not_drive_out_each_other_for_ever(world: World) -> None:
    with Supervised(world.worker("same")) as first:
        until(lambda: first.running, what="the first worker at work")
        with Supervised(world.worker("same")) as second:
            until(lambda: first.state == "standby" and second.running, what="the second worker at work")
            world.stream.transaction(insert(ITEMS, item(1)))
            world.applied_through()
            [(epoch,)] = world.rows("SELECT epoch FROM placemat.lanes")
        world.stream.transaction(insert(ITEMS, item(2)))
        world.applied_through()
        assert first.running
        assert world.rows("SELECT epoch FROM placemat.lanes") == [(epoch + 1,)]
    assert world.rows("SELECT op, count(*) FROM log GROUP BY op") == [("INSERT", 2)]


def test_a_worker_that_was_fenced_stands_by_and_takes_over_again(world: World) -> None:
    with Supervised(world.worker()) as worker:
        until(lambda: worker.running, what="the worker at work")
        world.run_sql("UPDATE placemat.lanes SET epoch = epoch + 1")
        world.stream.transaction(insert(ITEMS, item(1)))
        world.applied_through()
        assert "Another instance has taken over." in worker.details
    assert (worker.error, world.rows("SELECT op, count(*) FROM log GROUP BY op")) == (None, [("INSERT", 1)])


def test_a_reader_never_sees_half_a_transaction(world: World) -> None:
    world.stream.transaction(*[insert(ITEMS, item(n)) for n in range(500)])
    seen: set[tuple[int, int]] = set()
    done = Event()

    def look() -> None:
        with psycopg.connect(world.url, autocommit=True) as connection:
            while not done.is_set():
                seen.update(connection.execute("SELECT count(*), count(DISTINCT n) FROM items").fetchall())

    reader = Thread(target=look)
    reader.start()
    with running(world):
        for n in range(1, 30):
            world.stream.transaction(*[update(ITEMS, item(id_, n)) for id_ in range(500)])
        world.applied_through()
    done.set()
    reader.join()
    assert seen <= {(0, 0), (500, 1)}


def test_a_transaction_ten_times_as_large_as_the_buffers_flows_through_them(world: World) -> None:
    world.stream.transaction(*[insert(ITEMS, item(n, body="x" * 200)) for n in range(25_000)])
    with running(world):
        world.applied_through(seconds=60)
    assert world.rows("SELECT count(*) FROM items") == [(25_000,)]
    assert world.rows("SELECT count(DISTINCT xmin::text) FROM items") <= [(25_000 // 500 + 2,)]


def test_a_target_that_was_away_is_caught_up(world: World) -> None:
    with running(world) as worker:
        world.stream.transaction(insert(ITEMS, item(1)))
        world.applied_through()
        world.run_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            f" WHERE application_name = 'placemat apply {world.target}'"
        )
        world.stream.transaction(insert(ITEMS, item(2)))
        world.applied_through()
        assert worker.alive
    assert world.rows("SELECT op, count(*) FROM log GROUP BY op") == [("INSERT", 2)]


def test_a_topic_that_lost_what_the_target_needs_is_a_gap(world: World) -> None:
    with psycopg.connect(world.url) as connection:
        bookkeeping.install(connection)
        connection.execute(
            "INSERT INTO placemat.offsets (source, topic, partition, next_offset) VALUES (%s, %s, 0, 99)",
            [world.source, table_topic(world.source, "public", "items")],
        )
    worker = Running(world.worker())
    until(lambda: not worker.alive, what="the end of the worker")
    assert isinstance(worker.failure, OperatorError)
    assert "from offset 99" in str(worker.failure)
