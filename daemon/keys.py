"""Keys of records as people read them. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping

import orjson

from daemon.errors import OperatorError

_LONGEST = len(str(-(2**63)))
"""Digits and sign of an integer."""


def key_text(key: str | bytes) -> str:
    """Each column and its value; `key` is a record's, as JSON."""
    return ", ".join(f"{name}={value}" for name, value in json.loads(key).items())


def key_like(sample: str | bytes, given: str) -> dict[str, object]:
    """The key that a person means, in the form of another key of its table: given as JSON or, where it is one column,
    as its plain value.

    Raises OperatorError (exit code 2) when it has other columns, or a value is none of its column's type.
    """
    columns: Mapping[str, object] = orjson.loads(sample)
    try:
        value = orjson.loads(given)
    except ValueError:
        value = given
    if not isinstance(value, dict):
        value = dict.fromkeys(columns, given) if len(columns) == 1 else {}
    if value.keys() != columns.keys():
        names = ", ".join(columns)
        raise OperatorError(f"{given} is no key: it has the columns {names}.", "Write it as JSON.", exit_code=2)
    try:
        return {name: _like(one, value[name]) for name, one in columns.items()}
    except ValueError:
        raise OperatorError(f"{given} is not of its column's type.", "Correct it.", exit_code=2) from None


def _like(sample: object, value: object) -> object:
    """A value in the form of another one of its column."""
    text = str(value)
    if value is None or (isinstance(sample, int) and len(text) > _LONGEST):
        raise ValueError("no key")
    if isinstance(sample, bool):
        return ("false", "true").index(text.lower()) == 1
    if isinstance(sample, int):
        return int(text)
    return float(text) if isinstance(sample, float) else text
