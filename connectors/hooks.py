"""What a room offers where its service tells by requests that something has changed, and what takes them.

Nothing of what a request says is believed but ids: they are to be read anew from the service itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple, Protocol

LONGEST_ID = 200
"""Of characters, for ids of deliveries and of records."""

Headers = Mapping[str, str]
"""Of a request, by name in lower case."""
Taken = Literal["taken", "repeated", "foreign"]
"""`repeated`: it was taken before, or is too old to tell; `foreign`: it names nothing that is ours."""


class Named(NamedTuple):
    """A record that a service has named. `table` None: of whatever table it is known."""

    table: str | None
    remote_id: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """What one request says. `id` is the same whenever the service sends it again; `at` is when what it tells of
    happened, where the service says so. Of `tables` is only said that something in them has changed."""

    id: str
    records: frozenset[Named] = frozenset()
    tables: frozenset[str] = frozenset()
    at: datetime | None = None


class Unreadable(Exception):
    """A request of the service that is not in its documentation."""


class Hooks(Protocol):
    """Requests of one service. Pure; called from several threads."""

    def verify(self, secret: str, headers: Headers, body: bytes) -> bool:
        """Whether the service has sent it: by a signature over the body as it came, or whatever it has instead. In a
        time that does not depend on the secret. Nothing else reads the body before."""

    def handshake(self, headers: Headers, body: bytes) -> str | None:
        """The secret that the service hands over by this request; None: it is no such request."""

    def read(self, headers: Headers, body: bytes) -> Delivery:
        """What it says, once it is known to be the service's. Raises Unreadable."""


class Marks(Protocol):
    """Where records are marked to be read anew. From any thread, one at a time."""

    def take(self, delivery: Delivery) -> Taken:
        """Mark what it names, and remember it, in one transaction that is over when this returns. Raises Unavailable,
        TryAgain and OperatorError, with nothing marked as far as is known: the service is to send it again."""

    def forget_old(self) -> None:
        """Deliveries that are too old to come again. Raises as `take` does."""

    def close(self) -> None:
        """Leave; safe to repeat."""
