"""A route that is another one by now: its table is asked for once, and what passes no more leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any

import psycopg
import pytest

from connectors.contract import Destination
from connectors.postgres.pauses import Pauses
from connectors.postgres.sink import PostgresSink
from daemon.apply.worker import ApplyWorker
from daemon.config import Masking, Route, Settings
from daemon.routes import routings
from tests.fix_servers import Kafka
from tests.integration.apply_stream import Running, World, insert, read
from tests.waiting import until

DDL = """
CREATE TABLE items (id int PRIMARY KEY, n int, note text, mark text DEFAULT 'none');
CREATE TABLE notes (id int PRIMARY KEY, item_id int, n int);
CREATE TABLE others (LIKE items INCLUDING ALL);
"""
ITEMS, NOTES = "public.items", "public.notes"
TYPES = """
INSERT INTO placemat.source_columns (source, table_name, column_name, type, key_column) VALUES
('{0}', 'public.items', 'n', 'integer', NULL), ('{0}', 'public.items', 'note', 'text', NULL),
('{0}', 'public.notes', 'item_id', 'integer', 'id')
"""
"""As `placemat init` finds them."""
BELOW = {"where": "item.n = 1", "parents": {"item": ITEMS}}
KEY, OTHER_KEY = "a key that only tests have", "another key for the same columns"
Routes = Mapping[str, dict[str, Any]]


@pytest.fixture
def world(kafka_server: Kafka, database_factory: Callable[[str], str]) -> World:
    found = World(kafka_server, database_factory("target"), DDL, {ITEMS: {}, NOTES: {}})
    found.run_sql(TYPES.format(found.source))
    return found


def settings(world: World, routes: Routes, key: str = KEY) -> Settings:
    tables = {table: Route.model_validate(route) for table, route in routes.items()}
    target = world.settings.targets[world.target].model_copy(update={"tables": tables})
    masking = Masking.model_validate({"key": key})
    return world.settings.model_copy(update={"targets": {world.target: target}, "masking": masking})


def follow(world: World, routes: Routes) -> Running:
    return Running(ApplyWorker(settings(world, routes), world.target, PostgresSink, "one"))


def told(world: World, routes: Routes, key: str = KEY, *, settle: bool = True) -> dict[str, str]:
    """The tables that a worker with these routes asks for, with its advice for each."""
    found = routings(settings(world, routes, key), world.target)
    with closing(PostgresSink(Destination(world.target, world.url, world.source, found))) as sink:
        sink.claim()
        asked = {one.table: one.advice for one in sink.rerouted()}
        if settle:
            sink.settle_routes()
    return asked


def requests(world: World) -> list[str]:
    return [one["table"] for one in world.requested()]


@pytest.fixture
def pauses(world: World) -> Iterator[Pauses]:
    with psycopg.connect(world.url, autocommit=True) as connection:
        yield Pauses(connection, world.target, world.source)


def test_a_narrowed_condition_is_applied_to_rows_that_were_there_without_anybody_asking(world: World) -> None:
    rows = [{"id": number, "n": number, "note": "a", "mark": "m"} for number in range(6)]
    first = follow(world, {ITEMS: {}})
    world.stream.transaction(*(insert(ITEMS, row) for row in rows))
    world.applied_through()
    first.stop()
    assert requests(world) == []
    second = follow(world, {ITEMS: {"where": "n < 3 and note = 'a'"}})
    until(lambda: requests(world) == ["items"], what="a request for the whole table")
    world.stream.transaction(*(read(ITEMS, row) for row in rows), kind="snapshot")
    world.applied_through()
    second.stop()
    assert world.rows("SELECT id FROM items ORDER BY id") == [(0,), (1,), (2,)]
    assert (first.failure, second.failure) == (None, None)
    assert (requests(world), told(world, {ITEMS: {"where": "n<3  AND note = 'a'"}})) == (["items"], {})


def test_a_table_that_was_needed_only_as_a_parent_is_asked_for_once_it_is_routed(world: World) -> None:
    first = follow(world, {NOTES: BELOW})
    world.stream.transaction(insert(ITEMS, {"id": 1, "n": 1, "note": "a", "mark": "m"}))
    world.stream.transaction(insert(NOTES, {"id": 1, "item_id": 1, "n": 0}))
    world.applied_through()
    first.stop()
    assert (world.rows("SELECT id FROM notes"), world.rows("SELECT id FROM items")) == ([(1,)], [])
    second = follow(world, {NOTES: BELOW, ITEMS: {}})
    until(lambda: requests(world) == ["items"], what="a request for the whole table")
    second.stop()
    assert (first.failure, second.failure) == (None, None)


MATTERS: dict[str, tuple[dict[str, Any], str]] = {
    "a condition": ({"where": "n > 1"}, "then: placemat verify public.items"),
    "a column left out": ({"exclude": ["note"]}, 'UPDATE "public"."items" SET "note" = DEFAULT'),
    "a dropped column": ({"masks": {"note": "drop"}}, 'UPDATE "public"."items" SET "note" = DEFAULT'),
    "another name": ({"columns": {"note": "mark"}, "exclude": ["mark"]}, "then: placemat verify"),
    "another table": ({"table": "public.others"}, 'TRUNCATE "public"."items"'),
    "a constant": ({"exclude": ["mark"], "constants": {"mark": "m"}}, "then: placemat verify"),
    "a mask": ({"masks": {"note": {"truncate": 3}}}, "then: placemat verify"),
    "a hash": ({"masks": {"note": "hash"}}, "then: placemat verify"),
}


def test_what_makes_other_rows_is_asked_for_until_that_is_kept(world: World) -> None:
    assert told(world, {ITEMS: {}}) == {}, "a target that has kept nothing takes the route as it is"
    for case, (route, advice) in MATTERS.items():
        assert list(told(world, {ITEMS: route}, settle=False)) == [ITEMS], case
        assert advice in told(world, {ITEMS: route})[ITEMS], case
        assert told(world, {ITEMS: route}) == {}, case
        assert list(told(world, {ITEMS: {}})) == [ITEMS], case
    assert told(world, {ITEMS: {"local": ["mark"], "truncate": "stop"}}) == {}, "these make no other rows"
    hashed: Routes = {ITEMS: {"masks": {"note": "hash"}}}
    assert [list(told(world, hashed, key)) for key in (KEY, KEY, OTHER_KEY)] == [[ITEMS], [], [ITEMS]]
    assert KEY not in str(world.rows("SELECT * FROM placemat.routes"))


def test_a_parent_is_asked_for_too_when_a_condition_asks_more_of_it(world: World) -> None:
    told(world, {NOTES: BELOW})
    wider = {**BELOW, "where": "item.n = 1 and item.note = 'a'"}
    assert list(told(world, {NOTES: wider})) == [ITEMS, NOTES]
    assert list(told(world, {NOTES: BELOW})) == [NOTES]


def test_a_column_of_a_condition_that_has_another_type_has_its_table_asked_for(world: World) -> None:
    routes: Routes = {NOTES: BELOW, ITEMS: {"where": "note = 'a'"}}
    told(world, routes)
    world.run_sql("UPDATE placemat.source_columns SET type = 'bigint' WHERE column_name = 'n'")
    assert list(told(world, routes)) == [ITEMS], "of the parent"
    world.run_sql("UPDATE placemat.source_columns SET type = 'character varying' WHERE column_name = 'note'")
    assert list(told(world, routes)) == [ITEMS], "of its own"


def test_what_was_remembered_for_a_condition_goes_with_it(world: World) -> None:
    told(world, {NOTES: BELOW, ITEMS: {}})
    world.run_sql(
        "INSERT INTO placemat.related (source, table_name, name, key, fields, links)"
        f" SELECT '{world.source}', tab, '1', '1', '{{}}', '{{}}' FROM unnest(ARRAY['{ITEMS}', '{NOTES}']) AS tab"
    )
    assert list(told(world, {NOTES: {}, ITEMS: {}})) == [NOTES]
    assert world.rows("SELECT * FROM placemat.related") == []


def test_a_paused_table_and_the_children_of_a_parent_that_lacks_a_column_wait_until_it_is_back(
    world: World, pauses: Pauses
) -> None:
    told(world, {NOTES: BELOW})
    wider: Routes = {NOTES: {**BELOW, "where": "item.note = 'a'"}}
    found = routings(settings(world, wider), world.target)
    with closing(PostgresSink(Destination(world.target, world.url, world.source, found))) as sink:
        sink.claim()
        sink.pause(ITEMS, "a", "b")
        sink.claim()
        assert sink.rerouted() == []
        sink.settle_routes()
        pauses.resume(ITEMS)
        sink.claim()
        assert sink.rerouted() == []
        sink.rejoin(ITEMS)
        sink.claim()
        assert [one.table for one in sink.rerouted()] == [ITEMS, NOTES]
