"""Envelopes that are made smaller, and marks that tell apart what JSON cannot."""

from __future__ import annotations

import orjson

from daemon.capture.codec import Codec, Head, without_before
from daemon.capture.pgoutput import Cell, Column, Relation

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
