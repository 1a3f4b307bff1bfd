"""How the capture writes the values of a key, which are the row's name in every record, from their canonical form.

Of the types that keys of tables going both ways may have, these are written otherwise than `to_jsonb` does.
"""

from __future__ import annotations

import re
from base64 import b64encode

import orjson

_BEFORE_CHRIST = " BC"
_UTC = "+00:00"


def as_recorded(type_: str, text: str) -> str:
    """The JSON text in a record's key of a value of this type, without length, whose canonical form is `text`."""
    match type_:
        case "bytea":
            return _quoted(b64encode(bytes.fromhex(_string(text).removeprefix("\\x"))).decode())
        case "timestamp with time zone":
            return _quoted(_moment(_string(text)))
        case "timestamp without time zone":
            return _quoted(_as_written(_string(text)))
        case _:
            return text


def _moment(text: str) -> str:
    """In UTC, with a Z, but before Christ."""
    if text.endswith(_UTC):
        return text.removesuffix(_UTC) + "Z"
    return _as_written(text.replace(_UTC, "+00"))


def _as_written(text: str) -> str:
    """ISO 8601 has no form for years before Christ: those are as PostgreSQL has them."""
    return re.sub("(?<=[0-9])T", " ", text) if text.endswith(_BEFORE_CHRIST) else text


def _string(text: str) -> str:
    return str(orjson.loads(text))


def _quoted(text: str) -> str:
    return orjson.dumps(text).decode()
