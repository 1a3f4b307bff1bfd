"""What a decision was made over, and what is said where it has left the hub as it was."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from connectors.conflicts import Decision
from daemon.conflicts.decided_over import decided_over, nothing_to_undo
from schemas.resolution import Fields

BIO = {"fields": {"a": {"bio": ['"of a"', 1, 2, None]}, "b": {"bio": [None, 1, 2], "name": ['"B"', 1, 2]}}}
DELETED = {"deletions": {"a": [1, 2]}}


def decision(over: Mapping[str, object], fields: Fields, *, keeps_row: bool = True) -> Decision:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    content = json.dumps({"revision": 1, **over})
    return Decision(
        3, 7, at, "ada", None, "public.t", '{"id":1}', "none", keeps_row, json.dumps(fields), "{}", content, '"m"',
        None, None, None,
    )  # fmt: skip


def test_what_had_waited_is_told_by_spoke() -> None:
    assert decided_over(decision(BIO, {})) == {"a": {"bio": '"of a"'}, "b": {"bio": None, "name": '"B"'}}
    assert decided_over(decision(DELETED, {})) == {"a": None}


@pytest.mark.parametrize(
    ("made", "stood", "instead"),
    [
        (decision(BIO, {"bio": None, "name": None}), "bio, name", "For what a, b had, change bio, name on either side"),
        (decision(DELETED, {}), "the row stays)", "For what a had, delete the row on either side"),
        (decision(BIO, {}, keeps_row=False), "the row stays deleted", "For what a, b had, make the row again"),
    ],
)
def test_an_undo_of_what_the_hub_had_says_why_not_and_what_to_do_instead(
    made: Decision, stood: str, instead: str
) -> None:
    error = nothing_to_undo(made)
    assert "was for what the hub had" in str(error)
    assert stood in str(error)
    assert instead in (error.try_ or "")
    assert "placemat conflicts show 7" in (error.try_ or "")
