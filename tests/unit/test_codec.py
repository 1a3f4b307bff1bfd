"""Envelopes that are made smaller, and marks that tell apart what JSON cannot."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.capture.catalog import key_columns
from daemon.capture.codec import Codec, Head, placeholder, without_before
from daemon.capture.pgoutput import UNCHANGED, Cell, Column, Relation
from daemon.capture.values import JSON_DEPTH, is_deep

RELATION = Relation(
    7, "public", "items", "f", (Column("id", 23, -1, True), Column("doc", 3802, -1, True), Column("big", 25, -1, True))
)
LARGE: list[Cell] = [b"1", b'{"n": 1.000000000000000000001}', b"x" * 10_000]


def codec() -> Codec:
    return Codec("primary", "db", RELATION, ["id"])


def head() -> Head:
    return Head(1, 1_000, 0, 9)


def test_a_deleted_row_that_is_too_large_is_still_a_delete_of_its_key() -> None:
    slim = without_before(codec().delete(head(), 1, 1, 1, "O", LARGE))
    value = orjson.loads(slim.value)
    assert len(slim.value) < 1_000
    assert (value["op"], value["before"], value["after"]) == ("d", {"id": 1}, None)


def test_an_update_without_the_old_row_keeps_every_digit_of_the_new_one() -> None:
    new: list[Cell] = [b"1", b'{"n": 1.000000000000000000001}', b"small"]
    record = codec().update(head(), 1, 1, 1, "O", LARGE, new)[0]
    slim = without_before(record)
    assert b'{"n": 1.000000000000000000001}' in slim.value
    assert orjson.loads(slim.value)["before"] is None


def test_the_null_of_json_is_marked_and_that_of_sql_is_not() -> None:
    json_null = codec().insert(head(), 1, 1, 1, [b"1", b"null", None])
    sql_null = codec().insert(head(), 1, 1, 1, [b"1", None, None])
    assert orjson.loads(json_null.value)["json_null"] == ["doc"]
    assert "json_null" not in orjson.loads(sql_null.value)


def test_a_placeholder_has_the_place_and_the_orders_of_what_it_stands_for() -> None:
    shared = head()
    first = orjson.loads(placeholder(codec().insert(shared, 5, 1, 9, LARGE)).value)
    second = orjson.loads(codec().insert(shared, 6, 2, 9, [b"2", None, None]).value)
    assert first["transaction"] == {"id": "9:1000", "total_order": 1, "data_collection_order": 1}
    assert second["transaction"]["data_collection_order"] == 2
    assert (first["op"], first["after"], first["source"]["ordinal"], first["ts_ms"]) == ("u", {"id": 1}, 1, 9)


def test_json_that_is_nested_deep_is_a_string_and_named() -> None:
    deep = b"[" * (JSON_DEPTH + 1) + b'"]"' + b"]" * (JSON_DEPTH + 1)
    written = codec().insert(head(), 1, 1, 1, [b"1", deep, None])
    value = orjson.loads(written.value)
    assert (value["json_text"], value["after"]["doc"]) == (["doc"], deep.decode())
    assert orjson.loads(without_before(written).value)["after"]["doc"] == deep.decode()


json_texts = st.recursive(
    st.sampled_from(['"[["', r'"\\"', r'"\"]["', "1"]),
    lambda inner: st.lists(inner, min_size=1, max_size=3).map(lambda parts: f"[{','.join(parts)}]"),
    max_leaves=20,
)


@given(json_texts, st.integers(JSON_DEPTH - 5, JSON_DEPTH + 5))
def test_depth_is_counted_outside_of_strings(inner: str, around: int) -> None:
    def depth(value: object) -> int:
        return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0

    text = "[" * around + inner + "]" * around
    assert is_deep(text.encode()) == (around + depth(orjson.loads(inner)) > JSON_DEPTH)


def relation(identity: str, logged: str, columns: str = "abc") -> Relation:
    return Relation(7, "public", "items", identity, tuple(Column(name, 23, -1, name in logged) for name in columns))


@pytest.mark.parametrize(
    ("of", "now", "known", "key"),
    [
        (relation("d", "ab"), "ba", "", "ba"),  # the order is the primary key's own
        (relation("d", "ab"), "c", "ba", "ba"),  # another key by now
        (relation("d", "ab"), "", "", "ab"),  # the table is gone
        (relation("d", ""), "a", "", ""),  # it had none
        (relation("f", "abc"), "ba", "", "ba"),
        (relation("f", "abc"), "x", "a", "a"),  # renamed since
        (relation("f", "abc"), "", "", ""),
        (relation("i", "ab"), "a", "", "a"),  # the identity covers the key, and more
        (relation("i", "b"), "a", "", "a"),
        (relation("i", "b"), "", "", "b"),
        (relation("n", ""), "a", "", "a"),
    ],
)
def test_the_record_key_is_the_primary_key_wherever_there_is_one(of: Relation, now: str, known: str, key: str) -> None:
    assert key_columns(of, tuple(now), tuple(known)) == tuple(key)


def test_an_identity_column_that_was_not_sent_is_taken_from_the_old_key() -> None:
    new: list[Cell] = [b"1", UNCHANGED, b"3"]
    record = Codec("primary", "db", relation("i", "ab"), ["a"]).update(head(), 1, 1, 1, "K", [b"1", b"2", None], new)[0]
    value = orjson.loads(record.value)
    assert (value["after"], value["before"]) == ({"a": 1, "b": 2, "c": 3}, {"a": 1, "b": 2})
