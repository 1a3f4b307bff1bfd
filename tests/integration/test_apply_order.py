"""Whole source transactions arrive in commit order, in a real PostgreSQL, from a real Kafka."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.fix_servers import Kafka
from tests.integration.apply_stream import World, delete, insert, move, running, truncate, update

DDL = """
CREATE TABLE parents (id int PRIMARY KEY, name text UNIQUE, body text, kept text DEFAULT 'mine');
CREATE TABLE children (id int PRIMARY KEY, parent_id int NOT NULL REFERENCES parents ON DELETE CASCADE);
CREATE TABLE log (seq bigint GENERATED ALWAYS AS IDENTITY, op text, id int);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO public.log (op, id) VALUES (TG_OP, coalesce(NEW.id, OLD.id)); RETURN NULL; END $$;
CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON parents FOR EACH ROW EXECUTE FUNCTION note();
"""
PARENTS, CHILDREN = "public.parents", "public.children"


def parent(id_: int, name: str | None = None, body: str = "b") -> dict[str, object]:
    return {"id": id_, "name": name or f"name {id_}", "body": body}


@pytest.fixture
def world(kafka_server: Kafka, database_factory: Callable[[str], str]) -> World:
    return World(kafka_server, database_factory("target"), DDL, {PARENTS: {"local": ["kept"]}, CHILDREN: {}})


def test_parents_and_children_of_one_transaction_arrive_together(world: World) -> None:
    world.stream.transaction(
        *[insert(PARENTS, parent(n)) for n in range(50)],
        *[insert(CHILDREN, {"id": n, "parent_id": n % 50}) for n in range(200)],
    )
    world.stream.transaction(*[delete(CHILDREN, {"id": n}) for n in range(0, 200, 50)], delete(PARENTS, {"id": 0}))
    with running(world):
        world.applied_through()
    assert world.rows("SELECT count(*) FROM parents") == [(49,)]
    assert world.rows("SELECT count(*) FROM children") == [(196,)]
    assert world.parked() == []


def test_two_rows_swap_a_unique_value(world: World) -> None:
    world.stream.transaction(insert(PARENTS, parent(1, "a")), insert(PARENTS, parent(2, "b")))
    with running(world):
        world.applied_through()
        world.stream.transaction(
            update(PARENTS, parent(1, "x")), update(PARENTS, parent(2, "a")), update(PARENTS, parent(1, "b"))
        )
        world.applied_through()
    assert world.rows("SELECT id, name FROM parents ORDER BY id") == [(1, "b"), (2, "a")]
    assert world.parked() == []


def test_a_truncate_of_a_table_that_others_refer_to_is_a_delete(world: World) -> None:
    world.stream.transaction(insert(PARENTS, parent(1)))
    world.stream.transaction(truncate(PARENTS))
    with running(world):
        world.applied_through()
    assert world.rows("SELECT id FROM parents") == []


def test_a_key_change_is_one_update_that_keeps_what_refers_to_the_row(world: World) -> None:
    world.run_sql("ALTER TABLE children DROP CONSTRAINT children_parent_id_fkey")
    world.run_sql("ALTER TABLE children ADD FOREIGN KEY (parent_id) REFERENCES parents ON UPDATE CASCADE")
    world.stream.transaction(insert(PARENTS, parent(1)), insert(CHILDREN, {"id": 1, "parent_id": 1}))
    with running(world):
        world.applied_through()
        world.stream.transaction(move(PARENTS, {"id": 1}, parent(7, "moved")))
        world.applied_through()
    assert world.rows("SELECT parent_id FROM children") == [(7,)]
    assert world.rows("SELECT op, id FROM log ORDER BY seq") == [("INSERT", 1), ("UPDATE", 7)]


def test_what_was_not_sent_is_left_alone(world: World) -> None:
    world.stream.transaction(insert(PARENTS, parent(1, "a", "long")))
    with running(world):
        world.applied_through()
        world.run_sql("UPDATE parents SET kept = 'ours'")
        world.stream.transaction(update(PARENTS, {"id": 1, "name": "b", "kept": "theirs"}, ["body"]))
        world.applied_through()
    assert world.rows("SELECT name, body, kept FROM parents") == [("b", "long", "ours")]


def test_many_events_of_a_key_come_to_one_write(world: World) -> None:
    world.stream.transaction(insert(PARENTS, parent(1, "a", "long")))
    for n in range(20):
        world.stream.transaction(update(PARENTS, {"id": 1, "name": f"n{n}"}, ["body"]))
    world.stream.transaction(insert(PARENTS, parent(2)), delete(PARENTS, {"id": 2}))
    with running(world):
        world.applied_through()
    assert world.rows("SELECT name, body FROM parents") == [("n19", "long")]
