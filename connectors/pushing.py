"""What a mirror offers to those who tell a service what it is to have."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

from schemas.outbox import Place
from schemas.resolution import Fields

Operation = Literal["create", "update", "delete"]


class Key(NamedTuple):
    """A row: the hub's table, and the record key, JSON."""

    table: str
    text: str


class Backlogged(NamedTuple):
    """Keys of which a service has yet to be told, and the age of the oldest in seconds; keys that it has refused; and
    records of its own that are to be read anew."""

    keys: int
    seconds: float
    refused: int
    unread: int


@dataclass(frozen=True, slots=True)
class Lease:
    """A key that is one worker's for a while. `changes` is how often it was queued before, `attempts` how often it was
    tried since it was told last; `request` is what an operator asks for."""

    key: Key
    changes: int
    attempts: int
    request: Literal["redrive", "discard"] | None = None
    age: float = 0.0
    """Seconds since it was queued."""


@dataclass(frozen=True, slots=True)
class Linked:
    """The record of a service that a row is. `sent` are digests by field of what was written last; `side` is what is
    kept of a row that goes both ways (`schemas/resolution.py`). `alive`: there is one, as far as we know."""

    remote_id: str | None = None
    version: str | None = None
    sent: Mapping[str, str] = field(default_factory=dict)
    side: str | None = None
    alive: bool = False


NOT_LINKED = Linked()


@dataclass(frozen=True, slots=True)
class Intent:
    """A request that was about to be made. `content` is its maker's own; `age` in seconds; `changes` is that of the
    lease under which it was stored."""

    operation: Operation
    remote_id: str | None
    content: str
    age: float = 0.0
    changes: int = 0


@dataclass(frozen=True, slots=True)
class Due:
    """All that is known of a leased key. `wanted`: the row as the service is to have it (None: none); `backlog`: what
    the hub has said of one that goes both ways; `seen`: the row as the service was last seen to have it; `events` have
    led to it; `intent` was left open by whoever died over it; `read_at` is when the record was last known to be as it
    was, in microseconds since 1970, 0 for never."""

    lease: Lease
    wanted: Fields | None
    backlog: str | None
    linked: Linked
    seen: Fields | None
    events: Sequence[Place]
    intent: Intent | None
    read_at: int = 0


@dataclass(frozen=True, slots=True)
class Seen:
    """What a service shows of a row that goes both ways, or has answered: fields as far as they are told; None: there
    is no such record. `mark` is said of it in the stream, as our own write; `read` in its stead, as what was read."""

    row: Fields | None
    mark: str | None = None
    read: str | None = None
    author: str | None = None


@dataclass(frozen=True, slots=True)
class Over:
    """What was seen of a row before a look: somebody who has seen anything else since may have looked later."""

    row: Fields | None


@dataclass(frozen=True, slots=True)
class Told:
    """A service was told of a key, or has nothing to be told. `outcome` and `details` are for the audit, of the last of
    its events; the others have collapsed into it."""

    due: Due
    linked: Linked
    outcome: str
    details: Mapping[str, Any] = field(default_factory=dict)
    seen: Seen | None = None
    backlog: str | None = None
    """What is to be kept of the backlog; None: of a row that goes one way there is none."""
    over: Over | None = None
    """`seen` is what a look has shown, and not the answer to a write."""


class LeaseLost(Exception):
    """Another worker has the key by now: nothing was stored."""


class Overtaken(Exception):
    """Somebody has seen another state of the row since it was loaded: nothing was stored, and it is to be looked at
    again."""


class Mirror(Protocol):
    """The mirror of one service. All calls come from one thread, and each is one transaction. Every method but `close`
    raises Unavailable when the database does not answer, TryAgain when it was busy, and OperatorError when it is not
    prepared."""

    def open(self) -> None:
        """Connect anew."""

    def lease(self, tables: Sequence[str], most: int, seconds: float) -> list[Lease]:
        """Take keys that are due, for so long: changes of people before copies, in the order of the tables, and then of
        their age; none of a table before the service was looked through for what it has of it already."""

    def load(self, leases: Sequence[Lease]) -> list[Due]:
        """What is known of leased keys, in their order."""

    def wanted(self, table: str) -> Iterator[tuple[Key, Fields]]:
        """Every row as the service is to have it, in the order of the keys, a page of them at a time."""

    def queued(self, keys: Sequence[Key]) -> dict[Key, int | None]:
        """Those of which the service has yet to be told; of what it has refused its number in the dead letters."""

    def sample(self, table: str, most: int) -> list[Key]:
        """So many random rows that the service is to have, and so many that it has."""

    def remote_ids(self, table: str, keys: Collection[str]) -> dict[str, str]:
        """By record key, the records of the service that are there."""

    def keys_of(self, table: str, remote_ids: Collection[str]) -> dict[str, str]:
        """By record of the service, the record keys."""

    def hurry(self, key: Key) -> bool:
        """Somebody waits for this row: it goes before copies. False where it does not wait itself, or was refused."""

    def canonical(self, table: str, rows: Sequence[Mapping[str, Any]]) -> list[Fields]:
        """Rows by column, of JSON values, in the form of the hub's stream."""

    def intend(self, lease: Lease, intent: Intent) -> None:
        """Store what is about to be requested. Raises LeaseLost."""

    def withdraw(self, lease: Lease, linked: Linked | None = None) -> None:
        """What was intended was not done, and will not be; or it was, and `linked` is what was found.

        Raises LeaseLost.
        """

    def record(self, told: Told) -> None:
        """Store what has come of it, and give the key back. Raises LeaseLost, and Overtaken after a look."""

    def saw(self, lease: Lease, seen: Seen, over: Over) -> None:
        """Store what a row was read to be, while it stays leased. Raises LeaseLost and Overtaken."""

    def postpone(self, leases: Sequence[Lease], seconds: float, *, tried: bool) -> None:
        """Give keys back, due again after so long; `tried` counts as an attempt."""

    def refuse(self, due: Due, code: str, reason: str, details: Mapping[str, Any], *, linked: Linked) -> None:
        """The service does not take a row: it waits for its next change, or for an operator. Raises LeaseLost."""

    def wait(self, seconds: float) -> None:
        """Until something may be due, at most so long."""

    def close(self) -> None:
        """Leave; safe to repeat."""
