"""What a target tells of the events it has taken, in its own transactions: places and outcomes, never a value.

A row of `placemat.outbox` says of each partition which offsets were taken and what became of them. Whoever relays it
reads the records in the topics for the rest.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

APPLIED: Final = "applied"
TAKEN: Final = "taken"
"""It stands in the mirror of a service, which was not told yet; what came of that is told later, as a change."""
COLLAPSED: Final = "collapsed"
"""A service was told of a later event of its key in its stead: `into` of the details."""
PARKED: Final = "parked"
"""Refused, or waits for its row to come whole; `kind`, `reason` and `sqlstate` say which."""
QUEUED: Final = "queued"
"""Waits behind a parked event of its key."""
FILTERED: Final = "filtered"
"""Its row does not pass the route's condition: it is not in the target, or not any more."""
DELETED: Final = "deleted"
"""Its row was in the target, passes the route's condition no more, and was deleted there."""
ASKED: Final = "asked"
"""It does not tell whether its row passes the condition: the row is asked for whole."""
REMEMBERED: Final = "remembered"
"""Of a table that only conditions need: nothing of it is written."""
DROPPED: Final = "dropped"
"""Came late, or again: the target had it already."""
KEPT: Final = "kept"
"""It would have deleted a row, and an operator has rejected that; of a table that goes both ways also: the hub's value
stands."""
REDRIVEN: Final = "redriven"
"""Events that were parked or queued are taken now; `judged` of the details tells as what, where that was judged."""
REFUSED: Final = "refused"
"""Events that were parked or queued were tried again, in vain."""
DISCARDED: Final = "discarded"
"""An operator has given up events that were parked or queued."""

ANSWERED: Final = "answered"
"""A row that goes both ways was made what the hub has decided; no event of its own says so."""
SWEPT: Final = "swept"
"""A service had two records of one key: the one that we had made, and that nobody had touched, went to the trash."""
VANISHED: Final = "vanished"
"""A service shows the record of a row no more, of a table that only goes there: it is told the row again."""

Range = tuple[int, int]
"""First offset, and the one after the last."""
Place = tuple[str, int, int]
"""Topic, partition, offset."""


class Others(msgspec.Struct, frozen=True):
    """Events that were not simply applied. `details` are such as reason, sqlstate, rule, conflict."""

    outcome: str
    ranges: list[Range]
    details: dict[str, Any] = {}


class Taken(msgspec.Struct, frozen=True):
    """What became of the events of one partition."""

    topic: str
    partition: int
    applied: list[Range]
    others: list[Others] = []


class Change(msgspec.Struct, frozen=True):
    """What was done to a key without an event of its own in this transaction. `table` is `schema.table`, `key` the
    record key, `events` those that were taken earlier and are meant."""

    table: str
    key: str
    outcome: str
    details: dict[str, Any] = {}
    events: list[Place] = []


class Outbox(msgspec.Struct, frozen=True):
    """The content of a row. `era` is the newest one of its events' positions, and None where nobody told. Offsets count
    anew in a topic that was made anew: never within an era."""

    partitions: list[Taken]
    changes: list[Change] = []
    era: int | None = None


encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Outbox).decode
