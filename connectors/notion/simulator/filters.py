"""Filters of queries (Notion: filters): by property or by a page's times, joined by `and` and `or` to two levels."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from connectors.notion.simulator.errors import validation
from connectors.notion.simulator.reading import Given
from connectors.notion.simulator.records import DataSource, Date, Kind, Page, Property, Value
from connectors.notion.simulator.shown_values import value_of
from connectors.notion.simulator.store import Store, ids, plain, texts
from connectors.notion.simulator.times import minute, moment, start_of

Passes = Callable[[Page], bool]
LEVELS = 2

TEXT: frozenset[Kind] = frozenset(["title", "rich_text", "url", "email", "phone_number"])
NUMBER: frozenset[Kind] = frozenset(["number", "unique_id"])
TIME: frozenset[Kind] = frozenset(["date", "created_time", "last_edited_time"])
ONE: frozenset[Kind] = frozenset(["select", "status"])
MANY: frozenset[Kind] = frozenset(["multi_select", "relation", "people", "created_by", "last_edited_by"])

COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "equals": operator.eq,
    "does_not_equal": operator.ne,
    "greater_than": operator.gt,
    "less_than": operator.lt,
    "greater_than_or_equal_to": operator.ge,
    "less_than_or_equal_to": operator.le,
}
ORDER: Mapping[str, Callable[[datetime, datetime], bool]] = {
    "equals": operator.eq,
    "before": operator.lt,
    "after": operator.gt,
    "on_or_before": operator.le,
    "on_or_after": operator.ge,
}
AROUND = {
    "this_week": (-3.5, 3.5),
    "past_week": (-7, 0),
    "past_month": (-31, 0),
    "past_year": (-366, 0),
    "next_week": (0, 7),
    "next_month": (0, 31),
    "next_year": (0, 366),
}
"""Days before and after now."""


class Filters:
    """Reads a filter once and tells which pages pass. `me` is who asks."""

    def __init__(self, store: Store, source: DataSource, me: str) -> None:
        self._store = store
        self._source = source
        self._me = me

    def read(self, given: Given, level: int = 0) -> Passes:
        members = given.members()
        for word, join in (("and", all), ("or", any)):
            if word in members:
                if level == LEVELS:
                    raise given.refuse("nested at most two levels deep")
                inner = [self.read(one, level + 1) for one in given.fields(word)[word].items(100)]
                return _joined(join, inner)
        if "timestamp" in members:
            return self._timestamp(given)
        return self._property(given)

    def _timestamp(self, given: Given) -> Passes:
        """Notion, pages: what is compared is the time that is shown, rounded down to the minute."""
        kind = given.members()["timestamp"].one_of("created_time", "last_edited_time")
        condition = given.fields("timestamp", "type", kind)[kind]
        test = self._time(condition)
        if kind == "created_time":
            return lambda page: test(Date(minute(page.created_at).isoformat()))
        return lambda page: test(Date(minute(page.edited_at).isoformat()))

    def _property(self, given: Given) -> Passes:
        members = given.members()
        if "property" not in members:
            raise Given(given.value, given.path).refuse("a filter with `property`, `timestamp`, `and` or `or`")
        name = members["property"].text()
        own = self._source.find(name)
        if own is None:
            raise validation(f"Could not find property with name or id: {name}")
        found = own
        kind = next((word for word in members if word not in ("property", "type")), "")
        text_kinds = {"rich_text", "title"}
        if kind != own.kind and {kind, own.kind} != text_kinds:
            raise validation(f"database property {own.kind} does not match filter {kind}")
        test = self._test(own, given.fields("property", "type", kind)[kind])
        return lambda page: test(value_of(page, found))

    def _test(self, own: Property, condition: Given) -> Callable[[Value], bool]:
        kind = own.kind
        if kind == "formula":
            return self._formula(condition)
        if kind in TEXT:
            return self._text(own, condition)
        if kind in NUMBER:
            return self._number(condition)
        if kind in TIME:
            return self._time(condition)
        if kind == "checkbox":
            word, wanted = _one(condition, "equals", "does_not_equal")
            return lambda value: (bool(value) == wanted.boolean()) == (word == "equals")
        if kind in ONE:
            return self._named(own, condition, "equals", "does_not_equal")
        if kind in MANY:
            return self._many(own, condition)
        if kind == "files":
            return _emptiness(_one(condition, "is_empty", "is_not_empty")[0])
        raise validation(f"A {kind} property can not be filtered here.")

    def _text(self, own: Property, condition: Given) -> Callable[[Value], bool]:
        word, wanted = _one(
            condition, "equals", "does_not_equal", "contains", "does_not_contain", "starts_with", "ends_with",
            "is_empty", "is_not_empty",
        )  # fmt: skip
        if word.startswith("is_"):
            return _emptiness(word)
        text = wanted.text()
        tests: Mapping[str, Callable[[str], bool]] = {
            "equals": lambda one: one == text,
            "does_not_equal": lambda one: one != text,
            "contains": lambda one: text.lower() in one.lower(),
            "does_not_contain": lambda one: text.lower() not in one.lower(),
            "starts_with": lambda one: one.lower().startswith(text.lower()),
            "ends_with": lambda one: one.lower().endswith(text.lower()),
        }
        test = tests[word]
        if own.kind in ("title", "rich_text"):
            return lambda value: test("".join(piece.content for piece in texts(value)))
        return lambda value: test(str(plain(own, value) or ""))

    def _number(self, condition: Given) -> Callable[[Value], bool]:
        word, wanted = _one(condition, *COMPARE, "is_empty", "is_not_empty")
        if word.startswith("is_"):
            return _emptiness(word)
        number = wanted.number()
        return lambda value: (
            COMPARE[word](value, number) if isinstance(value, int | float) else word == "does_not_equal"
        )

    def _time(self, condition: Given) -> Callable[[Value], bool]:
        word, wanted = _one(condition, *ORDER, *AROUND, "is_empty", "is_not_empty")
        if word.startswith("is_"):
            return _emptiness(word)
        if word in AROUND:
            now = self._store.clock()
            first, last = (now + timedelta(days=days) for days in AROUND[word])
            return lambda value: (at := _moment(value)) is not None and first <= at <= last
        found = moment(wanted.text())
        if found is None:
            raise wanted.refuse("a valid ISO 8601 date string")
        bound, whole_days = start_of(found), not isinstance(found, datetime)

        def test(value: Value) -> bool:
            at = _moment(value)
            if at is None:
                return False
            return ORDER[word](start_of(at.date()) if whole_days else at, bound)

        return test

    def _named(self, own: Property, condition: Given, is_: str, is_not: str) -> Callable[[Value], bool]:
        word, wanted = _one(condition, is_, is_not, "is_empty", "is_not_empty")
        if word.startswith("is_"):
            return _emptiness(word)
        names = {str(one) for one in wanted.value} if isinstance(wanted.value, list) else {wanted.text()}

        def test(value: Value) -> bool:
            shown = plain(own, value)
            have = set(shown) if isinstance(shown, list) else {shown}
            return bool(have & names) == (word == is_)

        return test

    def _many(self, own: Property, condition: Given) -> Callable[[Value], bool]:
        if own.kind == "multi_select":
            return self._named(own, condition, "contains", "does_not_contain")
        word, wanted = _one(condition, "contains", "does_not_contain", "is_empty", "is_not_empty")
        if word.startswith("is_"):
            return _emptiness(word)
        id_ = self._me if wanted.value == "me" else wanted.id()
        return lambda value: (id_ in (ids(value) or (value,))) == (word == "contains")

    def _formula(self, condition: Given) -> Callable[[Value], bool]:
        word, inner = _one(condition, "string", "checkbox", "number", "date")
        kind: Kind = "number"
        if word == "string":
            kind = "rich_text"
        elif word == "checkbox":
            kind = "checkbox"
        elif word == "date":
            kind = "date"
        return self._test(Property("", "", kind), inner)


def _joined(join: Callable[[list[bool]], bool], inner: list[Passes]) -> Passes:
    return lambda page: join([one(page) for one in inner])


def _one(condition: Given, *words: str) -> tuple[str, Given]:
    """The one condition that stands there."""
    members = condition.members()
    word = next((word for word in words if word in members), None)
    if word is None or len(members) != 1:
        raise condition.refuse(f"one of {', '.join(words)}")
    return word, members[word]


def _emptiness(word: str) -> Callable[[Value], bool]:
    return lambda value: (value is None or value == ()) == (word == "is_empty")


def _moment(value: Value) -> datetime | None:
    text = value.start if isinstance(value, Date) else value
    found = moment(text) if isinstance(text, str) else None
    return None if found is None else start_of(found)
