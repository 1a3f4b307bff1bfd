"""Masks: what is put in the place of a value that is not to be seen. Pure. NULL stays NULL under each of them."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256

import msgspec
import orjson

from connectors.route.truth import text_of

SAME_TEXT = frozenset(
    {"text", "character varying", "name", "uuid", "smallint", "integer", "bigint", "numeric", "date", "boolean"}
)
"""Types whose values are written alike in events and by PostgreSQL's cast to text, so that both sides hash the same."""
TEXTS = frozenset({"text", "character varying", "name"})
SHORTEST_KEY_BYTES = 16
_BLOCK_BYTES = 64

Scalar = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Drop:
    """The column is left out."""


@dataclass(frozen=True, slots=True)
class Hash:
    """HMAC-SHA256 of the value's text, in hexadecimal: equal values stay equal."""

    key: bytes = field(repr=False)

    def pads(self) -> tuple[bytes, bytes]:
        """Inner and outer pad, with which SHA-256 alone comes to the HMAC."""
        key = self.key.ljust(_BLOCK_BYTES, b"\0")
        return bytes(byte ^ 0x36 for byte in key), bytes(byte ^ 0x5C for byte in key)


@dataclass(frozen=True, slots=True)
class Truncate:
    """The first characters of a text."""

    length: int


@dataclass(frozen=True, slots=True)
class Constant:
    """The same value for every row."""

    value: Scalar


Mask = Drop | Hash | Truncate | Constant
Masking = Callable[[bytes], bytes]
"""From a value's JSON to what stands for it, as JSON."""


def hash_key(secret: bytes) -> bytes:
    """The key of a `Hash`; one that is longer than a block counts by its digest, as HMAC has it."""
    return sha256(secret).digest() if len(secret) > _BLOCK_BYTES else secret


def masking(mask: Hash | Truncate | Constant) -> Masking:
    """The function of a mask."""
    match mask:
        case Hash(key):
            return lambda raw: raw if raw == b"null" else b'"%b"' % _digest(key, raw)
        case Truncate(length):
            return lambda raw: raw if raw == b"null" else msgspec.json.encode((text_of(raw) or "")[:length])
        case Constant(value):
            constant = orjson.dumps(value)
            return lambda raw: raw if raw == b"null" else constant


def constant_text(value: Scalar) -> str:
    """The text of a constant, as every type reads it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def result_type(mask: Mask, type_: str) -> str:
    """The type of what a mask makes of a column of this type."""
    match mask:
        case Hash() | Truncate():
            return "text"
        case _:
            return type_


def misfit(mask: Mask, type_: str) -> str | None:
    """Why a column of this type cannot be masked so; `type_` is without length, and under a domain the type below."""
    if isinstance(mask, Hash) and type_ not in SAME_TEXT:
        return f"a value of type {type_} is not hashed"
    if isinstance(mask, Truncate) and type_ not in TEXTS:
        return f"a value of type {type_} is not shortened"
    return None


def _digest(key: bytes, raw: bytes) -> bytes:
    return hmac.digest(key, (text_of(raw) or "").encode(), "sha256").hex().encode()
