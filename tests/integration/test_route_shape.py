"""Renamed tables and columns, constants, columns left out, and masks: what arrives is what the route says."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterator

import pytest

from tests.fix_servers import Kafka
from tests.integration.apply_stream import delete, insert, move, update
from tests.integration.route_lane import KEY, RouteLane, Routes, route_lane
from tests.waiting import until

DDL = """
CREATE SCHEMA hub;
CREATE TABLE hub.people (id int PRIMARY KEY, name text, email text, phone text, bio text, born date, notes text);
CREATE TABLE hub.letters (id int PRIMARY KEY, person_id int REFERENCES hub.people, body text);
CREATE TABLE persons (no int PRIMARY KEY, "full name" text, email text, bio text, born date DEFAULT '1900-01-01',
                      origin text NOT NULL, notes text DEFAULT 'of the target');
CREATE TABLE letters (id int PRIMARY KEY, person int REFERENCES persons (no) ON UPDATE CASCADE, body text);
"""
PEOPLE, LETTERS = "hub.people", "hub.letters"
ROUTES: Routes = {
    PEOPLE: {
        "table": "public.persons",
        "columns": {"id": "no", "name": "full name"},
        "exclude": ["born"],
        "local": ["notes"],
        "constants": {"origin": "100% hub"},
        "masks": {"email": "hash", "phone": "drop", "bio": {"truncate": 3}},
    },
    LETTERS: {"table": "public.letters", "columns": {"person_id": "person"}, "masks": {"body": {"constant": "…"}}},
}


@pytest.fixture
def lane(kafka_server: Kafka, database_factory: Callable[[str], str]) -> Iterator[RouteLane]:
    with route_lane(kafka_server, database_factory("routed"), DDL, ROUTES) as found:
        yield found


def person(id_: int, **values: object) -> dict[str, object]:
    row = {"id": id_, "name": "Ada", "email": "a@x.org", "phone": "1", "bio": "né\nlong", "born": "2000-01-01"}
    return {**row, "notes": "of the source", **values}


def hashed(text: str) -> str:
    return hmac.new(KEY.encode(), text.encode(), hashlib.sha256).hexdigest()


def test_a_row_arrives_as_its_route_says(lane: RouteLane) -> None:
    lane.apply(insert(PEOPLE, person(1)), insert(LETTERS, {"id": 5, "person_id": 1, "body": "secret"}))
    [row] = lane.world.rows('SELECT no, "full name", email, bio, born::text, origin, notes FROM persons')
    assert row == (1, "Ada", hashed("a@x.org"), "né\n", "1900-01-01", "100% hub", "of the target")
    assert lane.world.rows("SELECT * FROM letters") == [(5, 1, "…")]


def test_what_the_target_changed_in_columns_of_its_own_stays(lane: RouteLane) -> None:
    lane.apply(insert(PEOPLE, person(1)))
    lane.world.run_sql("UPDATE persons SET notes = 'kept', born = '1999-09-09'")
    lane.apply(update(PEOPLE, person(1, name="Bob", email=None)))
    assert lane.world.rows('SELECT "full name", email, notes, born::text FROM persons') == [
        ("Bob", None, "kept", "1999-09-09")
    ]


def test_parts_of_rows_moves_and_deletes_find_renamed_rows(lane: RouteLane) -> None:
    lane.apply(insert(PEOPLE, person(1)), insert(LETTERS, {"id": 5, "person_id": 1, "body": "b"}))
    part = {name: value for name, value in person(1, name="Cleo").items() if name != "bio"}
    lane.apply(update(PEOPLE, part, ["bio"]))
    lane.apply(move(PEOPLE, {"id": 1}, person(2, name="Dora")))
    assert lane.world.rows('SELECT no, "full name", bio FROM persons') == [(2, "Dora", "né\n")]
    assert lane.world.rows("SELECT person FROM letters") == [(2,)]
    lane.apply(delete(LETTERS, {"id": 5}), delete(PEOPLE, {"id": 2}))
    assert lane.world.rows("SELECT count(*) FROM persons") == [(0,)]


def test_a_child_of_a_renamed_table_waits_for_its_parent(lane: RouteLane) -> None:
    lane.apply(*(insert(LETTERS, {"id": id_, "person_id": 1, "body": "b"}) for id_ in range(3)))
    assert len(lane.world.parked()) == 3
    lane.apply(insert(PEOPLE, person(1)))

    def welcome() -> bool:
        lane.sink.attend()
        return lane.world.parked() == []

    until(welcome, what="the children of the parent that has come")
    assert lane.world.rows("SELECT count(*) FROM letters") == [(3,)]


def test_what_waits_in_the_target_has_no_clear_value_and_is_written_as_the_route_says(lane: RouteLane) -> None:
    lane.world.run_sql("ALTER TABLE persons ADD CONSTRAINT known CHECK (\"full name\" <> 'nobody')")
    lane.apply(insert(PEOPLE, person(1, name="nobody", phone="0400 clear", email="clear@x.org", bio="nobody's clear")))
    [(waiting,)] = lane.world.rows("SELECT event FROM placemat.parked_events")
    assert "clear" not in waiting
    assert "2000-01-01" not in waiting
    lane.world.run_sql("ALTER TABLE persons DROP CONSTRAINT known")
    lane.world.ask("redrive")
    lane.sink.attend()
    assert lane.world.parked() == []
    [row] = lane.world.rows('SELECT "full name", email, bio, origin FROM persons')
    assert row == ("nobody", hashed("clear@x.org"), "nob", "100% hub")


ONLY: Routes = {
    PEOPLE: {
        "table": "public.persons",
        "columns": {"id": "no", "name": "full name"},
        "only": ["id", "name"],
        "constants": {"origin": "hub"},
    }
}


@pytest.fixture
def narrow(kafka_server: Kafka, database_factory: Callable[[str], str]) -> Iterator[RouteLane]:
    with route_lane(kafka_server, database_factory("narrow"), DDL, ONLY) as found:
        yield found


def test_of_a_row_only_the_named_columns_arrive(narrow: RouteLane) -> None:
    narrow.apply(insert(PEOPLE, person(1)))
    narrow.apply(update(PEOPLE, person(1, name="Bea", email="b@x.org")))
    [row] = narrow.world.rows('SELECT no, "full name", email, bio, born::text, origin, notes FROM persons')
    assert row == (1, "Bea", None, None, "1900-01-01", "hub", "of the target")


def test_what_waits_in_the_target_holds_no_other_column_than_the_named(narrow: RouteLane) -> None:
    narrow.world.run_sql("ALTER TABLE persons ADD CONSTRAINT known CHECK (\"full name\" <> 'nobody')")
    narrow.apply(insert(PEOPLE, person(1, name="nobody", email="clear@x.org", bio="clear")))
    [(waiting,)] = narrow.world.rows("SELECT event FROM placemat.parked_events")
    assert "nobody" in waiting
    assert "clear" not in waiting
