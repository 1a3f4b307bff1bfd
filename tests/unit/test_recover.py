"""What a replay knows without servers: windows, and what the events of a key come to."""

from __future__ import annotations

import json
from typing import Any

import pytest

from connectors.postgres.rows import decode_change
from daemon.errors import OperatorError
from daemon.recover.contents import overlay, partial
from daemon.recover.store import KeyStore, Seen
from daemon.recover.window import Beginning, Commit, Moment, Record, parse_end, parse_start


def event(after: dict[str, Any] | None, op: str = "u", **more: Any) -> bytes:
    return json.dumps({"op": op, "before": None, "after": after, **more}, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("beginning", Beginning()),
        ("1970-01-01T00:00:01.5Z", Moment(1_500_000)),
        ("1970-01-01T10:00:01+10:00", Moment(1_000_000)),
        ("16/B374D848", Commit(0x16B374D848)),
        ("offset:3:17", Record(3, 17)),
    ],
)
def test_a_start_is_read_in_every_form(text: str, meant: object) -> None:
    assert parse_start(text) == meant


@pytest.mark.parametrize("text", ["2026-03-01T09:00", "yesterday", "offset:3", "0/", "16/B374D84800", ""])
def test_what_is_no_start_or_lacks_its_time_zone_is_refused(text: str) -> None:
    for parse in (parse_start, parse_end):
        with pytest.raises(OperatorError) as refused:
            parse(text)
        assert refused.value.exit_code == 2


def test_nothing_ends_at_the_beginning() -> None:
    with pytest.raises(OperatorError):
        parse_end("beginning")


def test_a_part_over_a_whole_row_is_a_whole_row() -> None:
    whole = overlay(event({"id": 1, "a": 1, "b": {"x": [1.50]}}), event({"id": 1, "a": 2}, unchanged=["b"]))
    change = decode_change(whole)
    assert change.complete
    assert {name: bytes(raw) for name, raw in (change.after or {}).items()} == {
        "id": b"1", "a": b"2", "b": b'{"x":[1.5]}',
    }  # fmt: skip


def test_parts_make_a_whole_once_every_column_has_come() -> None:
    first = event({"id": 1, "a": 1}, unchanged=["b", "c"])
    second = overlay(first, event({"id": 1, "b": 2}, unchanged=["a", "c"]))
    assert partial(second)
    assert not partial(overlay(second, event({"id": 1, "c": 3}, unchanged=["a", "b"])))


def test_a_null_of_json_is_kept_until_its_column_comes_again() -> None:
    known = event({"id": 1, "a": None, "b": 1}, json_null=["a"])
    kept = decode_change(overlay(known, event({"id": 1, "b": 2}, unchanged=["a"])))
    assert bytes((kept.after or {})["a"]) == b"json null"
    replaced = decode_change(overlay(known, event({"id": 1, "a": None}, unchanged=["b"])))
    assert bytes((replaced.after or {})["a"]) == b"null"


def test_nothing_is_known_under_a_row_that_was_too_large() -> None:
    large = event({"id": 1}, oversize=99)
    assert partial(overlay(large, event({"id": 1, "a": 1}, unchanged=["b"])))


def test_a_truncate_leaves_the_keys_of_its_partition_without_rows() -> None:
    table = KeyStore(["t"]).tables["t"]
    rows = [Seen(n % 2, b'{"id":%d}' % n, event({"id": n}, "c")) for n in range(4)]
    table.fold([*rows, Seen(0, b"", event(None, "t")), Seen(0, b'{"id":4}', event({"id": 4}, "c"))])
    assert [one.expected.key for [*chunk] in table.present(9, 9, 10**6) for one in chunk] == [
        b'{"id":1}', b'{"id":3}', b'{"id":4}',
    ]  # fmt: skip
    assert [one.expected.key for chunk in table.gone(9, 9) for one in chunk] == [b'{"id":0}', b'{"id":2}']
    assert table.truncated


def test_a_key_with_a_later_event_is_marked_and_keeps_what_was_asked_for() -> None:
    table = KeyStore(["t"]).tables["t"]
    table.fold([Seen(0, b"1", event({"id": 1}, "c")), Seen(0, b"2", event({"id": 2}, "c"))])
    table.fold_later([Seen(0, b"2", event({"id": 2, "a": 1})), Seen(0, b"3", event({"id": 3}, "c"))])
    assert [(one.expected.key, one.later) for one in table.look_up([b"1", b"2", b"3"])] == [(b"1", False), (b"2", True)]
