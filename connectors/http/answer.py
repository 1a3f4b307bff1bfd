"""What was asked of a service, and what came back: the two sides that `outcome` decides about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

Effect = Literal["reads", "creates", "changes", "deletes"]
"""What a request does over there, whatever its method: a query that is a POST `reads`."""


class _NoBody:
    def __repr__(self) -> str:
        return "NO_BODY"


NO_BODY = _NoBody()
"""There was none: not even `null`."""
GARBLED = _NoBody()
"""There was one, and it is no JSON."""
OVERSIZE = _NoBody()
"""There was more of it than is read."""


@dataclass(frozen=True, slots=True)
class Received:
    """A whole answer. `headers` by their names in lower case; `body` is JSON as Python has it, or one of the three
    above."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: Any = field(default=NO_BODY, repr=False)


@dataclass(frozen=True, slots=True)
class Lost:
    """No whole answer. `sent`: some of the request may have left this host; `reason` holds nothing of its content."""

    sent: bool
    reason: str


Came = Received | Lost
Meaning = Literal["throttled", "exhausted", "unauthorized", "forbidden", "rejected", "gone", "conflict"]


@dataclass(frozen=True, slots=True)
class Told:
    """What a service's error says, in its dialect.

    `meaning` is what goes before the status, None where the status says enough. `saved` are the ids that the service
    says it has committed. `wait` is in seconds, `until` a point in time: when to ask again. `missing` are the ids that
    it says are not there.
    """

    code: str = ""
    message: str = field(default="", repr=False)
    meaning: Meaning | None = None
    saved: tuple[str, ...] = ()
    wait: float | None = None
    until: datetime | None = None
    missing: tuple[str, ...] = ()
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Left:
    """What is left of a connection's quota, as an answer tells it: by the length of the limit in seconds, and of the
    day."""

    by_seconds: Mapping[float, int] = field(default_factory=dict)
    day: int | None = None


class Dialect(Protocol):
    """What differs by service. Both are pure, and take whatever a service, or a proxy before it, may answer."""

    @property
    def not_done(self) -> frozenset[int]:
        """Statuses of 500 and above by which nothing was carried out, as long as `told` knows their meaning."""

    def told(self, answer: Received, /) -> Told:
        """What an answer says that is no success; and the request's id of any answer."""

    def left(self, answer: Received, /) -> Left:
        """What an answer tells of the quota."""
