"""Whether a row passes a condition, by SQL's three values of truth, and where a value is not known, by what is left.

A value may be missing from an event without being NULL (an unchanged stored value). A condition is therefore answered
with every truth that is still possible; only where one is left is the row's place decided. Pure.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Final

import msgspec

from connectors.route import condition as language
from connectors.route.condition import Column, Condition, ConditionError, Operator, Value
from connectors.route.kinds import Comparable, Kind

TRUE: Final = 1
FALSE: Final = 2
NULL: Final = 4
"""Truths that are possible, added up."""


class Missing(Enum):
    """Stands for a value that is not known."""

    MISSING = "not known"


MISSING: Final = Missing.MISSING
Text = str | None | Missing
"""A value as text, as `Kind.read` takes it; None is NULL."""
Lookup = Callable[[Column], Text]
Test = Callable[[Lookup], int]

_SIGNS: dict[Operator, Callable[[Comparable, Comparable], bool]] = {
    "=": operator.eq, "<>": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip

_decode_string = msgspec.json.Decoder(str).decode


def _combine(rule: Callable[[int, int], int]) -> list[list[int]]:
    """For all sets of possible truths what the rule makes of them."""
    truths = (TRUE, FALSE, NULL)
    table = [[0] * 8 for _ in range(8)]
    for left in range(8):
        for right in range(8):
            for a in truths:
                for b in truths:
                    if left & a and right & b:
                        table[left][right] |= rule(a, b)
    return table


_AND = _combine(lambda a, b: FALSE if FALSE in (a, b) else max(a, b))
_OR = _combine(lambda a, b: TRUE if TRUE in (a, b) else max(a, b))
_NOT = [sum(new for old, new in ((TRUE, FALSE), (FALSE, TRUE), (NULL, NULL)) if has & old) for has in range(8)]


def text_of(raw: bytes) -> str | None:
    """The text of a value that stands in an event as this JSON: a string's content, or a token as it is."""
    if raw == b"null":
        return None
    return _decode_string(raw) if raw[:1] == b'"' else raw.decode()


def bind(condition: Condition, kinds: Mapping[Column, Kind]) -> Test:
    """A function from a row's values to the truths that are possible.

    Raises ConditionError where a column is unknown or a value does not fit its column.
    """
    match condition:
        case language.Not(part):
            inner = bind(part, kinds)
            return lambda row: _NOT[inner(row)]
        case language.All(parts):
            return _chain([bind(part, kinds) for part in parts], _AND)
        case language.Any(parts):
            return _chain([bind(part, kinds) for part in parts], _OR)
        case language.IsNull(column):
            _kind(kinds, column)
            return lambda row: _null(row(column))
        case language.In(column, values):
            return _chain([_compare(column, "=", value, kinds) for value in values], _OR)
        case language.Compare(column, sign, value):
            return _compare(column, sign, value, kinds)


def _chain(tests: list[Test], table: list[list[int]]) -> Test:
    def test(row: Lookup) -> int:
        found = tests[0](row)
        for one in tests[1:]:
            found = table[found][one(row)]
        return found

    return test


def _null(value: Text) -> int:
    if value is MISSING:
        return TRUE | FALSE
    return TRUE if value is None else FALSE


def _compare(column: Column, sign: Operator, value: Value, kinds: Mapping[Column, Kind]) -> Test:
    kind = _kind(kinds, column)
    wanted = kind.write(value)
    if sign not in ("=", "<>") and not kind.ordered:
        raise ConditionError(f"{column} is of type {kind.type}, which is compared with = and <> only")
    holds, read = _SIGNS[sign], kind.read

    def test(row: Lookup) -> int:
        found = row(column)
        if found is None:
            return NULL
        if isinstance(found, Missing):
            return TRUE | FALSE | NULL
        try:
            ours = read(found)
        except (ValueError, ArithmeticError):
            return TRUE | FALSE | NULL  # of another type: of a time when the column had that
        return TRUE if holds(ours, wanted) else FALSE

    return test


def _kind(kinds: Mapping[Column, Kind], column: Column) -> Kind:
    try:
        return kinds[column]
    except KeyError:
        raise ConditionError(f"there is no column {column}") from None
