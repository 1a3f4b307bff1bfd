"""What the scenario's ledger says of small cases, each written down by hand from section 7 of the design."""

from __future__ import annotations

from typing import Any

import pytest

from daemon.embedded.scenario.ledger import Change, Listed, Prediction, Row, Rule, Side, Waiting, decide, predict

SKEW = 200
BASE: Row = {"id": 1, "name": "as it was", "bio": "as it was", "themes": ["land", "water"]}


def hub(at: int, **values: Any) -> Change:
    return Change("hub", at, "update", values)


def spoke(at: int, **values: Any) -> Change:
    return Change("spoke", at, "update", values)


def gone(side: Side, at: int) -> Change:
    return Change(side, at, "delete", {})


def said(*changes: Change, base: Row | None = BASE, **rules: Rule) -> Prediction:
    return predict(base, sorted(changes, key=lambda one: one.at), rules, SKEW)


def on_both(row: Row | None, *listed: Listed) -> Prediction:
    return Prediction(row, row, listed)


def test_what_one_side_has_changed_is_on_both_whatever_the_rule() -> None:
    for rule in ("latest", "hub", "target", "manual", "merge"):
        assert said(hub(1, name="ours"), name=rule) == on_both({**BASE, "name": "ours"})
        assert said(spoke(1, name="theirs"), name=rule) == on_both({**BASE, "name": "theirs"})


def test_the_last_of_several_changes_by_one_side_counts() -> None:
    assert said(spoke(1, name="first"), spoke(900, name="second")) == on_both({**BASE, "name": "second"})


def test_different_fields_and_equal_values_do_not_conflict() -> None:
    assert said(hub(1, name="ours"), spoke(1, bio="theirs")) == on_both({**BASE, "name": "ours", "bio": "theirs"})
    assert said(hub(1, name="same"), spoke(900, name="same"), name="manual") == on_both({**BASE, "name": "same"})


@pytest.mark.parametrize(
    ("ours", "theirs", "won"),
    [(1_000, 1_201, "theirs"), (1_000, 1_200, "ours"), (1_000, 1_000, "ours"), (1_200, 1_000, "ours"),
     (9_000, 1_000, "ours")],
)  # fmt: skip
def test_latest_takes_the_spokes_value_only_if_it_is_later_by_more_than_the_skew(
    ours: int, theirs: int, won: Any
) -> None:
    value = {"ours": "the hub's", "theirs": "the spoke's"}[won]
    expected = on_both({**BASE, "name": value}, Listed("name", "update_origin_differs", "latest", won))
    assert said(hub(ours, name="the hub's"), spoke(theirs, name="the spoke's")) == expected


def test_fixed_rules_take_their_side_whatever_the_time() -> None:
    fixed: tuple[tuple[Rule, str, Any], ...] = (("hub", "a", "ours"), ("target", "b", "theirs"))
    for rule, value, won in fixed:
        for times in ((1, 9_000), (9_000, 1)):
            found = said(hub(times[0], name="a"), spoke(times[1], name="b"), name=rule)
            assert found == on_both({**BASE, "name": value}, Listed("name", "update_origin_differs", rule, won))


def test_merge_keeps_what_either_side_added_and_takes_out_what_either_side_removed() -> None:
    found = said(hub(1, themes=["land", "fire"]), spoke(2, themes=["water", "sky"]), themes="merge")
    assert found.hub == found.spoke == {**BASE, "themes": frozenset({"fire", "sky"})}
    assert found.listed == (Listed("themes", "update_origin_differs", "merge", None),)


def test_a_manual_field_waits_as_it_is_on_each_side_and_nothing_else_waits_with_it() -> None:
    found = said(hub(1, bio="a", name="new"), spoke(9_000, bio="b"), bio="manual")
    assert found.hub == {**BASE, "bio": "a", "name": "new"}
    assert found.spoke == {**BASE, "bio": "b", "name": "new"}
    assert found.waiting == (Waiting("bio", "a", "b"),)
    assert found.listed == (Listed("bio", "update_origin_differs", "manual", None),)


def test_a_person_takes_a_side_or_gives_a_value() -> None:
    found = said(hub(1, bio="a"), spoke(1, bio="b"), bio="manual")
    assert decide(found, "hub") == {**BASE, "bio": "a"}
    assert decide(found, "spoke") == {**BASE, "bio": "b"}
    assert decide(found, {"bio": "c"}) == {**BASE, "bio": "c"}


def test_a_row_that_one_side_deleted_and_nobody_changed_is_gone() -> None:
    for changes in ((gone("hub", 1),), (gone("spoke", 1),), (gone("hub", 1), gone("spoke", 900))):
        assert said(*changes) == on_both(None)


def test_a_deletion_in_the_spoke_wins_only_if_it_is_surely_later_than_the_hubs_edit() -> None:
    kind, edited = "delete_origin_differs", {**BASE, "name": "edited"}
    assert said(hub(1, name="edited"), gone("spoke", 202)) == on_both(None, Listed(None, kind, "latest", "theirs"))
    for at in (201, 1):
        kept = said(hub(1, name="edited"), gone("spoke", at))
        assert kept == on_both(edited, Listed(None, kind, "latest", "ours"))


def test_an_edit_in_the_spoke_brings_a_row_back_only_if_it_is_surely_later_than_the_hubs_deletion() -> None:
    back = {**BASE, "name": "edited"}
    later = said(gone("hub", 1), spoke(202, name="edited"))
    assert later == on_both(back, Listed(None, "update_deleted", "latest", "theirs"))
    for at in (201, 1):
        lost = said(gone("hub", 1), spoke(at, name="edited"))
        assert lost == on_both(None, Listed(None, "update_deleted", "latest", "ours"))


def test_a_deletion_against_an_edit_of_a_manual_field_waits_as_a_row() -> None:
    found = said(hub(1, bio="edited"), gone("spoke", 9_000), bio="manual")
    row = {**BASE, "bio": "edited"}
    assert (found.hub, found.spoke) == (row, None)
    assert found.waiting == (Waiting(None, row, None),)
    assert decide(found, "hub") == row
    assert decide(found, "spoke") is None


def test_new_rows_are_on_both_sides_and_of_the_same_key_the_rule_decides() -> None:
    ours, theirs = {"id": 2, "bio": "a"}, {"id": 2, "bio": "b"}
    born = Change("hub", 1, "insert", ours), Change("spoke", 900, "insert", theirs)
    assert said(born[0], base=None) == on_both(ours)
    assert said(born[1], base=None) == on_both(theirs)
    found = said(*born, base=None, bio="hub")
    assert found == on_both(ours, Listed("bio", "insert_exists", "hub", "ours"))
    waits = said(*born, base=None, bio="manual")
    assert waits.waiting == (Waiting("bio", "a", "b"),)
