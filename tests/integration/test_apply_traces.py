"""The numbered traces of the delivery protocol that break obvious designs, as far as a target has a part in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from prometheus_client import REGISTRY

from daemon import wiring
from daemon.observe.measure import TargetMeasure
from daemon.observe.topic_log import TopicLog
from tests.fix_servers import Kafka
from tests.integration.apply_stream import (
    PARTITIONS,
    Change,
    World,
    absent,
    delete,
    insert,
    move,
    read,
    running,
    truncate,
    update,
)
from tests.waiting import until

DDL = """
CREATE TABLE items (id int PRIMARY KEY, amount int CONSTRAINT positive CHECK (amount >= 0), body text);
CREATE TABLE parts (id int PRIMARY KEY, item_id int NOT NULL REFERENCES items);
CREATE TABLE log (op text, of text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO public.log VALUES (TG_OP, TG_TABLE_NAME); RETURN NULL; END $$;
CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON items FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER emptied AFTER TRUNCATE ON items EXECUTE FUNCTION note();
CREATE TRIGGER emptied AFTER TRUNCATE ON parts EXECUTE FUNCTION note();
"""
ITEMS, PARTS = "public.items", "public.parts"
TABLES: dict[str, dict[str, object]] = {ITEMS: {}, PARTS: {}}
Steps = list[list[Change]]
"""Transactions, one after the other."""


@pytest.fixture
def world(kafka_server: Kafka, database_factory: Callable[[str], str]) -> World:
    return World(kafka_server, database_factory("target"), DDL, TABLES)


@pytest.fixture
def applied(world: World) -> Iterator[World]:
    with running(world):
        yield world


def item(id_: int, amount: int = 1, body: str = "b") -> dict[str, object]:
    return {"id": id_, "amount": amount, "body": body}


def send(world: World, *changes: Change | list[Change]) -> None:
    world.stream.transaction(*changes)
    world.applied_through()


def answer(world: World, *rows: Change) -> None:
    """What capture gives for the keys that were asked for."""
    world.stream.transaction(*rows, kind="snapshot")
    world.applied_through()


def allow_and_redrive(world: World) -> None:
    """What an operator does about refused rows; returns when the worker has done it."""
    world.run_sql("ALTER TABLE items DROP CONSTRAINT positive")
    world.ask("redrive")
    until(lambda: all(key.request is None for key in world.parked()), what="what was asked for")


def lag_is_zero(world: World) -> None:
    """Wait until the stored offsets are the ends of all topics."""
    with TopicLog(world.settings.kafka) as log:
        progress = wiring.progress_reader(world.settings, world.target)
        measure = TargetMeasure(world.settings, world.target, log, progress)
        until(lambda: measure().records == 0, what="offsets over what was dropped")
        progress.close()


def waiting(world: World) -> set[tuple[str, str, int]]:
    return {(key.key, key.kind, key.events) for key in world.parked()}


def whole(*ids: int) -> set[tuple[str, str, int]]:
    return {(f'{{"id":{id_}}}', "needs_full_row", 0) for id_ in ids}


def test_trace_05_rows_of_a_chunk_that_were_dropped_as_old_are_not_waited_for(world: World) -> None:
    stream = world.stream
    mark, newest = 2_000, 3_000
    stream.commit_lsn = newest - 1_000
    stream.transaction(*[insert(ITEMS, item(n, 7)) for n in range(20)], end=False)
    of_newest = stream.counts(newest)
    assert sum(map(len, of_newest.values())) == PARTITIONS, "every partition has moved on"
    stream.commit_lsn = mark - 1_000
    stream.transaction(*[read(ITEMS, item(n, 1)) for n in range(20)], kind="snapshot")
    stream.commit_lsn = newest
    stream.end(of_newest)
    stream.flush()
    with running(world):
        world.applied_through(newest)
    assert world.rows("SELECT amount, count(*) FROM items GROUP BY amount") == [(7, 20)]
    assert world.rows("SELECT op, count(*) FROM log GROUP BY op") == [("INSERT", 20)]


def test_trace_10_records_that_come_again_are_dropped_counted_and_applied_once(world: World) -> None:
    world.stream.transaction(*[insert(ITEMS, item(n)) for n in range(20)])
    with running(world):
        world.applied_through()
        again = world.stream.resend()
        world.stream.transaction(update(ITEMS, item(1, 5)))
        world.applied_through()
    again += world.stream.resend()
    with running(world):
        send(world, update(ITEMS, item(1, 6)))
        lag_is_zero(world)
    assert REGISTRY.get_sample_value("placemat_late_records_total", {"target": world.target}) == again
    assert world.rows("SELECT op, count(*) FROM log GROUP BY op ORDER BY op") == [("INSERT", 20), ("UPDATE", 2)]


def test_trace_10_ends_that_come_again_promise_nothing(applied: World) -> None:
    stream = applied.stream
    send(applied, *[insert(ITEMS, item(n)) for n in range(20)])
    send(applied, update(ITEMS, item(1, 5)))
    first, second = stream.commit_lsn - 1_000, stream.commit_lsn
    for commit_lsn in (first, second, second):
        stream.commit_lsn = commit_lsn
        stream.end(stream.counts(commit_lsn))
    send(applied, update(ITEMS, item(1, 6)))
    assert applied.rows("SELECT transactions_offset FROM placemat.lanes") == [(6,)]
    assert applied.rows("SELECT op, count(*) FROM log GROUP BY op ORDER BY op") == [("INSERT", 20), ("UPDATE", 2)]


@pytest.mark.parametrize("batch_rows", [3, 2_000], ids=["cut in parts", "in one batch"])
def test_trace_11_a_truncate_is_done_once_for_all_partitions_and_empties_what_came_before(
    kafka_server: Kafka, database_factory: Callable[[str], str], batch_rows: int
) -> None:
    world = World(kafka_server, database_factory("target"), DDL, TABLES, batch_rows=batch_rows)
    world.stream.transaction(insert(ITEMS, item(1)), insert(PARTS, {"id": 1, "item_id": 1}))
    world.stream.transaction(
        insert(ITEMS, item(2)), truncate(ITEMS, PARTS), insert(ITEMS, item(3)), insert(PARTS, {"id": 3, "item_id": 3})
    )
    with running(world):
        world.applied_through()
    assert world.rows("SELECT id FROM items") == [(3,)]
    assert world.rows("SELECT id FROM parts") == [(3,)]
    assert world.rows("SELECT of FROM log WHERE op = 'TRUNCATE' ORDER BY of") == [("items",), ("parts",)]


def test_trace_11_a_truncate_clears_the_parked_keys_of_its_table(applied: World) -> None:
    send(applied, insert(ITEMS, item(1, -1)), insert(ITEMS, item(2)), update(ITEMS, item(3), ["body"]))
    assert len(applied.parked()) == 2
    send(applied, truncate(ITEMS, PARTS))
    assert applied.parked() == []
    allow_and_redrive(applied)
    send(applied, insert(ITEMS, item(4)))
    assert applied.rows("SELECT id FROM items") == [(4,)]


@pytest.mark.parametrize(
    "history",
    [
        [[insert(ITEMS, item(1, -1))], move(ITEMS, {"id": 1}, item(2, 5))],
        [[insert(ITEMS, item(1))], [update(ITEMS, item(1, -5)), *move(ITEMS, {"id": 1}, item(2, 5))]],
        [
            [insert(ITEMS, item(1)), insert(ITEMS, item(2, -1))],
            [delete(ITEMS, {"id": 2}), *move(ITEMS, {"id": 1}, item(2, 5))],
        ],
    ],
    ids=["the old key", "the old key, in the same transaction", "the new key"],
)
def test_trace_12_a_key_change_at_a_parked_key_needs_both_ends_whole(applied: World, history: Steps) -> None:
    for changes in history:
        send(applied, changes)
    assert waiting(applied) == whole(1, 2)
    allow_and_redrive(applied)
    assert waiting(applied) == whole(1, 2)
    answer(applied, absent(ITEMS, {"id": 1}), read(ITEMS, item(2, 5)))
    assert applied.parked() == []
    assert applied.rows("SELECT id, amount FROM items") == [(2, 5)]


def test_trace_13_a_refused_key_change_is_never_queued(applied: World) -> None:
    send(applied, insert(ITEMS, item(1)))
    send(applied, move(ITEMS, {"id": 1}, item(2, -1)))
    assert waiting(applied) == whole(1, 2)
    send(applied, insert(ITEMS, item(1, 9)))
    assert waiting(applied) == whole(2)
    allow_and_redrive(applied)
    assert applied.rows("SELECT id, amount FROM items") == [(1, 9)]
    answer(applied, read(ITEMS, item(2, -1)))
    assert applied.parked() == []
    assert applied.rows("SELECT id, amount FROM items ORDER BY id") == [(1, 9), (2, -1)]


def test_trace_13_a_whole_row_under_a_new_key_is_queued_as_an_insert(applied: World) -> None:
    send(applied, move(ITEMS, {"id": 1}, item(2, -1)))
    assert waiting(applied) == {('{"id":2}', "refused", 1)}
    send(applied, insert(ITEMS, item(1, 9)))
    allow_and_redrive(applied)
    assert applied.parked() == []
    assert applied.rows("SELECT id, amount FROM items ORDER BY id") == [(1, 9), (2, -1)]


def test_trace_14_a_key_that_is_gone_waits_no_more_and_leaves_no_row(applied: World) -> None:
    send(applied, insert(ITEMS, item(1)))
    send(applied, move(ITEMS, {"id": 1}, item(2, -1)))
    assert waiting(applied) == whole(1, 2)
    until(lambda: {one["key"]["id"] for one in applied.requested()} == {1, 2}, what="two requests")
    answer(applied, absent(ITEMS, {"id": 1}), absent(ITEMS, {"id": 2}))
    assert applied.parked() == []
    assert applied.rows("SELECT id FROM items") == []


def test_trace_15_offsets_that_moved_only_over_duplicates_are_stored(applied: World) -> None:
    send(applied, *[insert(ITEMS, item(n)) for n in range(20)])
    applied.stream.resend()
    lag_is_zero(applied)
    stored = applied.rows("SELECT sum(next_offset)::int FROM placemat.offsets WHERE next_offset > 0")
    assert stored == [(40,)]
    assert applied.rows("SELECT op, count(*) FROM log GROUP BY op") == [("INSERT", 20)]


def test_trace_17_partitions_that_a_transaction_did_not_touch_are_not_waited_for(applied: World) -> None:
    for n in range(5):
        send(applied, insert(ITEMS, item(n)))
    assert applied.rows("SELECT count(*) FROM items") == [(5,)]
    assert applied.rows("SELECT count(*) FROM placemat.offsets WHERE next_offset > 0 AND topic LIKE '%parts'") == [(0,)]
