"""The scenario's script, and the comparison with its ledger: a value that is wrong is found wherever it stands."""

from __future__ import annotations

from random import Random
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from daemon.embedded.demo_site import RULES
from daemon.embedded.sample import sample_tables
from daemon.embedded.scenario.compare import compare_list, compare_queue, compare_rows, expected_rows, predicted_queue
from daemon.embedded.scenario.ledger import Change, Listed, Prediction, Row, Waiting, predict
from daemon.embedded.scenario.script import PLOTS, RowKey, Script, draw
from daemon.embedded.scenario.values import FIELDS

SKEW = 200
KEY: RowKey = ("storytellers", UUID(int=1))
NO_METADATA: dict[str, Any] = {"metadata": {}, "legacy_id": None}


def sample_rows() -> dict[RowKey, Row]:
    tables = {rows.table: rows.rows for rows in sample_tables(1) if rows.table in FIELDS}
    return {(table, row["id"]): {**row, **NO_METADATA} for table, rows in tables.items() for row in rows}  # type: ignore[misc]


ROWS = sample_rows()


def changes(script: Script, key: RowKey) -> list[Change]:
    return [Change(one.side, one.wave * 1_000, one.op, one.values) for one in script[key]]


@settings(deadline=None, max_examples=25)
@given(seed=some.integers(0, 1_000), count=some.integers(100, 1_200))
def test_a_tenth_of_the_rows_is_edited_in_the_same_field_and_at_most_a_twentieth_waits(seed: int, count: int) -> None:
    script, plots = draw(Random(seed), ROWS, RULES, count)
    assert plots.keys() == {plot.name for plot in PLOTS}
    assert len(script) == sum(plots.values())
    same = [
        key
        for key, steps in script.items()
        if {one.side for one in steps} == {"hub", "spoke"}
        and all(one.op == "update" for one in steps)
        and len({frozenset(one.values) for one in steps}) == 1
    ]
    assert len(same) == pytest.approx(0.1 * len(script), abs=8)
    predictions = {key: predict(ROWS.get(key), changes(script, key), RULES.get(key[0], {}), SKEW) for key in script}
    assert 0 < len(predicted_queue(predictions)) <= 0.05 * len(script)
    rules = {one.rule for of_row in predictions.values() for one in of_row.listed}
    assert rules == {"latest", "hub", "target", "manual", "merge"}


@settings(deadline=None, max_examples=10)
@given(seed=some.integers(0, 1_000))
def test_the_same_seed_draws_the_same_script(seed: int) -> None:
    assert draw(Random(seed), ROWS, RULES, 200) == draw(Random(seed), dict(reversed(ROWS.items())), RULES, 200)


@settings(deadline=None, max_examples=10)
@given(seed=some.integers(0, 1_000))
def test_what_both_sides_hold_differs_only_where_somebody_has_to_decide(seed: int) -> None:
    script, _ = draw(Random(seed), ROWS, RULES, 150)
    for key in script:
        one = predict(ROWS.get(key), changes(script, key), RULES.get(key[0], {}), SKEW)
        if not one.waiting:
            assert one.hub == one.spoke
        else:
            assert one.hub is not None
            assert one.spoke is not None
            assert {name for name in one.hub if one.hub[name] != one.spoke[name]} == {w.field for w in one.waiting}


def test_too_few_rows_are_said() -> None:
    few = dict(list(ROWS.items())[:5])
    with pytest.raises(ValueError, match="too few rows"):
        draw(Random(1), few, RULES, 100)


# The comparison


def test_a_field_that_is_damaged_is_found_in_a_row_that_nobody_has_edited_too() -> None:
    expected = {KEY: {"id": KEY[1], "name": "right"}}
    assert list(compare_rows("primary", expected, expected)) == []
    (found,) = compare_rows("primary", expected, {KEY: {"id": KEY[1], "name": "wrong"}})
    assert (found.what, found.expected, found.found) == ("name", "right", "wrong")
    (found,) = compare_rows("primary", expected, {})
    assert (found.what, found.found) == ("the row", "missing")
    (found,) = compare_rows("primary", {}, expected)
    assert (found.what, found.found) == ("the row", "there")


@pytest.mark.parametrize("found", [["a", "a", "b"], ["a"], ["a", "b", "c"], None])
def test_a_merged_set_is_compared_as_one(found: Any) -> None:
    expected = {KEY: {"themes": frozenset({"a", "b"})}}
    assert list(compare_rows("primary", expected, {KEY: {"themes": ["b", "a"]}})) == []
    assert len(list(compare_rows("primary", expected, {KEY: {"themes": found}}))) == 1


def test_a_prediction_that_is_changed_is_found() -> None:
    row = {"id": KEY[1], "bio": "a", "name": "n"}
    right = {KEY: Prediction(row, {**row, "bio": "b"}, (), (Waiting("bio", "a", "b"),))}
    hub, spoke = expected_rows({KEY: row}, right)
    wrong = {KEY: Prediction(row, {**row, "bio": "c"}, (), (Waiting("bio", "a", "c"),))}
    assert [one.what for one in compare_rows("empathy_ledger", expected_rows({KEY: row}, wrong)[1], spoke)] == ["bio"]
    assert list(compare_rows("primary", expected_rows({KEY: row}, wrong)[0], hub)) == []
    assert list(compare_queue(right, {(KEY, "bio"): "b"})) == []
    assert len(list(compare_queue(wrong, {(KEY, "bio"): "b"}))) == 1
    assert len(list(compare_queue(right, {}))) == 1
    assert len(list(compare_queue({}, {(KEY, "bio"): "b"}))) == 1


def test_a_conflict_that_is_listed_twice_or_not_or_with_another_winner_is_found() -> None:
    ours = Listed("name", "update_origin_differs", "latest", "ours")
    theirs = Listed("name", "update_origin_differs", "latest", "theirs")
    predictions = {KEY: Prediction({}, {}, (ours,))}
    assert list(compare_list(predictions, [(KEY, ours)])) == []
    assert len(list(compare_list(predictions, [(KEY, ours), (KEY, ours)]))) == 1
    assert len(list(compare_list(predictions, []))) == 1
    assert len(list(compare_list(predictions, [(KEY, theirs)]))) == 2
