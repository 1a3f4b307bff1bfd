"""Events without a key, taken under the one that their table has by now."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from connectors.contract import Record
from connectors.errors import TableUnfit
from connectors.postgres.keyless import keyed, rekeyed
from connectors.postgres.rows import Event, decode_change
from schemas.position import START


def event(op: str, before: dict[str, Any] | None, after: dict[str, Any] | None, **more: Any) -> Event:
    value = orjson.dumps({"op": op, "before": before, "after": after, **more})
    return Event("public.t", Record("topic", 0, 0, START, b"", value), decode_change(value))


def taken(found: list[Event]) -> list[tuple[bytes, str]]:
    return [(one.key, one.change.op) for one in found]


ONE, TWO = {"a": 1, "b": "x"}, {"a": 2, "b": "x"}


def test_an_event_is_taken_under_the_columns_of_the_key_in_their_order() -> None:
    assert taken(keyed(event("c", None, ONE), ["b", "a"])) == [(b'{"b":"x","a":1}', "c")]
    assert taken(keyed(event("u", ONE, {**ONE, "b": "y"}), ["a"])) == [(b'{"a":1}', "u")]
    assert taken(keyed(event("d", ONE, None), ["a"])) == [(b'{"a":1}', "d")]


def test_a_changed_key_is_a_move() -> None:
    gone, made = keyed(event("u", ONE, TWO), ["a"])
    assert taken([gone, made]) == [(b'{"a":1}', "d"), (b'{"a":2}', "u")]
    assert (bytes(gone.change.moved_to), bytes(made.change.moved_from)) == (made.key, gone.key)


@pytest.mark.parametrize("before", [None, {"b": "x"}])
def test_a_delete_that_does_not_tell_its_row_pauses_the_table(before: dict[str, Any] | None) -> None:
    with pytest.raises(TableUnfit, match="does not tell which row"):
        keyed(event("d", before, None), ["a"])


def test_a_row_whose_key_is_null_is_none() -> None:
    nothing = {"a": None, "b": "x"}
    assert keyed(event("c", None, nothing), ["a"]) == keyed(event("d", nothing, None), ["a"]) == []
    assert taken(keyed(event("u", nothing, ONE), ["a"])) == [(b'{"a":1}', "u")]
    assert taken(keyed(event("u", ONE, nothing), ["a"])) == [(b'{"a":1}', "d")]


def test_a_row_too_large_to_publish_comes_with_the_copy() -> None:
    assert keyed(event("c", None, {}, oversize=10), ["a"]) == []


UNTOLD = (b"", "d")
"""Any row may be gone."""


def test_under_another_key_an_event_that_tells_both_rows_is_taken_whole() -> None:
    assert taken(rekeyed(event("c", None, ONE), ["a"])) == [(b'{"a":1}', "c")]
    assert taken(rekeyed(event("r", None, ONE), ["a"])) == [(b'{"a":1}', "r")]
    assert taken(rekeyed(event("u", ONE, {**ONE, "b": "y"}), ["a"])) == [(b'{"a":1}', "u")]
    assert taken(rekeyed(event("u", ONE, TWO), ["a"])) == [(b'{"a":1}', "d"), (b'{"a":2}', "u")]
    assert taken(rekeyed(event("d", ONE, None), ["a"])) == [(b'{"a":1}', "d")]


@pytest.mark.parametrize("before", [None, {"b": "x"}])
def test_under_another_key_what_does_not_tell_the_row_of_before_puts_all_in_doubt(
    before: dict[str, Any] | None,
) -> None:
    assert taken(rekeyed(event("u", before, TWO), ["a"])) == [(b'{"a":2}', "u"), UNTOLD]
    assert taken(rekeyed(event("d", before, None), ["a"])) == [UNTOLD]
    assert taken(rekeyed(event("u", before, {}, oversize=10), ["a"])) == [UNTOLD]


def test_of_a_move_under_another_key_the_half_that_has_the_row_is_taken() -> None:
    halves = {"moved_to": {"b": "y"}}, {"moved_from": {"b": "x"}}
    assert rekeyed(event("d", {"b": "x"}, None, **halves[0]), ["a"]) == []
    assert taken(rekeyed(event("c", None, {**ONE, "b": "y"}, **halves[1]), ["a"])) == [(b'{"a":1}', "c"), UNTOLD]
