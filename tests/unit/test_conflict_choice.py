"""What a person asks for, and what shall stand then."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from daemon.cli.conflict_wish import Asked
from daemon.conflicts.choice import Wish, choose
from daemon.conflicts.titles import label, title
from daemon.errors import OperatorError
from daemon.resolve.conflict import Candidate, Deletion, OpenConflict
from daemon.resolve.decision import Hub
from daemon.resolve.interval import at
from daemon.resolve.override import Choice
from daemon.resolve.ruling import Case
from daemon.resolve.state import RowState
from daemon.resolve.values import Row
from schemas.position import START

ROW: Row = {"id": '"1"', "name": '"ours"', "note": '"ours"', "tags": "[1]"}


def case(fields: Mapping[str, Mapping[str, str]], *, deleted: tuple[str, ...] = (), row: Row | None = ROW) -> Case:
    own = {
        spoke: {name: Candidate(f'"{value}"', at(1)) for name, value in some.items()} for spoke, some in fields.items()
    }
    conflict = OpenConflict(1, own, {spoke: Deletion(at(1)) for spoke in deleted})
    state = RowState(alive=row is not None, values={} if row is not None else ROW)
    return Case(Hub(row, state, START, START, conflict), {})


BOTH = {"a": {"name": "of a", "note": "of a"}, "b": {"name": "of b"}}


def test_a_side_stands_for_all_that_waits_and_has_the_hubs_value_where_it_has_none_of_its_own() -> None:
    assert choose(case(BOTH), Wish("hub")) == Choice({"name": '"ours"', "note": '"ours"'})
    assert choose(case(BOTH), Wish("a")) == Choice({"name": '"of a"', "note": '"of a"'})
    assert choose(case(BOTH), Wish("b")) == Choice({"name": '"of b"', "note": '"ours"'})


def test_a_field_goes_before_the_side_and_a_value_before_both() -> None:
    wish = Wish("a", {"name": "b"}, {"note": None, "tags": "[2]"})
    assert choose(case(BOTH), wish) == Choice({"name": '"of b"', "note": None, "tags": "[2]"})


def test_every_field_that_waits_has_to_be_decided() -> None:
    with pytest.raises(OperatorError, match="Field note is not decided"):
        choose(case(BOTH), Wish(sides={"name": "b"}))


@pytest.mark.parametrize(
    ("wish", "sentence"),
    [
        (Wish("c"), "c has nothing in this conflict"),
        (Wish("hub", {"tags": "hub"}), "Field tags does not wait"),
        (Wish(row=False, values={"name": None}), "The row is to go"),
    ],
)
def test_what_cannot_be_meant_is_refused(wish: Wish, sentence: str) -> None:
    with pytest.raises(OperatorError, match=sentence) as refused:
        choose(case(BOTH), wish)
    assert refused.value.exit_code == 2


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        (Wish("hub"), Choice({})),
        (Wish(row=True), Choice({})),
        (Wish("a"), Choice({}, row=False)),
        (Wish(row=False), Choice({}, row=False)),
        (Wish(values={"name": '"new"'}), Choice({"name": '"new"'})),
    ],
)
def test_a_row_that_a_spoke_has_deleted_stays_or_goes(wish: Wish, expected: Choice) -> None:
    assert choose(case({}, deleted=("a",)), wish) == expected


def test_whether_a_deleted_row_stays_has_to_be_said() -> None:
    with pytest.raises(OperatorError, match="one side has deleted it"):
        choose(case({}, deleted=("a",)), Wish())
    with pytest.raises(OperatorError, match="one side has deleted it"):
        choose(case(BOTH, row=None), Wish())


def test_a_row_that_the_hub_has_deleted_comes_back_as_a_spoke_has_it_or_not_at_all() -> None:
    alone = {"a": {"name": "of a"}}
    assert choose(case(alone, row=None), Wish("a")) == Choice({"name": '"of a"'})
    assert choose(case(alone, row=None), Wish(row=True)) == Choice({"name": '"of a"'})
    assert choose(case(alone, row=None), Wish("hub")) == Choice({}, row=False)
    with pytest.raises(OperatorError, match="is not decided"):
        choose(case(BOTH, row=None), Wish(row=True))


@pytest.mark.parametrize(
    ("asked", "bulk"),
    [
        (Asked(), False),
        (Asked(take=("hub", "a")), False),
        (Asked(take=("name=a",)), True),
        (Asked(values=("name=x",)), True),
        (Asked(take=("hub",), nulls=("name",)), True),
    ],
)
def test_words_that_say_too_little_or_too_much_are_refused(asked: Asked, bulk: bool) -> None:
    with pytest.raises(OperatorError) as refused:
        asked.check(bulk=bulk)
    assert refused.value.exit_code == 2


def test_a_row_is_named_by_the_routes_column_or_by_the_first_that_names_things() -> None:
    row = {"id": '"1"', "name": '"Ruth"', "title": '""', "code": "7"}
    assert title(row, None) == "Ruth"
    assert title(row, "code") == "7"
    assert title({"id": '"1"', "name": None}, None) is None
    assert label("cultural_background") == "Cultural background"
