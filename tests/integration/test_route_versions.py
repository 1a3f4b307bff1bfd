"""What a new version of a source's table does to conditions that name its columns, told to a sink by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from connectors.contract import NewShape
from connectors.errors import TableUnfit
from schemas.envelope import SchemaColumn
from tests.integration.apply_stream import insert, read, update
from tests.integration.route_lane import RouteLane
from tests.integration.test_route_conditions import (
    MEDIA,
    NOTES,
    STORIES,
    TELLERS,
    answer,
    asked,
    family,
    ids,
    lane,
    note,
    teller,
    without,
)

__all__ = ["lane"]


def lost(table: str, column: str) -> NewShape:
    none: frozenset[str] = frozenset()
    return NewShape(table, {}, ("id",), (), none, frozenset({column}), none, {}, key_changed=False)


def retyped(table: str, column: str, before: str, type_: str) -> NewShape:
    now = SchemaColumn(
        name=column, type=type_, type_oid=0, typmod=-1, key=False, not_null=False, default=None, existing=None
    )
    none: frozenset[str] = frozenset()
    was = {column: frozenset({before})}
    return NewShape(table, {column: now}, ("id",), (), none, none, none, was, key_changed=False)


ASKED = {
    (NOTES, "level"): (NOTES, [f"{NOTES}.where"]),
    (TELLERS, "consent"): (STORIES, [f"{STORIES}.where", f"{MEDIA}.where"]),
    (STORIES, "level"): (MEDIA, [f"{STORIES}.where", f"{MEDIA}.where"]),
    (STORIES, "teller_id"): (MEDIA, [f"{STORIES}.parents.teller", f"{MEDIA}.parents.story.teller"]),
}
"""The first table that waits, and the settings that ask for a column."""


def test_a_table_waits_when_it_loses_a_column_that_a_condition_names(lane: RouteLane) -> None:
    for (table, column), (first, settings) in ASKED.items():
        with pytest.raises(TableUnfit) as unfit:
            lane.sink.adapt(lost(table, column))
        named = " and ".join(f"targets.{lane.world.target}.tables.{setting}" for setting in settings)
        assert (unfit.value.table, f"Column {column} of {table} was" in str(unfit.value)) == (first, True)
        assert f"{named} ask" in str(unfit.value)
        assert f"placemat resume {lane.world.target} {table}" in unfit.value.try_
        assert not lane.sink.adapt(replace(lost(table, column), back=frozenset({column})))
    assert not lane.sink.adapt(lost(TELLERS, "name"))


def test_a_table_waits_when_values_that_a_condition_names_are_read_otherwise_until_init_has_seen_them(
    lane: RouteLane,
) -> None:
    with pytest.raises(TableUnfit, match=r"consent of hub\.tellers is boolean now and was text, and .* ask for it"):
        lane.sink.adapt(retyped(TELLERS, "consent", "text", "boolean"))
    assert not lane.sink.adapt(retyped(TELLERS, "consent", "text", "character varying(20)"))
    lane.world.run_sql("UPDATE placemat.source_columns SET type = 'boolean' WHERE column_name = 'consent'")
    assert not lane.sink.adapt(retyped(TELLERS, "consent", "text", "boolean"))


def test_of_a_column_that_comes_under_another_name_nothing_is_known_until_its_row_is_read(lane: RouteLane) -> None:
    family(lane)
    lane.apply(insert(NOTES, note(1)))
    lane.apply(update(TELLERS, without(teller(1), "consent")), update(NOTES, without(note(1), "level")))
    assert (ids(lane, "stories"), ids(lane, "media"), ids(lane, "notes")) == ([], [], [1])
    assert asked(lane) == [(NOTES, b'{"id":1}'), (TELLERS, b'{"id":1}')]
    answer(lane, read(TELLERS, teller(1)), read(NOTES, note(1, "private")))
    assert (asked(lane), ids(lane, "notes")) == ([(MEDIA, b'{"id":1}'), (STORIES, b'{"id":1}')], [])


# While a table is paused


def test_values_of_another_type_than_is_known_and_comes_again_say_nothing(lane: RouteLane) -> None:
    lane.world.run_sql("UPDATE placemat.source_columns SET type = 'text' WHERE column_name = 'consent'")
    family(lane)
    now = retyped(TELLERS, "consent", "text", "integer")
    assert not lane.sink.adapt(replace(now, back=frozenset({"consent"}), coming={"consent": "text"}))
    lane.apply(update(TELLERS, {"id": 1, "name": "T", "consent": "given"}))
    assert (ids(lane, "stories"), asked(lane)) == ([], [(TELLERS, b'{"id":1}')]), "whatever it reads like"
    assert not lane.sink.adapt(replace(retyped(TELLERS, "consent", "integer", "text"), coming={"consent": "text"}))
    lane.apply(update(TELLERS, teller(1)))
    assert (TELLERS, b'{"id":1}') not in asked(lane)


def test_what_is_remembered_of_a_column_is_forgotten_when_init_finds_another_type(lane: RouteLane) -> None:
    family(lane)
    lane.sink.settle_routes()
    remembered = f"SELECT fields FROM placemat.related WHERE table_name = '{TELLERS}'"
    for type_, fields in (("character varying", {"consent": "given"}), ("character", {})):
        lane.world.run_sql(f"UPDATE placemat.source_columns SET type = '{type_}' WHERE column_name = 'consent'")
        lane.sink.claim()
        lane.sink.settle_routes()
        assert lane.world.rows(remembered) == [(fields,)]


def test_every_table_whose_condition_finds_rows_by_a_changed_key_waits_and_then_the_changed_one(
    lane: RouteLane,
) -> None:
    none: frozenset[str] = frozenset()
    shape = NewShape(TELLERS, {}, ("name",), (), none, none, none, {}, key_changed=True)
    for table in (STORIES, MEDIA, TELLERS):
        with pytest.raises(TableUnfit, match=r"The key of hub\.tellers is \(name\) now and was \(id\)") as unfit:
            lane.sink.adapt(shape)
        assert unfit.value.table == table
        resumed = " && ".join(f"placemat resume {lane.world.target} {one}" for one in (TELLERS, STORIES, MEDIA))
        assert resumed in unfit.value.try_
        lane.sink.pause(table, str(unfit.value), unfit.value.try_)
        lane.sink.claim()
