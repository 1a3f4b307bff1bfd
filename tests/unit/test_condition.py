"""Conditions that cannot be read or applied, each with a sentence that says why; and what is left possible."""

from __future__ import annotations

from uuid import UUID

import pytest

from connectors.route.condition import Column, ConditionError, columns, parse
from connectors.route.kinds import kind
from connectors.route.truth import FALSE, MISSING, NULL, TRUE, Text, bind

KINDS = {
    Column((), "level"): kind("text"),
    Column((), "count"): kind("integer"),
    Column((), "at"): kind("timestamp with time zone"),
    Column((), "flag"): kind("boolean"),
    Column((), "data"): kind("jsonb"),
    Column((), "mood"): kind("public.mood", ["glad", "sad"]),
    Column(("story", "teller"), "consent"): kind("text"),
}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "a column is expected instead of 'the end'"),
        ("level", "after level a comparison"),
        ("level = public", "a value is expected instead of 'public'; texts stand in single quotes"),
        ("level = null", "write 'is null'"),
        ("level = 'a' level", "'and', 'or' or the end is expected before 'level'"),
        ("(level = 'a'", "')' is expected instead of 'the end'"),
        ("level in ()", "a value is expected instead of ')'"),
        ("level like 'a'", "after level a comparison"),
        ("now() > 1", "after now a comparison"),
        ("level = 'a", "is not understood"),
        ("level = 'a'; drop table x", "is not understood"),
        ("not " * 60 + "level = 'a'", "more than 50"),
        ("level = '" + "x" * 4_000 + "'", "at most 4000 characters"),
    ],
)
def test_what_is_no_condition_is_refused_with_the_place(text: str, why: str) -> None:
    with pytest.raises(ConditionError) as refused:
        parse(text)
    assert why in str(refused.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("title = 'a'", "there is no column title"),
        ("consent = 'a'", "there is no column consent"),
        ("level = 5", "5 is no text: write it in single quotes"),
        ("count = 1.5", "1.5 is no integer"),
        ("count = 99999999999", "99999999999 is no integer"),
        ("count > 'a'", "'a' is no integer"),
        ("at > 'tomorrow'", "is no timestamp with time zone, such as '2026-01-31 10:00:00'"),
        ("at > '2026-02-30'", "is no timestamp with time zone"),
        ("flag = 'true'", "write true or false"),
        ("flag < true", "compared with = and <> only"),
        ("mood = 'angry'", "none of the values of public.mood: glad, sad"),
        ("data = '{}'", "only asked for null"),
    ],
)
def test_a_value_that_does_not_fit_its_column_is_refused(text: str, why: str) -> None:
    with pytest.raises(ConditionError) as refused:
        bind(parse(text), KINDS)
    assert why in str(refused.value)


def test_names_are_read_as_postgresql_reads_them() -> None:
    found = columns(parse('Level = \'a\' OR "Level" = \'b\' AND Story.Teller."Con""sent" IS NOT NULL'))
    assert found == [Column((), "level"), Column((), "Level"), Column(("story", "teller"), 'Con"sent')]


@pytest.mark.parametrize(
    ("text", "possible"),
    [
        ("level = 'a'", TRUE | FALSE | NULL),
        ("level = 'a' and count = 1", FALSE),
        ("level = 'a' or count = 2", TRUE),
        ("level is null", TRUE | FALSE),
        ("level = 'a' and flag = true", FALSE | NULL),
        ("not (level = 'a' and count = 1)", TRUE),
    ],
)
def test_what_is_not_known_leaves_no_more_open_than_it_must(text: str, possible: int) -> None:
    row: dict[str, Text] = {"count": "2", "flag": None}
    assert bind(parse(text), KINDS)(lambda column: row.get(column.name, MISSING)) == possible


@pytest.mark.parametrize(
    "type_", ["integer", "numeric", "real", "double precision", "boolean", "uuid", "date", "timestamp with time zone"]
)
def test_a_value_of_another_type_is_not_known(type_: str) -> None:
    values = {"boolean": "true", "uuid": f"'{UUID(int=1)}'", "date": "'2026-01-31'"}
    value = values.get(type_, "'2026-01-31 10:00'" if type_.startswith("timestamp") else "5")
    for sign in ("=", "<>"):
        test = bind(parse(f"level {sign} {value}"), {Column((), "level"): kind(type_)})
        assert test(lambda _: "given") == TRUE | FALSE | NULL
