"""What only a certain order of events brings about: keys that wait, keys that look different, sessions that die."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from connectors.contract import Destination, Progress, Routing, TryAgain
from connectors.errors import TableUnfit
from connectors.postgres import retrying
from connectors.postgres.sink import PostgresSink
from tests.fix_servers import Kafka
from tests.integration.apply_stream import Change, World, delete, insert, oversize, read, running, truncate, update
from tests.waiting import until

DDL = """
CREATE TABLE tree (id int PRIMARY KEY, parent_id int REFERENCES tree, amount int CHECK (amount >= 0));
CREATE TABLE numbers (id numeric PRIMARY KEY, body text);
CREATE TABLE indexed (id int PRIMARY KEY, body text);
CREATE INDEX ON indexed (body);
"""
TREE, NUMBERS, INDEXED = "public.tree", "public.numbers", "public.indexed"
LARGE = 30_000
BUSY = """
CREATE FUNCTION busy() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE SQLSTATE '40001'; END $$;
CREATE TRIGGER busy BEFORE INSERT ON tree FOR EACH ROW EXECUTE FUNCTION busy();
"""


@pytest.fixture
def world(kafka_server: Kafka, database_factory: Callable[[str], str]) -> World:
    return World(kafka_server, database_factory("target"), DDL, {TREE: {}, NUMBERS: {}, INDEXED: {}})


class Lane:
    """A sink that is handed transactions without Kafka between."""

    def __init__(self, world: World) -> None:
        routes = dict.fromkeys((TREE, NUMBERS, INDEXED), Routing())
        self.sink = PostgresSink(Destination(world.target, world.url, world.source, routes))
        self.sink.claim()
        self._stream = world.stream
        self._committed = 0

    def apply(self, *changes: Change | list[Change]) -> None:
        self._committed += 1
        self.sink.write(self._stream.records(*changes))
        self.sink.commit(Progress(self._committed, (1, self._stream.commit_lsn), {}))


@pytest.fixture
def lane(world: World) -> Iterator[Lane]:
    found = Lane(world)
    yield found
    found.sink.close()


def node(id_: int, parent: int | None = None, amount: int = 1) -> dict[str, object]:
    return {"id": id_, "parent_id": parent, "amount": amount}


def waiting(world: World) -> list[tuple[str, str]]:
    return [(key.key, key.kind) for key in world.parked()]


def test_a_key_that_was_refused_and_then_too_large_waits(world: World, lane: Lane) -> None:
    lane.apply(insert(TREE, node(1)))
    lane.apply(update(TREE, node(1, None, -5)), oversize(TREE, {"id": 1}, 99_999_999))
    assert waiting(world) == [('{"id":1}', "needs_full_row")]


def test_a_child_copied_before_its_parent_comes_in_with_it(world: World, lane: Lane) -> None:
    lane.apply(read(TREE, node(1, 900)))
    assert waiting(world) == [('{"id":1}', "refused")]
    lane.apply(read(TREE, node(900)))

    def welcome() -> bool:
        lane.sink.attend()
        return world.parked() == []

    until(welcome, what="the child of the parent that has come")
    assert world.rows("SELECT id FROM tree ORDER BY id") == [(1,), (900,)]


def test_a_child_whose_parent_has_come_is_tried_again_after_a_try_that_was_rolled_back(
    world: World, lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    lane.apply(read(TREE, node(1, 900)))
    monkeypatch.setattr(retrying, "RETRY_SECONDS", float("inf"))
    lane.apply(read(TREE, node(900)))
    assert waiting(world) == [('{"id":1}', "refused")], "it was tried a moment ago"
    monkeypatch.setattr(retrying, "RETRY_SECONDS", 0.0)
    world.run_sql(BUSY)
    with pytest.raises(TryAgain):
        lane.sink.attend()
    world.run_sql("DROP TRIGGER busy ON tree")
    lane.sink.attend()
    assert waiting(world) == []


def test_keys_that_are_equal_but_for_their_text_are_written_in_order(world: World, lane: Lane) -> None:
    lane.apply(insert(NUMBERS, {"id": "1.0", "body": "old"}))
    lane.apply(delete(NUMBERS, {"id": "1.0"}), insert(NUMBERS, {"id": "1.00", "body": "new"}))
    assert world.rows("SELECT body FROM numbers") == [("new",)]


def test_a_row_too_large_for_an_index_is_parked_and_others_flow(world: World, lane: Lane) -> None:
    text = "".join(chr(0x4E00 + at * 7919 % 20_000) for at in range(8_000))
    lane.apply(insert(INDEXED, {"id": 1, "body": text}), insert(INDEXED, {"id": 2, "body": "short"}))
    assert waiting(world) == [('{"id":1}', "refused")]
    assert world.rows("SELECT id FROM indexed") == [(2,)]


def test_a_truncate_names_the_table_that_is_gone(world: World, lane: Lane) -> None:
    world.run_sql("DROP TABLE numbers")
    with pytest.raises(TableUnfit, match=r'"public.numbers" does not exist') as told:
        lane.apply(truncate(TREE, NUMBERS, INDEXED))
    assert told.value.table == NUMBERS


def test_a_session_that_dies_in_a_large_transaction_costs_nothing(world: World) -> None:
    inside = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s AND backend_xid IS NOT NULL"
    )
    with running(world):
        world.applied_through(world.stream.transaction(insert(TREE, node(-1))))
        world.stream.transaction(*[insert(TREE, node(at)) for at in range(LARGE)])
        until(lambda: world.rows(inside, f"placemat apply {world.target}"), what="a transaction to end")
        world.applied_through(seconds=60)
    assert world.rows("SELECT count(*) FROM tree") == [(LARGE + 1,)]
