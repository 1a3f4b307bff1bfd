"""Values as PostgreSQL compares them, by type: from the JSON of an event, and from the text in a condition. Pure.

Texts compare by code point, as under COLLATE "C": what a target shows must not depend on a server's locale.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from connectors.route.condition import ConditionError, Value

Comparable = Any
"""A value that compares with those of its own type as PostgreSQL's do."""

_INTEGERS = {"smallint": 2**15, "integer": 2**31, "bigint": 2**63}
_TEXTS = frozenset({"text", "character varying", "character", "name"})
_NOT_FINITE = frozenset({"NaN", "Infinity", "-Infinity"})
MOST_DIGITS = 1_000

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_STAMP = re.compile(
    r"(?P<year>\d{4,})-(?P<month>\d\d)-(?P<day>\d\d)"
    r"(?:[T ](?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)(?:\.(?P<fraction>\d{1,6}))?)?"
    r"(?:Z|\+00)?(?P<bc> BC)?"
)
_WRITTEN = re.compile(
    r"\d{4}-\d\d-\d\d(?P<time>[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(?P<zone>Z|[-+](0\d|1[0-4])(:\d\d)?)?)?", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Kind:
    """How values of a type compare. `read` takes a JSON string's content or a JSON number's or boolean's text.

    It raises ValueError or ArithmeticError for what is no value of the type.
    """

    type: str
    read: Callable[[str], Comparable]
    write: Callable[[Value], Comparable]
    """From the condition. Raises ConditionError for what is no value of the type."""
    ordered: bool = True
    collated: bool = False
    compares: bool = True


def kind(type_: str, labels: Sequence[str] | None = None) -> Kind:
    """The kind of a type as `format_type` names it, under a domain the type below; `labels` are an enum's."""
    if labels is not None:
        return Kind(type_, str, _label(type_, labels), ordered=False)
    if type_ in _TEXTS:
        trim: Callable[[str], str] = _unpadded if type_ == "character" else str
        return Kind(type_, trim, _text(trim), collated=True)
    if type_ in _INTEGERS:
        return Kind(type_, int, _integer(type_, _INTEGERS[type_]))
    found = _OTHERS.get(type_)
    return found or Kind(type_, str, _nothing(type_), ordered=False, compares=False)


def _unpadded(text: str) -> str:
    return text.rstrip(" ")


def _nothing(type_: str) -> Callable[[Value], Comparable]:
    def write(value: Value) -> Comparable:
        raise ConditionError(f"a column of type {type_} is not compared with {value.text!r}, only asked for null")

    return write


def _text(trim: Callable[[str], str]) -> Callable[[Value], Comparable]:
    def write(value: Value) -> Comparable:
        if value.kind != "text":
            raise ConditionError(f"{value.text} is no text: write it in single quotes")
        return trim(value.text)

    return write


def _label(type_: str, labels: Sequence[str]) -> Callable[[Value], Comparable]:
    def write(value: Value) -> Comparable:
        if value.kind != "text" or value.text not in labels:
            raise ConditionError(f"{value.text!r} is none of the values of {type_}: {', '.join(labels)}")
        return value.text

    return write


def _integer(type_: str, limit: int) -> Callable[[Value], Comparable]:
    def write(value: Value) -> Comparable:
        number = _decimal(value, type_)
        if number != number.to_integral_value() or not -limit <= number < limit:
            raise ConditionError(f"{value.text} is no {type_}")
        return int(number)

    return write


def _decimal(value: Value, type_: str) -> Decimal:
    if value.kind != "number":
        raise ConditionError(f"{value.text!r} is no {type_}")
    number = Decimal(value.text)
    if len(number.as_tuple().digits) > MOST_DIGITS or (number and abs(number.adjusted()) > MOST_DIGITS):
        raise ConditionError(f"a number with more than {MOST_DIGITS} digits is not compared")
    return number


def _read_numeric(text: str) -> Comparable:
    # PostgreSQL puts NaN above everything else, and takes it for equal to itself.
    return (1, 0) if text == "NaN" else (0, Decimal(text))


def _write_numeric(value: Value) -> Comparable:
    if value.kind == "text" and value.text in _NOT_FINITE:
        return _read_numeric(value.text)
    return 0, _decimal(value, "numeric")


def _float(round_: Callable[[float], float], type_: str) -> Kind:
    def read(text: str) -> Comparable:
        number = float(text)
        return (1, 0.0) if math.isnan(number) else (0, round_(number))

    def write(value: Value) -> Comparable:
        if value.kind == "text" and value.text in _NOT_FINITE:
            return read(value.text)
        exact = _decimal(value, type_)
        try:
            number = round_(float(exact))
        except OverflowError:
            number = math.inf
        if math.isinf(number) or (exact and not number):
            raise ConditionError(f"{value.text} is no {type_}")
        return 0, number

    return Kind(type_, read, write)


def _single(number: float) -> float:
    return float(struct.unpack("f", struct.pack("f", number))[0])


def _write_boolean(value: Value) -> Comparable:
    if value.kind != "boolean":
        raise ConditionError(f"{value.text!r} is no boolean: write true or false")
    return value.text


def _read_boolean(text: str) -> Comparable:
    if text not in ("true", "false"):
        raise ValueError("not a boolean")
    return text


def _read_uuid(text: str) -> Comparable:
    if not _UUID.fullmatch(text):
        raise ValueError("not a uuid")
    return text


def _write_uuid(value: Value) -> Comparable:
    if value.kind != "text" or not _UUID.fullmatch(value.text):
        raise ConditionError(f"{value.text!r} is no uuid")
    return value.text.lower()


def _read_stamp(text: str) -> Comparable:
    """(-1,) and (1,) are the infinities; years before Christ count down from 0."""
    if text.endswith("infinity"):
        return (-1,) if text[0] == "-" else (1,)
    found = _STAMP.fullmatch(text)
    if found is None:
        raise ValueError("not a date or time as PostgreSQL writes it")
    year = 1 - int(found["year"]) if found["bc"] else int(found["year"])
    clock = [int(found[part] or 0) for part in ("month", "day", "hour", "minute", "second")]
    return (0, year, *clock, int((found["fraction"] or "").ljust(6, "0")))


def _stamp(type_: str) -> Kind:
    example = "2026-01-31" if type_ == "date" else "2026-01-31 10:00:00"

    def write(value: Value) -> Comparable:
        if value.kind == "text" and value.text in ("infinity", "-infinity"):
            return _read_stamp(value.text)
        found = _WRITTEN.fullmatch(value.text) if value.kind == "text" else None
        zoned = type_ == "timestamp with time zone"
        if found is None or (found["time"] and type_ == "date") or (found["zone"] and not zoned):
            raise ConditionError(f"{value.text!r} is no {type_}, such as '{example}'")
        try:
            moment = datetime.fromisoformat(value.text)
            moment = moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
        except (ValueError, OverflowError):
            raise ConditionError(f"{value.text!r} is no {type_}, such as '{example}'") from None
        return _read_stamp(moment.isoformat())

    return Kind(type_, _read_stamp, write)


_OTHERS: dict[str, Kind] = {
    "numeric": Kind("numeric", _read_numeric, _write_numeric),
    "real": _float(_single, "real"),
    "double precision": _float(float, "double precision"),
    "boolean": Kind("boolean", _read_boolean, _write_boolean, ordered=False),
    "uuid": Kind("uuid", _read_uuid, _write_uuid),
    "date": _stamp("date"),
    "timestamp without time zone": _stamp("timestamp without time zone"),
    "timestamp with time zone": _stamp("timestamp with time zone"),
}
