"""The language of a route's condition: `privacy_level = 'public' and storyteller.consent = 'given'`. Pure.

A condition compares columns with values, and nothing else: it always ends, and names no function. `storyteller.consent`
is a column of a parent. Truth has three values, as in SQL; `connectors.route.truth` finds it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

MOST_CHARACTERS = 4_000
DEEPEST = 50
"""Parentheses and `not` within each other."""

Operator = Literal["=", "<>", "<", "<=", ">", ">="]


class ConditionError(ValueError):
    """A condition that cannot be read, or that does not fit its columns; the text is a part of a sentence."""


class Column(NamedTuple):
    """A column by the names of the parents that lead to it: `story.storyteller.consent`."""

    path: tuple[str, ...]
    name: str

    def __str__(self) -> str:
        return ".".join((*self.path, self.name))


class Value(NamedTuple):
    """A value as it stands in the condition, without quotes."""

    kind: Literal["text", "number", "boolean"]
    text: str


@dataclass(frozen=True, slots=True)
class Compare:
    column: Column
    operator: Operator
    value: Value


@dataclass(frozen=True, slots=True)
class In:
    column: Column
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class IsNull:
    column: Column


@dataclass(frozen=True, slots=True)
class Not:
    part: Condition


@dataclass(frozen=True, slots=True)
class All:
    """`and`."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Any:
    """`or`."""

    parts: tuple[Condition, ...]


Condition = Compare | In | IsNull | Not | All | Any

_TOKEN = re.compile(
    r"""\s*(?:(?P<name>[^\W\d]\w*)|"(?P<quoted>(?:[^"]|"")+)"|'(?P<text>(?:[^']|'')*)'"""
    r"""|(?P<number>[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)|(?P<sign><>|!=|<=|>=|[=<>(),.]))""",
)
_WORDS = frozenset({"and", "or", "not", "in", "is", "null", "true", "false"})
_SIGNS: dict[str, Operator] = {"=": "=", "<>": "<>", "!=": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">="}


def parse(text: str) -> Condition:
    """Read a condition. Raises ConditionError."""
    if len(text) > MOST_CHARACTERS:
        raise ConditionError(f"a condition has at most {MOST_CHARACTERS} characters")
    parser = _Parser(list(_tokens(text)))
    found = parser.alternatives(0)
    parser.end()
    return found


def text(condition: Condition) -> str:
    """The condition in its language, always in the same way: `parse` makes the same of it. Digests rest on it."""
    match condition:
        case Compare(column, operator, value):
            return f"{_named(column)} {operator} {_written(value)}"
        case In(column, values):
            return f"{_named(column)} in ({', '.join(map(_written, values))})"
        case IsNull(column):
            return f"{_named(column)} is null"
        case Not(part):
            return f"not {_apart(part)}"
        case All(parts):
            return " and ".join(map(_apart, parts))
        case Any(parts):
            return " or ".join(map(_apart, parts))


def columns(condition: Condition) -> list[Column]:
    """Every column that the condition names, each once, in order."""
    return list(dict.fromkeys(_columns(condition)))


def _apart(part: Condition) -> str:
    return f"({text(part)})" if isinstance(part, All | Any) else text(part)


def _named(column: Column) -> str:
    return ".".join('"' + name.replace('"', '""') + '"' for name in (*column.path, column.name))


def _written(value: Value) -> str:
    return "'" + value.text.replace("'", "''") + "'" if value.kind == "text" else value.text


def _columns(condition: Condition) -> Iterator[Column]:
    match condition:
        case Not(part):
            yield from _columns(part)
        case All(parts) | Any(parts):
            for part in parts:
                yield from _columns(part)
        case Compare(column) | In(column) | IsNull(column):
            yield column


class _Token(NamedTuple):
    kind: Literal["word", "name", "text", "number", "sign", "end"]
    text: str


def _tokens(text: str) -> Iterator[_Token]:
    at, length = 0, len(text.rstrip())
    while at < length:
        match = _TOKEN.match(text, at)
        if match is None:
            raise ConditionError(f"{text[at:].strip()[:20]!r} is not understood")
        at = match.end()
        if (name := match["name"]) is not None:
            lower = name.lower()
            yield _Token("word" if lower in _WORDS else "name", lower)
        elif match["quoted"] is not None:
            yield _Token("name", match["quoted"].replace('""', '"'))
        elif match["text"] is not None:
            if "\0" in match["text"]:
                raise ConditionError("no text holds the character zero")
            yield _Token("text", match["text"].replace("''", "'"))
        elif match["number"] is not None:
            yield _Token("number", match["number"])
        else:
            yield _Token("sign", match["sign"])


class _Parser:
    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = [*tokens, _Token("end", "the end")]
        self._at = 0

    def alternatives(self, depth: int) -> Condition:
        parts = [self._conjunction(depth)]
        while self._takes("word", "or"):
            parts.append(self._conjunction(depth))
        return parts[0] if len(parts) == 1 else Any(tuple(parts))

    def end(self) -> None:
        if self._next.kind != "end":
            raise ConditionError(f"'and', 'or' or the end is expected before {self._next.text!r}")

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _conjunction(self, depth: int) -> Condition:
        parts = [self._negation(depth)]
        while self._takes("word", "and"):
            parts.append(self._negation(depth))
        return parts[0] if len(parts) == 1 else All(tuple(parts))

    def _negation(self, depth: int) -> Condition:
        if depth > DEEPEST:
            raise ConditionError(f"more than {DEEPEST} parentheses stand within each other")
        if self._takes("word", "not"):
            return Not(self._negation(depth + 1))
        if self._takes("sign", "("):
            found = self.alternatives(depth + 1)
            self._expect("sign", ")")
            return found
        return self._test()

    def _test(self) -> Condition:
        column = self._column()
        if self._takes("word", "is"):
            negated = self._takes("word", "not")
            self._expect("word", "null")
            return Not(IsNull(column)) if negated else IsNull(column)
        if self._takes("word", "not"):
            self._expect("word", "in")
            return Not(In(column, self._values()))
        if self._takes("word", "in"):
            return In(column, self._values())
        operator = _SIGNS.get(self._next.text) if self._next.kind == "sign" else None
        if operator is None:
            raise ConditionError(f"after {column} a comparison, 'in' or 'is null' is expected")
        self._at += 1
        return Compare(column, operator, self._value())

    def _column(self) -> Column:
        names = [self._name()]
        while self._takes("sign", "."):
            names.append(self._name())
        return Column(tuple(names[:-1]), names[-1])

    def _name(self) -> str:
        token = self._next
        if token.kind != "name":
            raise ConditionError(f"a column is expected instead of {token.text!r}")
        self._at += 1
        return token.text

    def _values(self) -> tuple[Value, ...]:
        self._expect("sign", "(")
        values = [self._value()]
        while self._takes("sign", ","):
            values.append(self._value())
        self._expect("sign", ")")
        return tuple(values)

    def _value(self) -> Value:
        token = self._next
        self._at += 1
        match token:
            case _Token("text", text):
                return Value("text", text)
            case _Token("number", text):
                return Value("number", text)
            case _Token("word", "true" | "false" as text):
                return Value("boolean", text)
            case _Token("word", "null"):
                raise ConditionError("nothing is equal to null: write 'is null'")
            case _:
                raise ConditionError(f"a value is expected instead of {token.text!r}; texts stand in single quotes")

    def _takes(self, kind: str, text: str) -> bool:
        found = self._next == (kind, text)
        self._at += found
        return found

    def _expect(self, kind: str, text: str) -> None:
        if not self._takes(kind, text):
            raise ConditionError(f"{text!r} is expected instead of {self._next.text!r}")
