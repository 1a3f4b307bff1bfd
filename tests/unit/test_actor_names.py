"""Who caused an event, from what is known of its transaction and of its row."""

from __future__ import annotations

import pytest

from daemon.actors import LONGEST_NAME, UNKNOWN, actor, name_of


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ("ada", "ada"),
        ("  Grace Hopper\n", "Grace Hopper"),
        ('{"actor": "ada", "request": 7}', "ada"),
        ('{"actor": " "}', None),
        ('{"actor": 7}', None),
        ('{"who": "ada"}', None),
        ("{not json", "{not json"),
        ("", None),
        ("a\x00b\x1b[31m", "a b [31m"),
        ("x" * 1_000, "x" * LONGEST_NAME),
    ],
)
def test_a_name_is_a_text_or_the_actor_of_an_object(content: str, name: str | None) -> None:
    assert name_of(content) == name


def test_the_newest_message_before_a_row_names_who_changed_it_and_the_first_one_what_stands_before_all() -> None:
    named = [(2, "ada"), (5, "grace")]
    assert [actor(named, ordinal) for ordinal in (1, 3, 4, 6, 9)] == ["ada", "ada", "ada", "grace", "grace"]


def test_a_column_tells_where_the_application_does_not() -> None:
    row = {"id": 1, "updated_by": "grace", "none": None, "number": 7}
    assert actor([(1, "ada")], 2, "u", row, "updated_by") == "ada"
    assert actor([], 2, "u", row, "updated_by") == "grace"
    assert actor([], 2, "u", row, "number") == "7"
    for column in ("none", "not_sent", None):
        assert actor([], 2, "u", row, column) == UNKNOWN


def test_a_deleted_row_does_not_tell_who_deleted_it() -> None:
    assert actor([], 2, "d", {"updated_by": "grace"}, "updated_by") == UNKNOWN
    assert actor([(1, "ada")], 2, "d", {"updated_by": "grace"}, "updated_by") == "ada"
