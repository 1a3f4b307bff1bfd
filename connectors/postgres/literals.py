"""From JSON values to PostgreSQL's array literals, without a Python value between where none is needed. Pure.

A column of many rows travels as one `text[]`. A JSON string without a backslash is, quotes and all, a valid element
of an array literal; so is a number, and `true`.
"""

from __future__ import annotations

from binascii import a2b_base64
from collections.abc import Callable, Iterable, Sequence

import msgspec

Element = Callable[[bytes], bytes]
"""From the raw JSON of one value to one element of an array literal."""

JSON_NULL = msgspec.Raw(b"json null")
"""Stands for JSON's null in a column of JSON, where a raw `null` is SQL's NULL."""

_JSON_NULL = bytes(JSON_NULL)
_decode_string = msgspec.json.Decoder(str).decode
_decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode


def array(elements: Iterable[bytes]) -> bytes:
    """The literal of an array of these elements."""
    return b"{%b}" % b",".join(elements)


def column(element: Element, cells: Sequence[msgspec.Raw]) -> bytes:
    """The literal of an array of one column's cells."""
    if element is plain:
        joined = b",".join(cells)
        if b",{" not in joined and b",[" not in joined and joined[:1] not in b"{[" and _reads_the_same(joined):
            return b"{%b}" % joined  # an unquoted null is NULL in any case of its letters
    return array([element(bytes(cell)) for cell in cells])


def quote(text: bytes) -> bytes:
    """Any text as an element."""
    return b'"%b"' % text.replace(b"\\", b"\\\\").replace(b'"', b'\\"')


def plain(raw: bytes) -> bytes:
    """Text, numbers, booleans: whatever PostgreSQL reads in the form in which JSON holds it."""
    if not _reads_the_same(raw):
        return quote(_text(raw))
    first = raw[:1]
    if first == b"n":
        return b"NULL"
    return quote(raw) if first in b"{[" else raw


def json(raw: bytes) -> bytes:
    """The JSON text itself; `null` is NULL, and `JSON_NULL` is null."""
    if raw == b"null":
        return b"NULL"
    return b'"null"' if raw == _JSON_NULL else quote(raw)


def bytea(raw: bytes) -> bytes:
    """Base64 to PostgreSQL's hex form, in which a column of a domain comes already."""
    if raw == b"null":
        return b"NULL"
    if raw.startswith(b'"\\\\x'):
        return raw
    text = _decode_string(raw).encode() if b"\\" in raw else raw[1:-1]
    return b'"\\\\x%b"' % a2b_base64(text, strict_mode=True).hex().encode()


def array_of(element: Element) -> Element:
    """A JSON array as an array literal; a JSON string is one already."""

    def convert(raw: bytes) -> bytes:
        if raw[:1] != b"[":
            return plain(raw)
        if element is plain and b"\\" not in raw and raw.count(b"[") == raw.count(b"]") == 1 and b"{" not in raw:
            return quote(b"{%b}" % raw[1:-1])
        return quote(literal(raw))

    def literal(raw: bytes) -> bytes:
        parts = (bytes(part) for part in _decode_array(raw))
        return array(literal(part) if part[:1] == b"[" else element(part) for part in parts)

    return convert


def _reads_the_same(raw: bytes) -> bool:
    """Whether nothing is escaped but quotes and backslashes, which an array literal escapes as JSON does."""
    return b"\\" not in raw or b"\\" not in raw.replace(b"\\\\", b"").replace(b'\\"', b"")


def _text(raw: bytes) -> bytes:
    return _decode_string(raw).encode() if raw[:1] == b'"' else raw
