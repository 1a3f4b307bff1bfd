"""`verify` compares through the route: what the target is to show of the source, and no row more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from daemon.config.settings import Settings
from daemon.reconcile import VerifyReport, verify
from tests.fix_servers import Kafka
from tests.integration.apply_stream import insert
from tests.integration.route_lane import KEY, RouteLane, Routes, route_lane

DDL = """
CREATE SCHEMA hub;
CREATE TABLE hub.people (id int PRIMARY KEY, name text, email text, age int, bio varchar(90), phone text, consent text,
                         score numeric(6, 2));
CREATE TABLE hub.posts (id int PRIMARY KEY, person_id int REFERENCES hub.people, level text, title text);
CREATE TABLE persons (no int PRIMARY KEY, name text, email text, age text, bio text, origin text, since date,
                      score numeric);
CREATE TABLE posts (id int PRIMARY KEY, person int, level text, headline text);
"""
PEOPLE, POSTS = "hub.people", "hub.posts"
ROUTES: Routes = {
    PEOPLE: {
        "table": "public.persons",
        "columns": {"id": "no"},
        "exclude": ["consent"],
        "constants": {"origin": "100%", "since": "2026-1-2"},
        "masks": {"email": "hash", "age": "hash", "bio": {"truncate": 2}, "phone": "drop", "name": {"constant": "{x}"}},
    },
    POSTS: {
        "table": "public.posts",
        "columns": {"person_id": "person", "title": "headline"},
        "where": "level in ('public', '50%') and person.consent = 'given'",
        "parents": {"person": PEOPLE},
    },
}
PERSONS: list[dict[str, Any]] = [
    {
        "id": 1,
        "name": "Ada",
        "email": "ä@x.org",
        "age": 7,
        "bio": "né!",
        "phone": "1",
        "consent": "given",
        "score": "1.50",
    },
    {"id": 2, "name": None, "email": None, "age": None, "bio": None, "phone": None, "consent": "no", "score": None},
]
WRITINGS: list[dict[str, Any]] = [
    {"id": 1, "person_id": 1, "level": "public", "title": "shown"},
    {"id": 2, "person_id": 1, "level": "50%", "title": "shown too"},
    {"id": 3, "person_id": 1, "level": "private", "title": "not shown"},
    {"id": 4, "person_id": 2, "level": "public", "title": "no consent"},
    {"id": 5, "person_id": None, "level": "public", "title": "nobody"},
]


@pytest.fixture
def lane(kafka_server: Kafka, database_factory: Callable[[str], str]) -> Iterator[RouteLane]:
    """A target that holds what the sink made of the source's rows."""
    with route_lane(kafka_server, database_factory("routed"), DDL, ROUTES) as found:
        with psycopg.connect(found.world.url) as connection, connection.cursor() as cursor:
            for table, rows in ((PEOPLE, PERSONS), (POSTS, WRITINGS)):
                names = ", ".join(rows[0])
                values = ", ".join(f"%({name})s" for name in rows[0])
                cursor.executemany(f"INSERT INTO {table} ({names}) VALUES ({values})".encode(), rows)
        found.apply(*(insert(PEOPLE, row) for row in PERSONS), *(insert(POSTS, row) for row in WRITINGS))
        yield found


def compared(lane: RouteLane, *tables: str) -> VerifyReport:
    settings: Settings = lane.world.settings
    return verify(settings, tables, eras={}, sample=None, show_values=True, stall_seconds=0.1)


def test_what_the_sink_wrote_by_a_route_is_no_difference(lane: RouteLane) -> None:
    report = compared(lane)
    assert [table.to_json() for table in report.tables if table.differences] == []
    people, posts = report.tables
    assert (people.rows_source, people.rows_target, posts.rows_source, posts.rows_target) == (2, 2, 2, 2)
    assert lane.world.rows("SELECT name, bio, score FROM persons WHERE no = 1") == [("{x}", "né", 1.5)]


def test_a_row_that_should_not_be_shown_is_a_difference(lane: RouteLane) -> None:
    lane.world.run_sql("INSERT INTO posts VALUES (4, 2, 'public', 'no consent')")
    [posts] = compared(lane, POSTS).tables
    assert [(one.key, one.kind) for one in posts.listed] == [({"id": "4"}, "only_in_target")]


def test_a_row_that_should_be_shown_is_a_difference(lane: RouteLane) -> None:
    lane.world.run_sql("DELETE FROM posts WHERE id = 2")
    [posts] = compared(lane, POSTS).tables
    assert [(one.key, one.kind) for one in posts.listed] == [({"id": "2"}, "only_in_source")]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ("email = 'ä@x.org'", "email"),
        ("bio = 'né!'", "bio"),
        ("name = 'Ada'", "name"),
        ("origin = 'else'", "origin"),
        ("since = '2026-01-03'", "since"),
        ("age = '7'", "age"),
    ],
)
def test_a_clear_value_or_another_constant_is_a_difference(lane: RouteLane, change: str, field: str) -> None:
    lane.world.run_sql(f"UPDATE persons SET {change} WHERE no = 1")
    [people] = compared(lane, PEOPLE).tables
    assert [one.fields for one in people.listed] == [(field,)]
    assert KEY not in str(people.to_json())
