"""A replay expects of a row what its route makes of it: names, masks, constants, and whether it is there at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest

from connectors.contract import Destination, Expected, Finding
from connectors.postgres.replay import PostgresReplay
from daemon.routes import routings
from tests.fix_servers import Kafka
from tests.integration.apply_stream import Change, insert, read, update
from tests.integration.route_lane import RouteLane, Routes, route_lane

DDL = """
CREATE SCHEMA hub;
CREATE TABLE hub.notes (id int PRIMARY KEY, level text, body text, secret text);
CREATE TABLE hub.tellers (id int PRIMARY KEY, consent text);
CREATE TABLE hub.stories (id int PRIMARY KEY, teller_id int REFERENCES hub.tellers, title text);
CREATE TABLE notes (id int PRIMARY KEY, level text, text text, secret text, origin text);
CREATE TABLE stories (LIKE hub.stories INCLUDING ALL);
"""
NOTES, TELLERS, STORIES = "hub.notes", "hub.tellers", "hub.stories"
ROUTES: Routes = {
    NOTES: {
        "table": "public.notes", "columns": {"body": "text"}, "masks": {"secret": "hash"},
        "constants": {"origin": "hub"}, "where": "level = 'public'",
    },
    STORIES: {"table": "public.stories", "where": "teller.consent = 'given'", "parents": {"teller": TELLERS}},
}  # fmt: skip


@pytest.fixture
def lane(kafka_server: Kafka, database_factory: Callable[[str], str]) -> Iterator[RouteLane]:
    with route_lane(kafka_server, database_factory("routed"), DDL, ROUTES, (TELLERS,)) as found:
        yield found


def note(id_: int, level: str = "public") -> dict[str, object]:
    return {"id": id_, "level": level, "body": "b", "secret": "s"}


def put_right(lane: RouteLane, table: str, *changes: Change) -> list[Finding]:
    """What a replay of these changes finds; afterwards it finds nothing that it can write."""
    world = lane.world
    target = PostgresReplay(Destination(world.target, world.url, world.source, routings(world.settings, world.target)))
    target.open()
    rows = [Expected(record.key, record.value) for record in world.stream.records(*changes)]
    target.begin()
    found = target.compare(table, rows)
    wrong = {one.key for one in found if one.kind != "incomplete"}
    assert target.write(table, [row for row in rows if row.key in wrong]) == []
    target.commit()
    assert {one.kind for one in target.compare(table, rows)} <= {"incomplete"}
    target.close()
    return sorted(found, key=lambda one: one.key)


def kinds(found: Sequence[Finding]) -> list[tuple[bytes, str, tuple[str, ...]]]:
    return [(one.key, one.kind, one.fields) for one in found]


def test_names_masks_and_constants_are_no_difference_and_come_back(lane: RouteLane) -> None:
    changes = [insert(NOTES, note(n)) for n in range(4)]
    lane.apply(*changes)
    before = lane.world.rows("SELECT * FROM notes ORDER BY id")
    assert put_right(lane, NOTES, *changes) == []
    lane.world.run_sql(
        "DELETE FROM notes WHERE id = 0; UPDATE notes SET text = 'x' WHERE id = 1;"
        "UPDATE notes SET secret = 's' WHERE id = 2; UPDATE notes SET origin = NULL WHERE id = 3"
    )
    assert kinds(put_right(lane, NOTES, *changes)) == [
        (b'{"id":0}', "missing", ()),
        (b'{"id":1}', "differs", ("body",)),
        (b'{"id":2}', "differs", ("secret",)),
        (b'{"id":3}', "differs", ("origin",)),
    ]
    assert lane.world.rows("SELECT * FROM notes ORDER BY id") == before


def test_a_row_that_does_not_pass_is_expected_nowhere(lane: RouteLane) -> None:
    changes = [insert(NOTES, note(1, "private")), insert(NOTES, note(2, "private"))]
    lane.apply(*changes)
    lane.world.run_sql("INSERT INTO notes (id, level) VALUES (1, 'private')")
    assert kinds(put_right(lane, NOTES, *changes)) == [(b'{"id":1}', "extra", ())]
    assert lane.world.rows("SELECT id FROM notes") == []


def test_a_missing_row_whose_part_does_not_tell_if_it_passes_is_for_the_source(lane: RouteLane) -> None:
    part = update(NOTES, {"id": 1, "body": "b", "secret": "s"}, ["level"])
    assert kinds(put_right(lane, NOTES, part)) == [(b'{"id":1}', "incomplete", ())]


def test_a_row_whose_parent_withdrew_its_consent_does_not_rise_again(lane: RouteLane) -> None:
    story = insert(STORIES, {"id": 1, "teller_id": 7, "title": "t"})
    lane.apply(insert(TELLERS, {"id": 7, "consent": "given"}), story)
    lane.world.run_sql("DELETE FROM stories")
    assert kinds(put_right(lane, STORIES, story)) == [(b'{"id":1}', "missing", ())]
    lane.apply(update(TELLERS, {"id": 7, "consent": "withdrawn"}))
    assert put_right(lane, STORIES, story) == []
    lane.apply(update(TELLERS, {"id": 7, "consent": "given"}))
    assert put_right(lane, STORIES, story) == []  # it is asked for, and comes on its own way
    lane.apply(read(STORIES, {"id": 1, "teller_id": 7, "title": "t"}))
    assert put_right(lane, STORIES, story) == []
    assert lane.world.rows("SELECT id FROM stories") == [(1,)]
