"""Events without a key, taken under the one that their table has by now."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from connectors.contract import Record
from connectors.errors import TableUnfit
from connectors.postgres.keyless import keyed
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
