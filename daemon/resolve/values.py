"""Values as both sides write them, and the short hashes that stand for them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import NewType, TypeAlias

import orjson

Value: TypeAlias = "bool | int | float | str | list[Value] | dict[str, Value] | None"
"""JSON in the mapping's canonical form: equal values are equal JSON, whichever side they come from."""
Row = Mapping[str, Value]
Digest = NewType("Digest", bytes)
DIGEST_BYTES = 8
"""Two values of one field that differ and are taken for equal: once in 2^64 comparisons."""


def digest(value: Value) -> Digest:
    """The short hash of one value."""
    content = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    return Digest(hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest())


def digests(row: Row) -> dict[str, Digest]:
    """The short hash of each field."""
    return {field: digest(value) for field, value in row.items()}
