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
from daemon.config.masking import Masking
from daemon.config.route import Route
from daemon.config.settings import Settings
from daemon.routes import routings
from tests.fix_servers import Kafka
from tests.integration.apply_stream import Running, World, insert, read, update
from tests.waiting import until

DDL = """
CREATE TABLE items (id int PRIMARY KEY, n int, note text, mark text DEFAULT 'none');
CREATE TABLE notes (id int PRIMARY KEY, item_id int, n int);
CREATE TABLE others (LIKE items INCLUDING ALL);
"""
ITEMS, NOTES, OTHERS = "public.items", "public.notes", "public.others"
TYPES = """
INSERT INTO placemat.source_columns (source, table_name, column_name, type, key_column) VALUES
('{0}', 'public.items', 'n', 'integer', NULL), ('{0}', 'public.items', 'note', 'text', NULL),
('{0}', 'public.items', 'mark', 'text', NULL),
('{0}', 'public.notes', 'item_id', 'integer', 'id'),
('{0}', 'public.notes', 'id', 'integer', NULL), ('{0}', 'public.notes', 'n', 'integer', NULL),
('{0}', 'public.others', 'n', 'integer', 'id')
"""
"""As `placemat init` finds them."""
BELOW = {"where": "item.n = 1", "parents": {"item": ITEMS}}
OTHERWISE = {**BELOW, "where": "item.n = 2 or item.note = 'a'"}
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
    "only some columns": ({"only": ["id", "n"]}, 'SET "mark" = DEFAULT, "note" = DEFAULT'),
    "another name": ({"columns": {"note": "mark"}, "exclude": ["mark"]}, "then: placemat verify"),
    "another table": ({"table": "public.others"}, 'TRUNCATE "public"."items"; then'),
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


def pause(world: World, routes: Routes, table: str) -> None:
    found = routings(settings(world, routes), world.target)
    with closing(PostgresSink(Destination(world.target, world.url, world.source, found))) as sink:
        sink.claim()
        sink.pause(table, "a", "b")


def test_rows_that_another_route_told_while_their_table_waited_are_told_anew_by_the_one_that_is_back(
    world: World, pauses: Pauses
) -> None:
    first = follow(world, {NOTES: BELOW})
    for number, note in (1, "b"), (2, "a"):
        world.stream.transaction(insert(ITEMS, {"id": number, "n": number, "note": note, "mark": "m"}))
        world.stream.transaction(insert(NOTES, {"id": number, "item_id": number, "n": 0}))
    world.applied_through()
    first.stop()
    assert world.rows("SELECT id FROM notes") == [(1,)]
    pause(world, {NOTES: BELOW}, ITEMS)
    second = follow(world, {NOTES: OTHERWISE})
    world.stream.transaction(*(update(NOTES, {"id": number, "item_id": number, "n": 5}) for number in (1, 2)))
    world.applied_through()
    second.stop()
    assert requests(world) == []
    pauses.resume(ITEMS)
    third = follow(world, {NOTES: BELOW})
    until(lambda: requests(world) == ["notes"], what="a request for the whole table")
    world.stream.transaction(*(read(NOTES, {"id": number, "item_id": number, "n": 5}) for number in (1, 2)))
    world.applied_through()
    third.stop()
    assert world.rows("SELECT id FROM notes") == [(1,)]
    assert (first.failure, second.failure, third.failure) == (None, None, None)


def test_a_paused_table_that_two_routes_have_told_is_asked_for_when_it_is_back(world: World, pauses: Pauses) -> None:
    told(world, {ITEMS: {"where": "n = 1"}})
    pause(world, {ITEMS: {"where": "n = 1"}}, ITEMS)
    assert told(world, {ITEMS: {"where": "n = 2"}}) == {}
    assert told(world, {ITEMS: {"where": "n = 1"}}) == {}
    rejoin(world, {ITEMS: {"where": "n = 1"}}, pauses)
    assert list(told(world, {ITEMS: {"where": "n = 1"}})) == [ITEMS]
    assert told(world, {ITEMS: {"where": "n = 1"}}) == {}


def test_what_was_not_remembered_for_a_while_is_not_known_when_its_table_is_back(world: World, pauses: Pauses) -> None:
    wider: Routes = {NOTES: {**BELOW, "where": "item.n = 1 and item.note = 'a'"}}
    told(world, wider)
    pause(world, wider, ITEMS)
    other: Routes = {NOTES: {**BELOW, "where": "item.n = 1 and item.mark = 'm'"}}
    assert list(told(world, other)) == []
    assert list(told(world, wider)) == []
    rejoin(world, wider, pauses)
    assert list(told(world, wider)) == [ITEMS, NOTES]


def rejoin(world: World, routes: Routes, pauses: Pauses) -> None:
    pauses.resume(ITEMS)
    found = routings(settings(world, routes), world.target)
    with closing(PostgresSink(Destination(world.target, world.url, world.source, found))) as sink:
        sink.claim()
        sink.rejoin(ITEMS)


def levels(notes: str, others: str) -> Routes:
    above = {"note_row": {"table": NOTES, "column": "n"}}
    return {OTHERS: {"where": others, "parents": above}, NOTES: {**BELOW, "where": notes}}


GROWN = levels("item.note = 'a'", "note_row.n = 1 and note_row.id = 1")


def test_parents_are_asked_for_first_in_whatever_order_the_configuration_names_them(world: World) -> None:
    told(world, levels("item.n = 1", "note_row.n = 1"))
    assert list(told(world, GROWN)) == [ITEMS, NOTES, OTHERS]


def test_grandchildren_wait_too_while_a_table_above_them_lacks_a_column(world: World) -> None:
    before = levels("item.n = 1", "note_row.n = 1")
    told(world, before)
    pause(world, before, ITEMS)
    assert told(world, GROWN) == {}


SWAPPED: tuple[Routes, Routes] = (
    {ITEMS: {"table": "public.items"}, NOTES: {"table": "public.others"}},
    {ITEMS: {"table": "public.others"}, NOTES: {"table": "public.items"}},
)


def test_no_advice_empties_a_table_that_another_route_writes(world: World) -> None:
    told(world, SWAPPED[0])
    advice = told(world, SWAPPED[1])
    assert list(advice) == [ITEMS, NOTES]
    assert not any(word in text for word in ("TRUNCATE", "DELETE FROM") for text in advice.values()), advice
    assert "placemat snapshot public.notes --delete-gone" in advice[ITEMS]


def test_no_advice_overwrites_what_the_target_kept_for_itself(world: World) -> None:
    told(world, {ITEMS: {"local": ["note"]}})
    assert told(world, {ITEMS: {"exclude": ["note"]}}) == {ITEMS: "then: placemat verify public.items"}
    assert told(world, {ITEMS: {"local": ["note"]}}) == {ITEMS: "then: placemat verify public.items"}


def test_the_advice_on_what_is_left_behind_can_be_pasted(world: World) -> None:
    world.run_sql("CREATE TABLE below (id int PRIMARY KEY REFERENCES items); ALTER TABLE items ALTER note SET NOT NULL")
    told(world, {ITEMS: {}})
    assert "note is NOT NULL and has no default" in told(world, {ITEMS: {"exclude": ["note"]}})[ITEMS]
    told(world, {ITEMS: {}})
    moved = told(world, {ITEMS: {"table": "public.others"}})[ITEMS]
    assert 'once no row of public.below refers to them: DELETE FROM "public"."items"; then' in moved


def test_a_digest_that_targets_keep_is_made_as_ever_since_another_copies_every_table_once_more(world: World) -> None:
    told(world, {ITEMS: {"where": "n = 1 and note = 'a'"}})
    digest = "b52f7fb1f879d67eda716fff95280037455fd44e661f357e4aa924864a286f3f"
    assert world.rows("SELECT digest FROM placemat.routes") == [(digest,)]
