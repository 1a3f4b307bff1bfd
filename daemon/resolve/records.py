"""What stands in the streams: a spoke's changes with our marks, and the hub's row events with answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from daemon.resolve.interval import Interval
from daemon.resolve.state import Pending
from daemon.resolve.values import Digest, Row
from schemas.position import Position

HUB = ""
"""The name of the hub among those that create rows."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What our own write into a spoke says of itself: the hub position, and hashes of what was sent by field."""

    at: Position
    sent: Mapping[str, Digest] = field(default_factory=dict)
    agreed: Mapping[str, Digest] = field(default_factory=dict)
    """Fields that were compared and not written."""
    made: Row = field(default_factory=dict)
    """What the spoke stored instead of what was sent. The record leaves out a value that a trigger has put back."""
    row: bool = False
    """Row created or deleted."""


@dataclass(frozen=True, slots=True)
class SpokeRecord:
    """One change of one row in a spoke. `row` is the new row as far as it is told; None: it was deleted.

    With a mark, what else changed in it was changed by the spoke's own triggers: a transaction of ours holds no
    person's edits. A service that is polled tells rows, not changes: `read` is the moment of the read in microseconds,
    `time.hi` the latest that its content may have been edited, `seq` the place of this read among all reads and writes
    of ours of that key; a mark there comes with the fields that were sent or compared, and no others. `since`: it was
    surely as before at that moment.
    """

    at: Position
    row: Row | None
    time: Interval
    mark: Mark | None = None
    read: int | None = None
    since: int = 0
    seq: int = 0
    report: frozenset[str] | None = None
    """Fields that are held back here until this is answered; empty: the row itself is."""
    unsure: frozenset[str] = frozenset()
    """Fields of which nobody can tell who changed them: they may go forward, and never win a conflict."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the hub has judged of one spoke's row: values by hash, or that there is none."""

    dead: bool = False
    fields: Mapping[str, frozenset[Digest]] = field(default_factory=dict)

    def covers(self, name: str, value: Digest) -> bool:
        """Whether the hub has judged this value."""
        return value in self.fields.get(name, ())


UNJUDGED = Known()


@dataclass(frozen=True, slots=True)
class Answer:
    """What is published in the hub's transaction beside its row event: the whole row (no field of one that is too large
    to be told there), and what spokes are told.

    `renewed` are the fields whose version is new, be their value or not; `origin` is the spoke whose edit led to it,
    which need not be told so, or HUB.
    """

    row: Row | None
    known: Mapping[str, Known]
    renewed: frozenset[str] = frozenset()
    origin: str = HUB


@dataclass(frozen=True, slots=True)
class HubRecord:
    """A row event of the hub, or an answer. `row` is the row as far as it is told; None: there is none."""

    at: Position
    row: Row | None
    time: Interval
    pending: Pending | None = None
    """The mark of the transaction, where it is one of ours."""
    created_by: frozenset[str] = frozenset()
    """Who made the row, where this is its creation: a spoke's name, or HUB."""
    last: Row = field(default_factory=dict)
    """Of a deletion: the row as it was."""
    answer: bool = False
    known: Mapping[str, Known] = field(default_factory=dict)
    renewed: frozenset[str] = frozenset()
    origin: str = HUB
    """The spoke whose edit led to it, or HUB."""
    by_trigger: bool = False
    """A trigger of the hub made or deleted the row, in a transaction of ours."""
    copied: bool = False
    """The row was read, and not changed."""
    folded: bool = False
    """It stands for several; not where these are what one transaction has made of the spoke's own edit."""
