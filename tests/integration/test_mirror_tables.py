"""The tables of a service's mirror: made from the hub's, and whatever changes a row there is queued."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from connectors.errors import OperatorError
from connectors.mirroring import Mirrored
from connectors.postgres import bookkeeping
from connectors.postgres.mirror.tables import install
from connectors.postgres.shape import read_table
from schemas import domain

PROJECTS = Mirrored("public.projects", "id", ["name", "status", "budget", "starts_on", "lead"], seen=True)
STORIES = Mirrored("public.stories", "id", ["title", "privacy", "themes"], seen=False)


@dataclass
class Both:
    """The hub, and the mirror of a service."""

    hub: psycopg.Connection[Any]
    mirror: psycopg.Connection[Any]

    def install(self, *tables: Mirrored) -> list[OperatorError]:
        with self.mirror.transaction():
            bookkeeping.install(self.mirror)
            return list(install(self.mirror, self.hub, "notion", tables))

    def run(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        cursor = self.mirror.execute(statement.encode(), values)
        return cursor.fetchall() if cursor.description else []

    def queue(self) -> dict[str, int]:
        """Changes by key, since the last look."""
        with self.mirror.transaction():
            rows = self.run("SELECT table_name, key, changes FROM placemat.queue")
            self.run("DELETE FROM placemat.queue")
        return {f"{table} {key}": changes for table, key, changes in rows}


@pytest.fixture
def both(database_factory: Callable[[str], str]) -> Iterator[Both]:
    with (
        psycopg.connect(database_factory("hub"), autocommit=True) as hub,
        psycopg.connect(database_factory("mirror"), autocommit=True) as mirror,
    ):
        domain.install_primary(hub)
        yield Both(hub, mirror)


def types(connection: psycopg.Connection[Any], table: str) -> dict[str, str]:
    found = read_table(connection, table)
    assert found is not None
    assert found.primary_key == {"id"}
    return {name: column.type for name, column in found.columns.items()}


def test_a_mirror_has_the_columns_that_the_service_has_fields_for(both: Both) -> None:
    assert both.install(PROJECTS, STORIES) == []
    assert both.install(PROJECTS, STORIES) == [], "safe to repeat"
    wanted = types(both.mirror, "wanted.projects")
    assert wanted == types(both.mirror, "public.projects")
    hub = types(both.hub, "public.projects")
    assert {name: hub[name] for name in ("id", "name", "budget", "starts_on", "lead")}.items() <= wanted.items()
    assert types(both.mirror, "wanted.stories")["privacy"] == "text", "an enum's labels are the hub's own"
    assert read_table(both.mirror, "public.stories") is None, "nothing of it comes back"
    identity = "SELECT relreplident FROM pg_class WHERE oid = 'public.projects'::regclass"
    assert both.run(identity) == [("f",)]


def test_a_field_that_is_added_and_a_type_that_is_changed_come_to_rows_that_are_there(both: Both) -> None:
    both.install(PROJECTS)
    key = uuid.uuid4()
    both.run("INSERT INTO wanted.projects (id, name, budget) VALUES (%s, 'Garden', 12.5)", [key])
    both.hub.execute("ALTER TABLE public.projects DROP CONSTRAINT projects_budget_check, ALTER budget TYPE text")
    assert both.install(Mirrored("public.projects", "id", [*PROJECTS.columns, "area"], seen=False)) == []
    assert both.run("SELECT name, budget, area FROM wanted.projects") == [("Garden", "12.50", None)]


def test_what_a_mirror_cannot_hold_is_told_by_its_name(both: Both) -> None:
    both.hub.execute(
        "CREATE TYPE public.place AS (x int, y int); ALTER TABLE public.projects ADD COLUMN at public.place"
    )
    faults = both.install(
        Mirrored("public.projects", "id", ["at", "nothing"], seen=False),
        Mirrored("public.stories", "slug", ["title"], seen=False),
    )
    assert [str(one) for one in faults] == [
        "Column at of public.projects is of type public.place, which a mirror cannot hold.",
        "targets.notion.entities names column nothing, which public.projects does not have.",
        "The primary key of public.stories is id, and target notion takes it to be slug.",
    ]


def test_whatever_changes_a_wanted_row_queues_its_key(both: Both) -> None:
    both.install(PROJECTS)
    one, other = uuid.uuid4(), uuid.uuid4()
    both.run("INSERT INTO wanted.projects (id, name) VALUES (%s, 'a'), (%s, 'b')", [one, other])
    first, second = (f'public.projects {{"id":"{key}"}}' for key in (one, other))
    assert both.queue() == {first: 1, second: 1}
    both.run("UPDATE wanted.projects SET name = 'b'")
    assert both.queue() == {first: 1}, "the other one has not changed"
    with both.mirror.transaction():
        both.run("UPDATE wanted.projects SET name = 'c' WHERE id = %s", [one])
        both.run("DELETE FROM wanted.projects WHERE id = %s", [one])
    assert both.queue() == {first: 2}
    both.run("TRUNCATE wanted.projects")
    assert both.queue() == {second: 1}
    both.run("UPDATE wanted.projects SET name = 'c'")
    assert both.queue() == {}


def test_a_row_that_gets_another_key_queues_both(both: Both) -> None:
    both.install(PROJECTS)
    one, other = uuid.uuid4(), uuid.uuid4()
    both.run("INSERT INTO wanted.projects (id, name) VALUES (%s, 'a')", [one])
    both.queue()
    both.run("UPDATE wanted.projects SET id = %s", [other])
    assert both.queue() == {f'public.projects {{"id":"{key}"}}': 1 for key in (one, other)}


def test_a_row_of_which_the_hub_has_only_said_something_is_queued_until_it_was_told(both: Both) -> None:
    both.install(PROJECTS)
    say = "INSERT INTO placemat.sides VALUES ('primary', 'public.projects', 'k', %s)"
    said = say + " ON CONFLICT (source, table_name, key) DO UPDATE SET state = EXCLUDED.state"
    both.run(said, ['{"alive":true,"backlog":{"at":[1,2,3],"row":null}}'])
    assert both.queue() == {"public.projects k": 1}
    both.run(said, ['{"alive":true}'])
    assert both.queue() == {}


def test_a_refused_key_is_due_again_at_its_next_change(both: Both) -> None:
    both.install(PROJECTS)
    both.run("INSERT INTO wanted.projects (id, name) VALUES (gen_random_uuid(), 'a')")
    both.run("UPDATE placemat.queue SET due = 'infinity', refused_at = now()")
    both.run("UPDATE wanted.projects SET name = 'b'")
    assert both.run("SELECT due <= clock_timestamp(), changes FROM placemat.queue") == [(True, 2)]
    both.run("UPDATE placemat.queue SET due = 'infinity', refused_at = NULL")
    both.run("UPDATE wanted.projects SET name = 'c'")
    assert both.run("SELECT due = 'infinity', changes FROM placemat.queue") == [(True, 3)], (
        "the service is to be spared"
    )
