"""What is stored for each key: at the hub, at the hub for each spoke, and in the spoke."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from daemon.resolve.interval import UNKNOWN, Interval
from daemon.resolve.values import Digest, Row
from schemas.position import START, Position


@dataclass(frozen=True, slots=True)
class Pending:
    """Stands for the position of a transaction of ours in the hub's stream, until the observer has seen it there."""

    mark: str


Version = Position | Pending


def contains(seen: Version, version: Version) -> bool:
    """Whether who has seen one has seen the other. Both belong to the same field, or both to the row.

    One that is pending is newer than everything observed, and is seen only where it was set on both sides at once; so
    nobody has to wait for its position.
    """
    return seen == version or (isinstance(seen, Position) and isinstance(version, Position) and version <= seen)


def newer(one: Version, other: Version) -> Version:
    """Of two versions that were seen, that which contains the other: what was seen once is never forgotten."""
    return other if isinstance(one, Position) and (isinstance(other, Pending) or other > one) else one


@dataclass(frozen=True, slots=True)
class FieldState:
    """One field of a hub row: hash of the value, last change by a person (`ver`), last change of any kind (`pos`)."""

    digest: Digest
    ver: Version
    pos: Version
    time: Interval
    hops: int = 0
    """How often machines have changed it since a person did."""


@dataclass(frozen=True, slots=True)
class RowState:
    """A hub row, kept over its deletion. `rver` is its last creation or deletion, `time` that of it."""

    alive: bool = False
    rver: Version = START
    time: Interval = UNKNOWN
    fields: Mapping[str, FieldState] = field(default_factory=dict)
    values: Row = field(default_factory=dict)
    """Of a row that is gone: what it held last. Empty while it is there."""
    erased: bool = False
    """Of a row that is gone: fields and values were erased, for good. No edit of that life brings it back."""


NO_ROW = RowState()
"""Of a key that the hub never had."""


def latest(state: RowState, time: Interval) -> Interval:
    """The time of a deletion: no earlier than what it deletes."""
    for one in (state.time, *(known.time for known in state.fields.values())):
        time = time.or_later(one)
    return time


@dataclass(frozen=True, slots=True)
class Link:
    """What the hub knows of one spoke's row. Only the spoke's own stream moves it."""

    at: Position = START
    """The last record of its stream."""
    shadow: Mapping[str, Digest] | None = None
    """The row as that showed it; None: there was none."""
    kept: Row = field(default_factory=dict)
    """The values of those fields of the shadow whose rule needs them: `merge` and `manual`."""
    seen: Mapping[str, Version] = field(default_factory=dict)
    """By field, the hub's version that it contained."""
    row_seen: Version = START
    seq: int = 0
    """The last read or write of it that its stream has told; only of a service that is polled, as is `read`."""
    read: int = 0
    """The moment of the last read of it that was taken, in microseconds."""

    def has_seen(self, name: str, state: FieldState) -> bool:
        """Whether the spoke's row contained this version of the field."""
        return contains(self.seen.get(name, START), state.ver)


NO_LINK = Link()


@dataclass(frozen=True, slots=True)
class Settled:
    """One field of a spoke's row as it was last written or agreed, and up to which hub position."""

    digest: Digest
    at: Position


@dataclass(frozen=True, slots=True)
class Side:
    """What is stored in a spoke with its row. `rver`: the hub position at which it was last created or deleted here."""

    alive: bool = False
    rver: Position = START
    fields: Mapping[str, Settled] = field(default_factory=dict)


NO_SIDE = Side()
