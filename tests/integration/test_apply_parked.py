"""Keys that wait: refused rows, rows that are needed whole, and what sets them free."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import psycopg
import pytest

from connectors.contract import Record
from connectors.postgres import bookkeeping
from connectors.postgres.parked import SHORT, Parked
from connectors.postgres.rows import Change, Event
from schemas.position import START
from tests.fix_servers import Kafka
from tests.integration.apply_stream import (
    World,
    delete,
    insert,
    move,
    oversize,
    read,
    running,
    update,
)
from tests.waiting import until

NAMES = {
    "regclass": "42P01", "regclass[]": "42P01", "regtype": "42704", "regrole": "42704", "regproc": "42883",
    "regprocedure": "42883", "regnamespace": "3F000", "regdictionary": "42704",
}  # fmt: skip
"""Types whose values name something, and how the server says that nothing has that name."""
REST = "connectors.postgres.parked.EVENTS_PER_SECOND"
DDL = """
CREATE TABLE parents (id int PRIMARY KEY, amount int CONSTRAINT positive CHECK (amount >= 0), body text);
CREATE TABLE children (id int PRIMARY KEY, parent_id int NOT NULL REFERENCES parents, body text);
"""
PARENTS, CHILDREN = "public.parents", "public.children"


def row(id_: int, amount: int = 1, body: str = "b") -> dict[str, object]:
    return {"id": id_, "amount": amount, "body": body}


@pytest.fixture
def world(kafka_server: Kafka, database_factory: Callable[[str], str]) -> World:
    return World(kafka_server, database_factory("target"), DDL, {PARENTS: {}, CHILDREN: {}})


@pytest.fixture
def applied(world: World) -> Iterator[World]:
    with running(world):
        yield world


def send(world: World, *changes: object) -> None:
    world.stream.transaction(*changes)  # type: ignore[arg-type]
    world.applied_through()


def test_one_refused_row_of_ten_thousand_is_parked_and_the_others_arrive(world: World) -> None:
    world.stream.transaction(*[insert(PARENTS, row(n, -1 if n == 6_543 else 1)) for n in range(10_000)])
    with running(world):
        world.applied_through()
        [parked] = world.parked()
        assert (parked.key, parked.kind, parked.sqlstate, parked.events) == ('{"id":6543}', "refused", "23514", 1)
        assert "positive" in parked.reason
        assert world.rows("SELECT count(*) FROM parents") == [(9_999,)]
        world.run_sql("ALTER TABLE parents DROP CONSTRAINT positive")
        world.ask("redrive")
        until(lambda: world.parked() == [], what="the redriven key")
    assert world.rows("SELECT count(*) FROM parents") == [(10_000,)]


def test_later_events_of_a_refused_key_wait_and_others_flow(applied: World) -> None:
    send(applied, insert(PARENTS, row(1, -1)), insert(PARENTS, row(2)))
    send(applied, update(PARENTS, {"id": 1, "amount": -5}, ["body"]), update(PARENTS, row(2, 7)))
    [parked] = applied.parked()
    assert (parked.key, parked.events) == ('{"id":1}', 2)
    assert applied.rows("SELECT id, amount FROM parents") == [(2, 7)]
    applied.run_sql("ALTER TABLE parents DROP CONSTRAINT positive")
    applied.ask("redrive")
    until(lambda: applied.parked() == [], what="the redriven key")
    assert applied.rows("SELECT amount, body FROM parents WHERE id = 1") == [(-5, "b")]


def test_a_later_event_that_corrects_a_refused_key_brings_it_in(applied: World) -> None:
    send(applied, insert(PARENTS, row(1, -1)))
    send(applied, update(PARENTS, {"id": 1, "amount": 5}, ["body"]))
    assert applied.parked() == []
    assert applied.rows("SELECT amount, body FROM parents WHERE id = 1") == [(5, "b")]


def test_a_delete_ends_a_refused_key(applied: World) -> None:
    send(applied, insert(PARENTS, row(1, -1)))
    send(applied, delete(PARENTS, {"id": 1}))
    assert applied.parked() == []
    assert applied.rows("SELECT count(*) FROM parents") == [(0,)]


@pytest.fixture
def long(applied: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A refused key with as many events behind it as are tried one by one. Longer queues rest for ever."""
    monkeypatch.setattr(REST, 1e-9)
    send(applied, insert(PARENTS, row(1, -1)))
    grow(applied, SHORT)
    return applied


def grow(world: World, events: int) -> None:
    """Until so many wait, each of a transaction of its own."""
    for _ in range(events - world.parked()[0].events):
        send(world, update(PARENTS, {"id": 1, "amount": -2}, ["body"]))
    assert world.parked()[0].events == events


def test_what_waits_behind_a_key_for_long_is_tried_again_when_it_has_doubled(long: World) -> None:
    attempts = long.parked()[0].attempts
    assert attempts >= SHORT, "with each event"
    grow(long, 2 * SHORT - 1)
    assert long.parked()[0].attempts == attempts
    grow(long, 2 * SHORT)
    assert long.parked()[0].attempts == attempts + 1
    grow(long, 4 * SHORT)
    assert long.parked()[0].attempts == attempts + 2


def test_a_correction_behind_a_long_queue_is_taken_without_another_event(
    long: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    grow(long, SHORT + 1)
    send(long, update(PARENTS, {"id": 1, "amount": 5}, ["body"]))
    assert long.parked()[0].events == SHORT + 2
    monkeypatch.setattr(REST, 1e9)
    until(lambda: long.parked() == [], what="the corrected key")
    assert long.rows("SELECT amount, body FROM parents") == [(5, "b")]


def test_a_correction_that_came_before_a_restart_is_taken_after_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(REST, 1e-9)
    with running(world):
        send(world, insert(PARENTS, row(1, -1)))
        grow(world, SHORT + 1)
        send(world, update(PARENTS, {"id": 1, "amount": 5}, ["body"]))
    monkeypatch.setattr(REST, 1e9)
    with running(world):
        until(lambda: world.parked() == [], what="the corrected key")


def test_a_long_queue_rests_on_while_its_target_loses_and_finds_its_session(
    long: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed = [0.0]
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + passed[0])
    monkeypatch.setattr("connectors.postgres.retrying.time", clock)
    monkeypatch.setattr(REST, (SHORT + 2) / 1_000)
    grow(long, SHORT + 1)
    send(long, update(PARENTS, {"id": 1, "amount": 5}, ["body"]))
    for _ in range(3):
        assert long.parked()[0].events == SHORT + 2
        passed[0] += 400
        [[epoch]] = long.rows("SELECT epoch FROM placemat.lanes")
        long.run_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            f" WHERE application_name = 'placemat apply {long.target}'"
        )
        until(lambda: long.rows("SELECT 1 FROM placemat.lanes WHERE epoch > %s", epoch), what="another session")  # noqa: B023 it ends here
    until(lambda: long.parked() == [], what="the corrected key")
    assert long.rows("SELECT amount, body FROM parents") == [(5, "b")]


def test_a_delete_ends_a_key_with_a_long_queue_at_once(long: World) -> None:
    grow(long, SHORT + 1)
    send(long, delete(PARENTS, {"id": 1}))
    assert long.parked() == []


def test_a_child_with_a_long_queue_comes_after_its_parent(applied: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(REST, 1e-9)
    send(applied, insert(CHILDREN, {"id": 1, "parent_id": 1, "body": "b"}))
    send(applied, *[update(CHILDREN, {"id": 1, "parent_id": 1}, ["body"]) for _ in range(SHORT)])
    send(applied, insert(PARENTS, row(1)))
    assert applied.parked()[0].events == SHORT + 1
    monkeypatch.setattr(REST, 1e9)
    until(lambda: applied.parked() == [], what="the child")
    assert applied.rows("SELECT parent_id, body FROM children") == [(1, "b")]


def test_a_child_with_a_long_queue_rests_when_a_key_of_its_parents_table_waits_no_more(
    applied: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(REST, 1e-9)
    send(applied, insert(PARENTS, row(1, -1)), insert(CHILDREN, {"id": 1, "parent_id": 1, "body": "b"}))
    send(applied, *[update(CHILDREN, {"id": 1, "parent_id": 1}, ["body"]) for _ in range(SHORT)])
    send(applied, read(PARENTS, row(1, 4)))
    [child] = applied.parked()
    assert (child.table_name, child.events) == (CHILDREN, SHORT + 1)
    monkeypatch.setattr(REST, 1e9)
    until(lambda: applied.parked() == [], what="the child")


def test_a_queue_that_was_replaced_is_tried_as_one_that_is_new(applied: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(REST, 1e-9)
    part = update(CHILDREN, {"id": 1, "parent_id": 9}, ["body"])
    send(applied, insert(PARENTS, row(1)), insert(CHILDREN, {"id": 1, "parent_id": 9, "body": "b"}))
    send(applied, *[part] * (2 * SHORT))
    send(applied, update(CHILDREN, {"id": 1, "parent_id": 9, "body": "whole"}))
    assert applied.parked()[0].events == 1
    send(applied, *[part] * (SHORT - 1))
    send(applied, part)
    monkeypatch.setattr(REST, 1e9)
    send(applied, update(CHILDREN, {"id": 1, "parent_id": 1}, ["body"]))
    until(lambda: applied.parked() == [], what="the corrected key")
    assert applied.rows("SELECT parent_id, body FROM children") == [(1, "whole")]


def test_a_child_that_was_refused_and_then_lacked_its_parent_comes_after_it(applied: World) -> None:
    applied.run_sql("ALTER TABLE children ADD CONSTRAINT welcome CHECK (body <> 'not welcome')")
    send(applied, insert(PARENTS, row(2)), insert(CHILDREN, {"id": 1, "parent_id": 2, "body": "not welcome"}))
    send(applied, update(CHILDREN, {"id": 1, "parent_id": 1, "body": "b"}))
    [parked] = applied.parked()
    assert (parked.sqlstate, "foreign key" in parked.reason) == ("23503", True)
    send(applied, insert(PARENTS, row(1)))
    until(lambda: applied.parked() == [], what="the child")


def test_a_request_to_give_up_a_key_outlasts_a_try_that_nobody_asked_for(
    database_factory: Callable[[str], str],
) -> None:
    with psycopg.connect(database_factory("target")) as connection:
        bookkeeping.install(connection)
        key, record = (PARENTS, b'{"id":1}'), Record("t", 0, 0, START, b'{"id":1}', b"{}")
        parked = Parked(connection, "p")
        parked.refuse(Event(PARENTS, record, Change("c")), "23514", "refused")
        [one] = bookkeeping.list_parked(connection, "p")
        bookkeeping.ask(connection, [one.id], "discard", "ada")
        parked.failed("23514", {key: "refused again"})
        assert parked.asked() == [(key, "discard")]
        parked.failed("23514", {key: "refused again"}, asked=True)
        assert parked.asked() == []


def test_a_redrive_that_is_refused_again_stays_with_one_attempt_more(applied: World) -> None:
    send(applied, insert(PARENTS, row(1, -1)))
    before = applied.parked()[0].attempts
    applied.ask("redrive")
    until(lambda: applied.parked()[0].attempts == before + 1, what="another attempt")
    assert applied.parked()[0].request is None


def test_discard_forgets_the_key(applied: World) -> None:
    send(applied, insert(PARENTS, row(1, -1)))
    applied.ask("discard")
    until(lambda: applied.parked() == [], what="the discarded key")
    send(applied, insert(PARENTS, row(1, 3)))
    assert applied.rows("SELECT amount FROM parents") == [(3,)]


def test_a_child_of_a_parked_parent_comes_with_it(applied: World) -> None:
    send(applied, insert(PARENTS, row(1, -1)), insert(CHILDREN, {"id": 1, "parent_id": 1}))
    assert {(key.table_name, key.sqlstate) for key in applied.parked()} == {(PARENTS, "23514"), (CHILDREN, "23503")}
    send(applied, read(PARENTS, row(1, 4)))
    assert applied.parked() == []
    assert applied.rows("SELECT parent_id FROM children") == [(1,)]


def test_a_part_of_a_missing_row_is_parked_asked_for_and_answered(applied: World) -> None:
    send(applied, update(PARENTS, {"id": 1, "amount": 5}, ["body"]))
    assert [one.kind for one in applied.parked()] == ["needs_full_row"]
    wanted = {"target": applied.target, "schema": "public", "table": "parents", "key": {"id": 1}}
    assert until(applied.requested, what="the request") == [wanted]
    applied.stream.transaction(read(PARENTS, row(1, 5)), kind="snapshot")
    applied.applied_through()
    assert applied.parked() == []
    assert applied.rows("SELECT amount, body FROM parents") == [(5, "b")]


@pytest.mark.parametrize("later", [update(PARENTS, row(1, 9)), delete(PARENTS, {"id": 1})], ids=["whole", "delete"])
def test_a_whole_row_or_a_delete_resolves_a_needed_row_at_once(applied: World, later: object) -> None:
    send(applied, update(PARENTS, {"id": 1, "amount": 5}, ["body"]))
    send(applied, later)
    assert applied.parked() == []


def test_a_row_too_large_to_publish_is_parked_until_it_comes_whole(applied: World) -> None:
    send(applied, insert(PARENTS, row(1)))
    send(applied, oversize(PARENTS, {"id": 1}, 99_000_000))
    [parked] = applied.parked()
    assert (parked.kind, parked.sqlstate) == ("needs_full_row", "oversize")
    assert "99000000" in parked.reason
    send(applied, update(PARENTS, row(1, 8)))
    assert applied.parked() == []


def test_a_write_that_a_trigger_suppresses_is_parked_and_never_silent(applied: World) -> None:
    applied.run_sql(
        "CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;"
        "CREATE TRIGGER nothing BEFORE INSERT OR DELETE ON parents FOR EACH ROW"
        " WHEN (pg_trigger_depth() < 1) EXECUTE FUNCTION nothing()"
    )
    send(applied, insert(PARENTS, row(1)))
    [parked] = applied.parked()
    assert "suppressed" in parked.reason


def test_a_refusal_at_the_end_of_a_transaction_is_parked_too(applied: World) -> None:
    applied.run_sql("ALTER TABLE parents ADD CONSTRAINT once UNIQUE (body) DEFERRABLE INITIALLY DEFERRED")
    send(applied, insert(PARENTS, row(1, body="x")), insert(PARENTS, row(2, body="x")), insert(PARENTS, row(3)))
    [parked] = applied.parked()
    assert (parked.key, parked.sqlstate) == ('{"id":2}', "23505")
    assert applied.rows("SELECT count(*) FROM parents") == [(2,)]


def test_a_child_before_its_parent_in_one_transaction_is_no_refusal(world: World) -> None:
    world.stream.transaction(
        insert(CHILDREN, {"id": 1, "parent_id": 1}), insert(PARENTS, row(2, -1)), insert(PARENTS, row(1))
    )
    with running(world):
        world.applied_through()
    assert [key.key for key in world.parked()] == ['{"id":2}']
    assert world.rows("SELECT parent_id FROM children") == [(1,)]


def test_values_that_name_what_is_not_there_are_parked_and_the_others_arrive(
    kafka_server: Kafka, database_factory: Callable[[str], str]
) -> None:
    columns = [f"c{at} {type_}" for at, type_ in enumerate(NAMES)]
    ddl = f"CREATE TABLE named (id int PRIMARY KEY, {', '.join(columns)})"
    world = World(kafka_server, database_factory("target"), ddl, {"public.named": {}})
    empty: dict[str, object] = {column.split()[0]: None for column in columns}
    rows = [
        {**empty, "id": at, f"c{at}": f"public.later{'(integer)' * (type_ == 'regprocedure')}"}
        for at, type_ in enumerate(NAMES)
    ]
    rows[1]["c1"], rows[3]["c3"], rows[6]["c6"] = ["public.later"], "later", "later"
    with running(world):
        send(world, *[insert("public.named", one) for one in [*rows, {**empty, "id": 100}]])
        parked = {int(one.key[6:-1]): one for one in world.parked()}
        assert [(parked[at].sqlstate, "later" in parked[at].reason) for at in range(8)] == [
            (state, True) for state in NAMES.values()
        ]
        assert world.rows("SELECT id FROM named") == [(100,)]
        world.run_sql("CREATE TABLE later (); CREATE FUNCTION later(int) RETURNS int LANGUAGE sql AS 'SELECT 1'")
        world.ask("redrive")
        until(lambda: len(world.parked()) == 3, what="the keys of which the names are there now")
    assert world.rows("SELECT c0::text, c4::text FROM named WHERE id IN (0, 4) ORDER BY id") == [
        ("later", None),
        (None, "later"),
    ]


def test_a_row_answers_every_parked_writing_of_its_key(
    kafka_server: Kafka, database_factory: Callable[[str], str]
) -> None:
    ddl = "CREATE TABLE k (id numeric PRIMARY KEY, n int CHECK (n > 0))"
    world = World(kafka_server, database_factory("target"), ddl, {"public.k": {}})
    with running(world):
        send(world, *[insert("public.k", {"id": key, "n": -1}) for key in ("1.0", "2.0", "3.0")])
        send(world, *[move("public.k", {"id": f"{n}.0"}, {"id": f"{n}.00", "n": n}) for n in (1, 2)])
        assert {one.key for one in world.parked()} == {f'{{"id":"{n}"}}' for n in ("1.0", "1.00", "2.0", "2.00", "3.0")}
        send(world, read("public.k", {"id": "1.00", "n": 1}), read("public.k", {"id": "4.00", "n": 1}))
        assert {one.key for one in world.parked()} == {'{"id":"2.0"}', '{"id":"2.00"}', '{"id":"3.0"}'}
    assert world.rows("SELECT id::text, n FROM k ORDER BY id") == [("1.00", 1), ("4.00", 1)]
