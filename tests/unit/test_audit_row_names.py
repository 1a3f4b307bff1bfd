"""A row has a name at each database to which a route brings it, both ways or one; all are found from any one."""

from __future__ import annotations

from typing import Any

import pytest

from daemon.audit.erasing.row_names import Name, SampleOf, chosen, key_at, names, places
from daemon.config.settings import Settings
from daemon.errors import OperatorError

STORIES, TALES = "public.stories", "public.tales"
URL = "postgresql://nowhere"


def settings(*, both_ways: bool = True) -> Settings:
    """A hub with the spokes `near`, which names things otherwise, and `far`, and a copy; a third source is no part of
    that."""
    near = {"both_ways": both_ways, "table": TALES, "columns": {"id": "tale", "part": "chapter"}}
    values: dict[str, Any] = {
        "state": {"url": URL},
        "kafka": {"bootstrap_servers": "nowhere"},
        "sources": {
            "hub": {"url": URL, "tables": [STORIES, "public.notes"]},
            "near": {"url": URL, "tables": [TALES, "public.memos"]},
            "far": {"url": URL, "tables": [STORIES, "public.memos"]},
            "other": {"url": URL, "tables": [STORIES]},
        },
        "targets": {
            "near": {"url": URL, "source": "hub", "tables": {STORIES: near}},
            "far": {"url": URL, "source": "hub", "tables": {STORIES: {"both_ways": both_ways}}},
            "copy": {"url": URL, "source": "hub", "tables": {STORIES: {}, "public.notes": {"table": STORIES + "2"}}},
        },
    }
    if both_ways:
        memos = {"public.memos": {"table": "public.all_memos"}}
        back = {f"from_{name}": {"url": URL, "source": name, "tables": memos} for name in ("near", "far")}
        values["targets"] |= back
    return Settings(**values)


@pytest.mark.parametrize("both_ways", [True, False])
@pytest.mark.parametrize(("source", "entity"), [("hub", STORIES), ("near", TALES), ("far", STORIES)])
def test_every_side_is_found_from_any_other_and_no_other_source(source: str, entity: str, *, both_ways: bool) -> None:
    found = {(one.source, one.entity) for one in places(settings(both_ways=both_ways), source, entity)}
    assert found == {("hub", STORIES), ("near", TALES), ("far", STORIES), ("copy", STORIES)}
    [only] = places(settings(), "other", STORIES)
    assert (only.source, only.entity) == ("other", STORIES)


def test_where_several_tables_come_one_way_into_one_nobody_knows_whose_row_it_is() -> None:
    for source, entity in (("hub", "public.all_memos"), ("near", "public.memos"), ("far", "public.memos")):
        [only] = places(settings(), source, entity)
        assert (only.source, only.entity) == (source, entity)


@pytest.mark.parametrize(
    ("source", "entity", "given"),
    [
        ("hub", STORIES, '{"part":2,"id":"a"}'),
        ("near", TALES, '{"tale":"a","chapter":2}'),
        ("far", STORIES, '{"id":"a","part":2}'),
    ],
)
def test_a_row_is_named_as_its_records_and_as_a_hub_name_it_at_each_side(source: str, entity: str, given: str) -> None:
    sides = [side for side in places(settings(), source, entity) if side.source != "copy"]
    known: SampleOf = {
        ("hub", STORIES): '{"part":1,"id":"x"}',
        ("near", TALES): '{"tale":"x","chapter":1}',
        ("far", STORIES): '{"id":"x","part":1}',
    }
    key = key_at(sides, known, given)
    assert set(names(sides, known, key)) == {
        Name("hub", STORIES, '{"part":2,"id":"a"}'),
        Name("hub", STORIES, '{"id":"a","part":2}'),
        Name("near", TALES, '{"tale":"a","chapter":2}'),
        Name("near", TALES, '{"chapter":2,"tale":"a"}'),
        Name("far", STORIES, '{"id":"a","part":2}'),
    }


def test_a_key_is_known_from_any_side_by_the_names_of_the_one_that_was_asked() -> None:
    sides = places(settings(), "near", TALES)
    assert key_at(sides, {("far", STORIES): '{"id":1}'}, "7") == '{"tale":7}'
    with pytest.raises(OperatorError, match="it has the columns tale"):
        key_at(sides, {("far", STORIES): '{"id":1}'}, '{"id":7}')
    with pytest.raises(OperatorError, match=f"knows nothing of {TALES}"):
        key_at(sides, {("other", STORIES): '{"id":1}'}, "7")


def test_a_source_is_asked_for_only_where_several_have_such_a_table() -> None:
    assert chosen(settings(), TALES, [], None) == "near"
    assert chosen(settings(), TALES, [None, "near"], None) == "near"
    assert chosen(settings(), "public.former", ["former"], None) == "former"
    assert chosen(settings(), "public.former", [None], None) is None
    assert chosen(settings(), STORIES, [], "other") == "other"
    with pytest.raises(OperatorError, match=rf"Several sources have a table {STORIES}: hub, far, other\.") as several:
        chosen(settings(), STORIES, [], None)
    assert (several.value.exit_code, "--source" in several.value.try_) == (2, True)
    with pytest.raises(OperatorError, match="Source near has no table"):
        chosen(settings(), STORIES, [], "near")
