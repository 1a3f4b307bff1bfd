"""One request, as a room states it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlencode

import msgspec

from connectors.http.answer import NO_BODY, Effect

_PLACE = re.compile(r"\{(\w+)\}")
_encode: Final = msgspec.json.Encoder(decimal_format="number").encode


@dataclass(frozen=True, slots=True)
class Request:
    """`path` is a template such as `/pages/{page}`, and stands in logs; what fills its places does not, nor anything
    below. `body` is JSON: a Decimal is a number with all its digits; `form` is sent instead of it where there is one.
    `units` is what it costs of the quota."""

    method: str
    path: str
    effect: Effect
    places: Mapping[str, str] = field(default_factory=dict, repr=False)
    query: Sequence[tuple[str, str]] = field(default=(), repr=False)
    body: Any = field(default=NO_BODY, repr=False)
    form: Sequence[tuple[str, str]] = field(default=(), repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    units: int = 1
    latest: float | None = None
    """By `time.monotonic`: after that it is not sent any more."""

    @property
    def filled(self) -> str:
        """The path with its places filled, each as one segment. Raises KeyError where one is missing."""
        return _PLACE.sub(lambda place: _segment(self.places[place[1]]), self.path)

    @property
    def content(self) -> tuple[str, bytes] | None:
        """The body's media type and bytes. Raises TypeError where it is no JSON."""
        if self.form:
            return "application/x-www-form-urlencoded", urlencode(self.form).encode()
        return None if self.body is NO_BODY else ("application/json", _encode(self.body))


def _segment(value: str) -> str:
    """Dots are no way up."""
    return quote(value, safe="") if value.strip(".") else value.replace(".", "%2E")
