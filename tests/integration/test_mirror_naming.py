"""Rows that are at a service only while others name them: whatever happens in whatever order, they are those."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.contract import Destination, Routing
from connectors.mirroring import Mirrored, Naming
from connectors.postgres import bookkeeping
from connectors.postgres.mirror.store import MirrorStore
from connectors.postgres.mirror.tables import install
from connectors.pushing import Key

PEOPLE = Mirrored(
    "public.people", "id", ["name"], seen=False,
    named_by=[Naming("public.touches", "person_id"), Naming("public.jobs", "lead_id")],
)  # fmt: skip
TOUCHES = Mirrored("public.touches", "id", ["person_id"], seen=False, told=False)
JOBS = Mirrored("public.jobs", "id", ["lead_id"], seen=False)
TABLES = [PEOPLE, TOUCHES, JOBS]
HUB = """
CREATE TABLE people (id bigint PRIMARY KEY, name text, secret text);
CREATE TABLE touches (id bigint PRIMARY KEY, person_id bigint, words text);
CREATE TABLE jobs (id bigint PRIMARY KEY, lead_id bigint, at int);
"""


class World:
    def __init__(self, hub: psycopg.Connection[Any], mirror: psycopg.Connection[Any], url: str) -> None:
        self.hub, self.mirror, self.url = hub, mirror, url

    def install(self, *tables: Mirrored) -> list[str]:
        with self.mirror.transaction():
            bookkeeping.install(self.mirror)
            return [str(one) for one in install(self.mirror, self.hub, "notion", tables)]

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        cursor = self.mirror.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []

    def store(self) -> MirrorStore:
        routes = {one.table: Routing(table=one.wanted, only=frozenset((one.key, *one.columns))) for one in TABLES}
        return MirrorStore(Destination("notion", self.url, "hub", routes, mirror=True), [PEOPLE, JOBS])

    def turned(self) -> set[int]:
        """People that were queued since the last look."""
        with self.mirror.transaction():
            rows = self.run("SELECT key::jsonb ->> 'id' FROM placemat.queue WHERE table_name = 'public.people'")
            self.run("DELETE FROM placemat.queue")
        return {int(key) for (key,) in rows}


@pytest.fixture
def world(database_factory: Callable[[str], str]) -> Iterator[World]:
    url = database_factory("mirror")
    with (
        psycopg.connect(database_factory("hub"), autocommit=True) as hub,
        psycopg.connect(url, autocommit=True) as mirror,
    ):
        hub.execute(HUB)
        yield World(hub, mirror, url)


def person(number: int) -> Key:
    return Key("public.people", f'{{"id":{number}}}')


def told(store: MirrorStore) -> set[int]:
    """People that the service is to have."""
    return {int(key.text[6:-1]) for key, _ in store.wanted("public.people")}


def test_only_keys_and_naming_columns_are_kept_of_tables_that_are_no_entities(world: World) -> None:
    assert world.install(*TABLES) == []
    assert world.install(*TABLES) == [], "safe to repeat"
    columns = "SELECT column_name FROM information_schema.columns WHERE table_name = 'touches' ORDER BY 1"
    assert world.run(columns) == [("id",), ("person_id",)]
    world.run("INSERT INTO wanted.touches VALUES (1, 1)")
    assert world.run("SELECT count(*) FROM placemat.queue WHERE table_name = 'public.touches'") == [(0,)]


def test_a_row_comes_with_the_first_that_names_it_and_goes_with_the_last(world: World) -> None:
    world.install(*TABLES)
    world.run("INSERT INTO wanted.people VALUES (1, 'Ada'), (2, 'Bo')")
    with closing(world.store()) as store:
        store.open()
        assert told(store) == set()
        world.turned()
        world.run("INSERT INTO wanted.touches VALUES (10, 1), (11, 1)")
        assert (told(store), world.turned()) == ({1}, {1})
        world.run("INSERT INTO wanted.touches VALUES (12, 1)")
        world.run("INSERT INTO wanted.jobs VALUES (20, 1)")
        assert (told(store), world.turned()) == ({1}, {1}), "each table's first is looked at"
        world.run("DELETE FROM wanted.touches WHERE id = 10")
        assert world.turned() == set(), "others name it still"
        world.run("UPDATE wanted.touches SET person_id = 2")
        assert (told(store), world.turned()) == ({1, 2}, {1, 2})
        world.run("TRUNCATE wanted.touches")
        assert (told(store), world.turned()) == ({1}, {2})
        world.run("UPDATE wanted.jobs SET lead_id = NULL")
        assert (told(store), world.turned()) == (set(), {1})


def test_a_name_may_come_before_its_row_and_stay_behind_it(world: World) -> None:
    world.install(*TABLES)
    with closing(world.store()) as store:
        store.open()
        world.run("INSERT INTO wanted.touches VALUES (10, 1)")
        assert told(store) == set()
        world.turned()
        world.run("INSERT INTO wanted.people VALUES (1, 'Ada')")
        assert (told(store), world.turned()) == ({1}, {1})
        world.run("DELETE FROM wanted.people")
        assert (told(store), world.turned()) == (set(), {1})


def test_who_tells_the_service_is_given_no_row_that_nothing_names(world: World) -> None:
    world.install(*TABLES)
    world.run("INSERT INTO wanted.people VALUES (1, 'Ada'), (2, 'Bo')")
    world.run("INSERT INTO wanted.touches VALUES (10, 2)")
    world.run("INSERT INTO placemat.cursors VALUES ('poll:public.people', '')")
    with closing(world.store()) as store:
        store.open()
        dues = store.load(store.lease(["public.people"], 10, 60))
        assert {due.lease.key: due.wanted for due in dues} == {
            person(1): None, person(2): {"id": "2", "name": '"Bo"'},
        }  # fmt: skip


operation = st.one_of(
    st.tuples(st.just("people"), st.integers(1, 3), st.none()),
    st.tuples(st.sampled_from(["touches", "jobs"]), st.integers(1, 4), st.none() | st.integers(1, 3)),
    st.tuples(st.sampled_from(["-people", "-touches", "-jobs", "truncate touches", "shift"]),
              st.integers(1, 4), st.none()),
)  # fmt: skip


def carry_out(world: World, what: str, number: int, names: int | None) -> None:
    match what:
        case "people":
            world.run(f"INSERT INTO wanted.people VALUES ({number}, 'x') ON CONFLICT DO NOTHING")
        case "touches" | "jobs":
            column, value = {"touches": "person_id", "jobs": "lead_id"}[what], "NULL" if names is None else names
            world.run(
                f"INSERT INTO wanted.{what} VALUES ({number}, {value})"
                f" ON CONFLICT (id) DO UPDATE SET {column} = EXCLUDED.{column}"
            )
        case "truncate touches":
            world.run("TRUNCATE wanted.touches")
        case "shift":
            world.run("UPDATE wanted.touches SET person_id = person_id % 3 + 1")
        case _:
            world.run(f"DELETE FROM wanted.{what[1:]} WHERE id = {number}")


def test_whatever_happens_in_whatever_order_every_row_that_comes_or_goes_is_queued(world: World) -> None:
    world.install(*TABLES)
    model = (
        "SELECT id FROM wanted.people p WHERE EXISTS (SELECT FROM wanted.touches WHERE person_id = p.id)"
        " OR EXISTS (SELECT FROM wanted.jobs WHERE lead_id = p.id)"
    )
    with closing(world.store()) as store:
        store.open()

        @given(st.lists(st.lists(operation, min_size=1, max_size=4), max_size=12))
        @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
        def holds(transactions: list[list[tuple[str, int, int | None]]]) -> None:
            world.run("TRUNCATE wanted.people, wanted.touches, wanted.jobs")
            world.turned()
            before: set[int] = set()
            for steps in transactions:
                with world.mirror.transaction():
                    for step in steps:
                        carry_out(world, *step)
                now = {number for (number,) in world.run(model)}
                assert told(store) == now
                assert before ^ now <= world.turned()
                before = now

        holds()


def test_what_the_service_has_when_the_setting_comes_stays_until_it_is_named_and_unnamed(world: World) -> None:
    plain = Mirrored("public.people", "id", ["name"], seen=False)
    world.install(plain, JOBS)
    world.run("INSERT INTO wanted.people VALUES (1, 'Ada'), (2, 'Bo')")
    world.run("INSERT INTO placemat.remotes (table_name, key, remote_id) VALUES ('public.people', '{\"id\":1}', 'r1')")
    world.turned()
    world.install(*TABLES)
    with closing(world.store()) as store:
        store.open()
        assert told(store) == {1}, "what names it may only be on its way"
        world.run("INSERT INTO wanted.touches VALUES (10, 1)")
        world.run("DELETE FROM wanted.touches")
        assert told(store) == set()
        world.turned()
        world.install(plain, JOBS)
        assert world.turned() == {2}, "and once the setting is gone, all are there"
        world.run("INSERT INTO wanted.touches VALUES (11, 1)")
        assert world.turned() == set(), "nobody asks any more"


def test_a_column_that_cannot_name_rows_of_the_table_is_told(world: World) -> None:
    wrong = Mirrored("public.people", "id", ["name"], seen=False, named_by=[Naming("public.jobs", "at")])
    jobs = Mirrored("public.jobs", "id", ["at"], seen=False)
    (fault,) = world.install(wrong, jobs)
    assert fault.endswith("is of type integer, and cannot name rows of public.people, whose key is of type bigint.")


def test_uuid_keys_are_named_as_the_stream_has_them(world: World) -> None:
    world.hub.execute("CREATE TABLE a (id uuid PRIMARY KEY); CREATE TABLE b (id uuid PRIMARY KEY, a_id uuid)")
    named = Mirrored("public.a", "id", [], seen=False, named_by=[Naming("public.b", "a_id")])
    world.install(named, Mirrored("public.b", "id", ["a_id"], seen=False, told=False))
    key = uuid.uuid4()
    world.run(f"INSERT INTO wanted.b VALUES ('{uuid.uuid4()}', '{key}')")
    assert world.run("SELECT table_name, key FROM placemat.queue") == [("public.a", f'{{"id":"{key}"}}')]
