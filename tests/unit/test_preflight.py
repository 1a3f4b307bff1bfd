"""What a target's column can hold, and the order in which tables are copied."""

from __future__ import annotations

import pytest

from connectors.postgres.shape import Column, holds
from daemon.capture.provision import depths


def column(type_: str, labels: list[str] | None = None, base: str | None = None) -> Column:
    return Column("c", type_, not_null=False, filled=False, generated=False, labels=labels, base=base)


@pytest.mark.parametrize(
    ("source", "target", "fits"),
    [
        ("text", "text", True),
        ("integer", "bigint", True),
        ("bigint", "integer", False),
        ("smallint", "numeric", True),
        ("integer", "numeric(4,0)", False),
        ("character varying(20)", "text", True),
        ("character varying(20)", "character varying(40)", True),
        ("character varying(20)", "character varying(10)", False),
        ("character varying(20)", "character varying", True),
        ("text", "character varying(20)", False),
        ("text", "character varying", True),
        ("character(3)", "character(5)", False),
        ("numeric(14,2)", "numeric(16,2)", True),
        ("numeric(14,2)", "numeric(14,3)", False),
        ("numeric(14,2)", "numeric(12,2)", False),
        ("numeric(14,2)", "numeric", True),
        ("numeric", "numeric(14,2)", False),
        ("timestamp(3) with time zone", "timestamp with time zone", True),
        ("timestamp with time zone", "timestamp(3) with time zone", False),
        ("timestamp with time zone", "timestamp without time zone", False),
        ("real", "double precision", True),
        ("jsonb", "json", False),
        ("text[]", "text", False),
        ("integer[]", "bigint[]", False),
    ],
)
def test_a_column_holds_what_comes_unchanged(source: str, target: str, fits: bool) -> None:
    assert holds(column(target), column(source)) is fits


def test_an_enum_holds_one_with_no_label_of_its_own() -> None:
    source = column("public.mood", ["sad", "glad"])
    assert holds(column("public.mood", ["glad", "sad", "calm"]), source)
    assert not holds(column("public.mood", ["glad"]), source)
    assert not holds(column("public.temper", ["sad", "glad"]), source)
    assert holds(column("text"), source)
    assert not holds(column("integer"), source)


def test_a_domain_fits_where_the_type_under_it_does_and_not_the_other_way_round() -> None:
    source = column("public.short", base="character varying(5)")
    assert holds(column("public.short", base="character varying(5)"), source)
    assert holds(column("text"), source)
    assert holds(column("character varying(5)"), source)
    assert not holds(column("character varying(4)"), source)
    assert not holds(column("public.long", base="text"), source)
    assert not holds(source, column("character varying(5)"))


def test_a_domain_over_an_enum_is_held_by_its_labels() -> None:
    source = column("public.level", ["sad", "glad"], base="public.mood")
    assert holds(column("public.level", ["glad", "sad"], base="public.mood"), source)
    assert holds(column("public.mood", ["sad", "glad", "calm"]), source)
    assert not holds(column("public.mood", ["glad"]), source)
    assert holds(column("text"), source)


def test_a_table_is_deeper_than_all_its_parents() -> None:
    keys = [("media", "stories"), ("stories", "people"), ("stories", "stories"), ("stories", "elsewhere")]
    assert depths(["media", "notes", "stories", "people"], keys) == {"notes": 0, "people": 0, "stories": 1, "media": 2}


def test_a_cycle_comes_before_what_refers_to_it() -> None:
    keys = [("a", "b"), ("b", "a"), ("c", "a")]
    found = depths(["c", "b", "a"], keys)
    assert found["a"] < found["c"]
