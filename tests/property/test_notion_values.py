"""What Notion shows of a value that was sent is what was expected, and is sent again as it was."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.notion.fields import Field
from connectors.notion.values import MOST_ITEMS, TEXT_UNITS, CannotHold, Kind, split

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=0, max_size=5_000)
moments = st.datetimes(timezones=st.timezones() | st.none()).map(lambda one: one.isoformat())
numbers = st.decimals(allow_nan=False, allow_infinity=False)
OPTIONS = {"active": "Active", "on_hold": "On hold"}
ADA, BO = "b55c9c91-384d-452b-81db-d1ef79372b75", "0d4f0c2a-6c0e-4a57-9d53-3bb2a1a0c0aa"
PEOPLE = {"ada@example.org": ADA, "bo@example.org": BO}


def answered(kind: Kind, written: Any) -> Any:
    """What Notion answers to a value (Notion: property values)."""
    match kind.property:
        case "title" | "rich_text":
            return [{"plain_text": item["text"]["content"]} for item in written]
        case "number":
            number = None if written is None else float(written)
            return int(number) if number is not None and number.is_integer() else number
        case "multi_select":
            return list({item["name"]: item for item in written}.values())
        case "people":
            return [{"object": "user", "id": id_} for id_ in dict.fromkeys(item["id"] for item in written)]
        case "files":
            return [{"type": "external", **item} for item in written]
        case _:
            return written


KINDS: dict[str, tuple[Kind, st.SearchStrategy[Any]]] = {
    "title": (Kind("title", "text", Field("c", "p")), st.none() | texts),
    "text": (Kind("rich_text", "text", Field("c", "p")), st.none() | texts),
    "url": (Kind("url", "text", Field("c", "p")), st.none() | texts),
    "select": (Kind("select", "text", Field("c", "p", options=OPTIONS)), st.sampled_from([None, *OPTIONS, "else"])),
    "several": (Kind("multi_select", "text[]", Field("c", "p")), st.none() | st.lists(st.sampled_from("abc"))),
    "number": (Kind("number", "numeric", Field("c", "p")), st.none() | numbers),
    "whole": (Kind("number", "bigint", Field("c", "p")), st.none() | st.integers(-(2**63), 2**63 - 1)),
    "money": (Kind("number", "numeric", Field("c", "p")), st.none() | st.decimals(-(10**9), 10**9, places=2)),
    "email": (Kind("email", "text", Field("c", "p")), st.none() | texts),
    "person": (Kind("people", "text", Field("c", "p", options=PEOPLE)), st.sampled_from([None, *PEOPLE, "nobody"])),
    "people": (Kind("people", "text[]", Field("c", "p")), st.none() | st.lists(st.uuids().map(str), max_size=120)),
    "file": (Kind("files", "text", Field("c", "p")), st.none() | texts.map("https://a.org/{}".format)),
    "files": (
        Kind("files", "text[]", Field("c", "p")), st.none() | st.lists(st.sampled_from(["https://a.org/b", "http://c"])),
    ),
    "box": (Kind("checkbox", "boolean", Field("c", "p")), st.none() | st.booleans()),
    "day": (Kind("date", "date", Field("c", "p")), st.none() | st.dates().map(lambda one: one.isoformat())),
    "moment": (Kind("date", "timestamp with time zone", Field("c", "p")), st.none() | moments),
    "zoned": (Kind("date", "timestamp with time zone", Field("c", "p", zone="Europe/Berlin")), st.none() | moments),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "values"), KINDS.values(), ids=KINDS)
def test_what_is_shown_is_what_was_expected_and_is_sent_as_it_was(kind: Kind, values: st.SearchStrategy[Any]) -> None:
    @given(values)
    def holds(value: Any) -> None:
        try:
            written = kind.written(value)
        except CannotHold:
            return
        shown = kind.shown(value)
        assert kind.told(answered(kind, written)) == shown
        again = shown if kind.property != "number" or shown is None else Decimal(shown)
        assert kind.shown(again) == shown, "nothing is left to be brought into form"
        assert kind.told(answered(kind, kind.written(again))) == shown

    holds()


def test_a_moment_keeps_its_instant() -> None:
    for kind, _ in (KINDS["moment"], KINDS["zoned"]):
        assert kind.shown("2026-11-22T20:03:04.5+02:00") == "2026-11-22T18:03:04.500000+00:00"


def test_the_hour_that_comes_twice_keeps_its_instant_too() -> None:
    kind, _ = KINDS["zoned"]
    for hour in range(4):
        moment = f"2026-10-25T{hour:02}:30:00+00:00"
        assert kind.shown(moment) == moment
        assert kind.told(kind.written(moment)) == moment


READS = [
    ("formula", "text", {"type": "string", "string": "x"}, "x"),
    ("formula", "text", {"type": "string", "string": ""}, None),
    ("formula", "numeric", {"type": "number", "number": 12.0}, "12"),
    ("formula", "boolean", {"type": "boolean", "boolean": False}, False),
    ("formula", "date", {"type": "date", "date": {"start": "2026-01-02"}}, "2026-01-02"),
    ("formula", "date", {"type": "date", "date": None}, None),
    ("rollup", "bigint", {"type": "number", "number": 3, "function": "count"}, "3"),
    ("unique_id", "text", {"prefix": "P", "number": 7}, "P-7"),
    ("unique_id", "bigint", {"prefix": "P", "number": 7}, 7),
    ("created_time", "timestamp with time zone", "2026-01-02T03:04:00.000Z", "2026-01-02T03:04:00+00:00"),
    ("last_edited_by", "text", {"object": "user", "id": ADA}, "ada@example.org"),
]


@pytest.mark.parametrize(("property_", "column", "value", "told"), READS)
def test_what_notion_makes_itself_is_read_as_the_column_has_it(
    property_: str, column: str, value: Any, told: Any
) -> None:
    assert Kind(property_, column, Field("c", "p", "in", options=PEOPLE)).told(value) == told


@pytest.mark.parametrize(
    ("property_", "column", "value", "why"),
    [
        ("rollup", "text", {"type": "array", "array": [], "function": "show_original"}, "no single value"),
        ("files", "text[]", [{"name": "a", "type": "file", "file": {"url": "u", "expiry_time": "t"}}], "ends within"),
        ("people", "text", [{"id": ADA}, {"id": BO}], "there are 2, and the column holds one"),
        ("people", "text", [{"id": "11111111-2222-4333-8444-555555555555"}], "do not name the person"),
        ("files", "text", [{"external": {"url": "a"}}, {"external": {"url": "b"}}], "the column holds one"),
    ],
)
def test_what_no_column_can_say_is_told_with_why(property_: str, column: str, value: Any, why: str) -> None:
    with pytest.raises(CannotHold, match=why):
        Kind(property_, column, Field("c", "p", options=PEOPLE)).told(value)


@given(texts, st.integers(1, 4))
def test_a_text_is_cut_into_items_that_notion_takes(text: str, times: int) -> None:
    parts = split(text * times)
    assert "".join(parts) == text * times
    assert all(0 < len(part.encode("utf-16-le")) // 2 <= TEXT_UNITS for part in parts)


def test_a_text_that_is_longer_than_notion_takes_is_refused_and_never_cut() -> None:
    assert len(split("x" * TEXT_UNITS * MOST_ITEMS)) == MOST_ITEMS
    with pytest.raises(CannotHold, match="a text of 200,001 characters is longer than Notion takes"):
        split("x" * (TEXT_UNITS * MOST_ITEMS + 1))


@pytest.mark.parametrize(
    ("kind", "value", "why"),
    [
        ("text", {"a": 1}, "several parts"),
        ("number", "12", "no number"),
        ("number", Decimal("12345678901234567.89"), "more digits than Notion keeps"),
        ("number", Decimal("1e400"), "more digits than Notion keeps"),
        ("whole", 2**53 + 1, "more digits than Notion keeps"),
        ("select", "else", "options do not say what else is"),
        ("several", ["a"] * 101, "101 values"),
        ("url", "x" * 2_001, "longer than Notion takes there"),
        ("email", "\U0001f600" * 101, "longer than Notion takes there"),
        ("person", "nobody", "nobody is no id of a person in Notion"),
        ("people", ["Ada"], "Ada is no id of a person"),
        ("file", "/home/ada/a.txt", "address on the web"),
        ("several", [None], "no list of texts"),
        ("day", "infinity", "without end"),
        ("moment", "0044-03-15 12:00:00 BC", "before the year 1"),
    ],
)
def test_what_no_property_can_say_is_told_with_why(kind: str, value: Any, why: str) -> None:
    write: Callable[[Any], Any] = KINDS[kind][0].written
    with pytest.raises(CannotHold, match=why):
        write(value)
