"""PostgreSQL's text of a value to its JSON, by type. Pure; `schemas/README.md` lists the encodings.

The session settings that these forms rest on are `SESSION`: every connection that reads values uses them.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from typing import Final

import orjson

SESSION: Final = (
    "-c timezone=UTC -c datestyle=ISO,YMD -c intervalstyle=iso_8601 -c extra_float_digits=3"
    " -c bytea_output=hex -c quote_all_identifiers=off -c row_security=off -c lc_monetary=C -c client_encoding=UTF8"
    " -c search_path="
)
"""Connection options under which values are read."""

JSON_TYPES: Final = frozenset({114, 3802})
"""json and jsonb: their own null is a value, not NULL."""
JSON_DEPTH: Final = 200
"""JSON that is nested deeper is written as a string: readers of JSON give up at some depth, Python's at 1,000."""

Encoder = Callable[[bytes], bytes]


def encode_text(value: bytes) -> bytes:
    return orjson.dumps(value.decode())


def encode_plain(value: bytes) -> bytes:
    """Text that holds nothing to escape: UUIDs, decimals, dates."""
    return b'"%b"' % value


def encode_number(value: bytes) -> bytes:
    return value


def encode_float(value: bytes) -> bytes:
    """NaN and the infinities are no JSON numbers: they are strings; `-0` would be read as an integer without a sign."""
    if value == b"-0":
        return b"-0.0"
    return value if value[-1] in _DIGITS else encode_plain(value)


def encode_bool(value: bytes) -> bytes:
    return b"true" if value == b"t" else b"false"


def encode_bytea(value: bytes) -> bytes:
    return b'"%b"' % base64.b64encode(bytes.fromhex(value[2:].decode()))


def encode_timestamp(value: bytes) -> bytes:
    """ISO 8601; `infinity` and years before Christ, which ISO 8601 writes otherwise, as PostgreSQL has them."""
    if value[-1] in _DIGITS:
        return b'"%b"' % value.replace(b" ", b"T", 1)
    return b'"%b"' % value


def encode_timestamptz(value: bytes) -> bytes:
    """As `encode_timestamp`, always in UTC, with a Z."""
    if value.endswith(b"+00"):
        return b'"%bZ"' % value[:-3].replace(b" ", b"T", 1)
    return b'"%b"' % value


def encode_json(value: bytes) -> bytes:
    return encode_text(value) if is_deep(value) else value


def is_deep(value: bytes) -> bool:
    """Whether JSON is nested deeper than `JSON_DEPTH`."""
    if value.count(b"[") + value.count(b"{") <= JSON_DEPTH:
        return False
    if b"\\" in value:
        value = value.replace(rb"\\", b"").replace(rb"\"", b"")
    outside_strings = b"".join(value.split(b'"')[::2])
    brackets = outside_strings.translate(None, _NO_BRACKETS)
    for _ in range(JSON_DEPTH):  # each time the innermost level goes
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
        if not brackets:
            return False
    return True


_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))

_DIGITS = frozenset(b"0123456789")
_SCALARS: Final[dict[int, Encoder]] = {
    16: encode_bool,
    17: encode_bytea,
    20: encode_number,
    21: encode_number,
    23: encode_number,
    26: encode_number,
    114: encode_json,
    700: encode_float,
    701: encode_float,
    1082: encode_plain,
    1083: encode_plain,
    1114: encode_timestamp,
    1184: encode_timestamptz,
    1266: encode_plain,
    1700: encode_plain,
    2950: encode_plain,
    3802: encode_json,
}
"""By type OID; every type that is not here is a string of PostgreSQL's text."""

_ARRAYS: Final[dict[int, int]] = {
    1000: 16, 1001: 17, 1002: 18, 1003: 19, 1005: 21, 1007: 23, 1009: 25, 1014: 1042, 1015: 1043, 1016: 20,
    1021: 700, 1022: 701, 1028: 26, 1115: 1114, 1182: 1082, 1183: 1083, 1185: 1184, 1187: 1186, 1231: 1700,
    1270: 1266, 2951: 2950,
}  # fmt: skip
"""Element type by array type. Arrays of JSON are not here: their dimensions could not be told from their values."""

# Possessive: a pattern that can go back remembers every character of a value of megabytes.
_ARRAY_TOKEN = re.compile(rb'[{},]|"([^"\\]*+(?:\\.[^"\\]*+)*+)"|[^{},"]+', re.DOTALL)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)


def encoder(type_oid: int) -> Encoder:
    """How values of this type are written."""
    element = _ARRAYS.get(type_oid)
    if element is not None:
        return array_encoder(_SCALARS.get(element, encode_text))
    return _SCALARS.get(type_oid, encode_text)


def array_encoder(element: Encoder) -> Encoder:
    """A JSON array; one whose lower bounds are not 1 stays PostgreSQL's literal, as a string."""

    def encode(value: bytes) -> bytes:
        if value[:1] == b"[":
            return encode_text(value)
        return b"".join(_array_parts(value, element))

    return encode


def _array_parts(value: bytes, element: Encoder) -> list[bytes]:
    parts: list[bytes] = []
    for token in _ARRAY_TOKEN.finditer(value):
        text = token[0]
        if text == b"{":
            parts.append(b"[")
        elif text == b"}":
            parts.append(b"]")
        elif text == b",":
            parts.append(b",")
        elif token[1] is not None:
            parts.append(element(_ESCAPED.sub(rb"\1", token[1])))
        else:
            parts.append(b"null" if text == b"NULL" else element(text))
    return parts


def as_text(type_oid: int, value: object) -> str:
    """PostgreSQL's text of a value that an encoder wrote and that was read from JSON.

    Raises ValueError when no encoder of this type writes such a value.
    """
    if isinstance(value, list) and type_oid in _ARRAYS:
        return _array_text(_ARRAYS[type_oid], value)
    if type_oid in JSON_TYPES:
        return json.dumps(value, ensure_ascii=False)
    if value is None or isinstance(value, list | dict):
        raise ValueError("not a value of that type")
    if type_oid == 17:
        return "\\x" + base64.b64decode(str(value), validate=True).hex()
    return str(value)


def _array_text(element: int, values: list[object]) -> str:
    parts = []
    for value in values:
        if value is None:
            parts.append("NULL")
        elif isinstance(value, list):
            parts.append(_array_text(element, value))
        else:
            text = as_text(element, value).replace("\\", "\\\\").replace('"', '\\"')
            parts.append(f'"{text}"')
    return "{" + ",".join(parts) + "}"
