"""A table that a target follows from some day on: what was before is no gap, and it is asked for whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest

from connectors.contract import Destination, Progress, Routing, Wanted
from connectors.errors import Fenced
from connectors.postgres import turns
from connectors.postgres.pauses import Pauses
from connectors.postgres.sink import PostgresSink
from daemon.apply.worker import ApplyWorker
from tests.fix_servers import Kafka
from tests.integration.apply_stream import Running, World, delete, insert, read, update
from tests.waiting import until

REPLACED = """
CREATE FUNCTION replaced() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN UPDATE placemat.lanes SET epoch = epoch + 1 WHERE lane = 'main'; RETURN old; END $$;
CREATE TRIGGER replaced AFTER DELETE ON placemat.offsets FOR EACH STATEMENT EXECUTE FUNCTION replaced();
"""
"""Another worker claims the target while one deletes."""
DDL = "CREATE TABLE items (id int PRIMARY KEY, n int); CREATE TABLE notes (id int PRIMARY KEY, n int)"
ITEMS, NOTES = "public.items", "public.notes"


@pytest.fixture
def world(kafka_server: Kafka, database_factory: Callable[[str], str]) -> World:
    return World(kafka_server, database_factory("target"), DDL, {ITEMS: {}, NOTES: {}})


@pytest.fixture
def sink(world: World) -> Iterator[PostgresSink]:
    """Claimed, without a worker."""
    found = PostgresSink(Destination(world.target, world.url, world.source, {ITEMS: Routing(), NOTES: Routing()}))
    found.claim()
    yield found
    found.close()


@pytest.fixture
def pauses(world: World) -> Iterator[Pauses]:
    with psycopg.connect(world.url, autocommit=True) as connection:
        yield Pauses(connection, world.target, world.source)


@contextmanager
def following(world: World, *tables: str) -> Iterator[Running]:
    """A worker whose target routes these tables; what the block has published is applied at its end."""
    target = world.settings.targets[world.target]
    routed = target.model_copy(update={"tables": {table: target.tables[table] for table in tables}})
    settings = world.settings.model_copy(update={"targets": {world.target: routed}})
    worker = Running(ApplyWorker(settings, world.target, PostgresSink, "one"))
    try:
        yield worker
        world.applied_through()
    finally:
        worker.stop()
    assert worker.failure is None


def requests(world: World) -> list[tuple[str, str]]:
    """Schema and table of what was asked for."""
    return [(one["schema"], one["table"]) for one in world.requested()]


def test_a_table_that_is_routed_later_starts_at_the_lanes_place_and_is_asked_for(world: World) -> None:
    with following(world, ITEMS):
        for number in range(10):
            world.stream.transaction(insert(ITEMS, {"id": number, "n": 0}), insert(NOTES, {"id": number, "n": 0}))
    world.stream.transaction(insert(ITEMS, {"id": 100, "n": 1}), update(NOTES, {"id": 3, "n": 1}))
    world.stream.transaction(delete(NOTES, {"id": 4}))

    with following(world, ITEMS, NOTES):
        world.applied_through()
        assert world.rows("SELECT id, n FROM notes ORDER BY id") == [(3, 1)]
        assert requests(world) == [("public", "notes")]
        whole = (read(NOTES, {"id": n, "n": int(n == 3)}) for n in range(10) if n != 4)
        world.stream.transaction(*whole, kind="snapshot")
    assert len(world.rows("SELECT id FROM notes")) == 9

    with following(world, ITEMS, NOTES):
        world.stream.transaction(insert(NOTES, {"id": 200, "n": 2}))
    assert requests(world) == [("public", "notes")]


def test_a_table_without_records_is_not_asked_for(world: World) -> None:
    with following(world, ITEMS):
        world.stream.transaction(insert(ITEMS, {"id": 1, "n": 0}))
    with following(world, ITEMS, NOTES) as second:
        until(lambda: "running" in second.states, 10, what="the worker")
        world.stream.transaction(insert(NOTES, {"id": 1, "n": 0}))
    assert world.rows("SELECT id FROM notes") == [(1,)]
    assert requests(world) == []


def test_a_table_that_was_missing_when_it_joined_is_asked_for_when_it_is_resumed(world: World, pauses: Pauses) -> None:
    world.run_sql("ALTER TABLE notes RENAME TO elsewhere")
    with following(world, ITEMS):
        world.stream.transaction(insert(ITEMS, {"id": 1, "n": 0}), insert(NOTES, {"id": 1, "n": 0}))
    with following(world, ITEMS, NOTES):
        world.stream.transaction(insert(ITEMS, {"id": 2, "n": 0}), insert(NOTES, {"id": 2, "n": 0}))
        world.applied_through()
        assert ([one.state for one in pauses.read()], requests(world)) == (["paused"], [])
        world.run_sql("ALTER TABLE elsewhere RENAME TO notes")
        pauses.resume(NOTES)
        until(lambda: pauses.read() == [], what="the table in the main lane")
    assert world.rows("SELECT id FROM notes") == [(2,)]
    assert requests(world) == [("public", "notes")]


def test_a_table_that_was_taken_out_and_put_back_joins_like_a_new_one(world: World) -> None:
    with following(world, ITEMS, NOTES):
        world.stream.transaction(insert(ITEMS, {"id": 1, "n": 0}), insert(NOTES, {"id": 1, "n": 0}))
        world.stream.transaction(insert(NOTES, {"id": 2, "n": 0}))
    with following(world, ITEMS):
        world.stream.transaction(update(NOTES, {"id": 1, "n": 1}))
        world.stream.transaction(insert(ITEMS, {"id": 2, "n": 0}), insert(NOTES, {"id": 3, "n": 0}))
    with following(world, ITEMS, NOTES):
        world.stream.transaction(update(NOTES, {"id": 2, "n": 2}), insert(ITEMS, {"id": 3, "n": 0}))
        world.applied_through()
        assert world.rows("SELECT id, n FROM notes ORDER BY id") == [(1, 0), (2, 2)]
        assert requests(world) == [("public", "notes")]
        whole = (read(NOTES, {"id": n, "n": {1: 1, 2: 2, 3: 0}[n]}) for n in (1, 2, 3))
        world.stream.transaction(*whole, kind="snapshot")
    assert world.rows("SELECT id, n FROM notes ORDER BY id") == [(1, 1), (2, 2), (3, 0)]


def test_of_a_table_that_is_not_routed_any_more_nothing_waits(world: World, pauses: Pauses) -> None:
    with following(world, ITEMS, NOTES):
        world.stream.transaction(insert(ITEMS, {"id": 1, "n": 0}), update(NOTES, {"id": 1}, ["n"]))
        world.applied_through()
        pauses.pause(NOTES, "Ada", "Because")
        until(lambda: [one.state for one in pauses.read()] == ["paused"], what="the pause")
    assert len(world.parked()) == 1
    world.run_sql(
        "INSERT INTO placemat.related (source, table_name, name, key, fields, links)"
        f" SELECT '{world.source}', tab, name, '1', '{{}}', '{{}}'"
        f" FROM unnest(ARRAY['{ITEMS}', '{NOTES}']) AS tab, unnest(ARRAY['0', 'z']) AS name"
    )
    with following(world, ITEMS):
        world.stream.transaction(insert(ITEMS, {"id": 2, "n": 0}))
    kept = (
        "SELECT topic FROM placemat.pins UNION SELECT topic FROM placemat.offsets UNION SELECT lane FROM placemat.lanes"
    )
    assert {name.split(".")[-1] for (name,) in world.rows(kept)} == {"main", "items", "transactions"}
    assert (world.parked(), world.rows("SELECT table_name FROM placemat.pauses")) == ([], [])
    assert world.rows("SELECT table_name, name FROM placemat.related") == [(ITEMS, "0"), (ITEMS, "z")]


def test_a_worker_that_was_replaced_forgets_nothing(world: World) -> None:
    with following(world, ITEMS, NOTES):
        world.stream.transaction(insert(ITEMS, {"id": 1, "n": 0}), insert(NOTES, {"id": 1, "n": 0}))
    sink = PostgresSink(Destination(world.target, world.url, world.source, {ITEMS: Routing()}))
    world.run_sql(REPLACED)
    with pytest.raises(Fenced):
        sink.claim()
    sink.close()
    assert world.rows("SELECT DISTINCT split_part(topic, '.', 4) FROM placemat.offsets ORDER BY 1") == [
        ("items",),
        ("notes",),
    ]


def test_a_pause_that_is_asked_for_while_the_table_rejoins_is_kept(sink: PostgresSink, pauses: Pauses) -> None:
    sink.pause(NOTES, "a", "b")
    pauses.resume(NOTES)
    sink.claim()
    pauses.pause(NOTES, "Ada", "Because")
    sink.rejoin(NOTES)
    sink.claim()
    assert [(one.state, one.paused_by) for one in pauses.read()] == [("asked", "Ada")]
    assert sink.regrouped()
    sink.claim()
    assert [(one.state, one.paused_by) for one in pauses.read()] == [("paused", "Ada")]
    assert [lane.table for lane in sink.lanes()] == [NOTES]


def test_rows_of_a_paused_table_are_asked_for_once_it_has_caught_up(
    world: World, sink: PostgresSink, pauses: Pauses
) -> None:
    sink.write(world.stream.records(update(NOTES, {"id": 1}, ["n"])))
    sink.commit(Progress(1, (1, world.stream.commit_lsn), {}))
    wanted = [Wanted(NOTES, b'{"id":1}')]
    assert sink.wanted() == wanted
    sink.pause(NOTES, "a", "b")
    sink.claim()
    assert sink.wanted() == []
    pauses.resume(NOTES)
    sink.claim()
    assert sink.wanted() == []
    sink.rejoin(NOTES)
    sink.claim()
    assert sink.wanted() == wanted


def test_what_is_asked_about_keys_of_a_paused_table_begins_no_transaction_until_it_is_back(
    world: World, sink: PostgresSink, pauses: Pauses, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink.write(world.stream.records(update(NOTES, {"id": 1}, ["n"])))
    sink.commit(Progress(1, (1, world.stream.commit_lsn), {}))
    sink.pause(NOTES, "a", "b")
    sink.claim()
    world.ask("discard")
    with monkeypatch.context() as patch:
        patch.setattr(turns, "begin_live", lambda *_: pytest.fail("a transaction was begun"))
        sink.attend()
    assert len(world.parked()) == 1
    pauses.resume(NOTES)
    sink.claim()
    sink.rejoin(NOTES)
    sink.claim()
    sink.attend()
    assert world.parked() == []
