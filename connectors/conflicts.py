"""What a hub offers to people who decide conflicts, and to those who tell them that something waits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from connectors.contract import Planned
from schemas.resolution import AtHub, Fields, Kept

Key = tuple[str, str]
"""The hub's table, and the text of the key that names the row everywhere."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which conflicts are meant; None: whichever."""

    spoke: str | None = None
    table: str | None = None
    field: str | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """A row of `placemat.conflicts`; `state` is `schemas.resolution.ConflictEntry`. It is closed unless it `waits`."""

    id: int
    table_name: str
    key: str
    state: str
    waits: bool
    opened_at: datetime
    changed_at: datetime
    notified_at: datetime | None


@dataclass(frozen=True, slots=True)
class Logged:
    """A row of `placemat.conflict_log`."""

    id: int
    at: datetime
    spoke: str
    table_name: str
    key: str
    field: str | None
    kind: str
    rule: str
    resolution: str
    won: str | None
    base: str | None
    ours: str | None
    theirs: str | None
    ours_at: datetime | None
    theirs_at: datetime | None
    topic: str
    partition: int
    offset: int
    erased_at: datetime | None = None
    """Its values were erased then."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A key that waits because the hub does not take what a spoke says of it: a row of `placemat.parked` at the hub.

    `number` is that of `placemat dlq` at `target`; `listed` that of its entry in `placemat.conflict_log`, None where it
    has none. Table and key are named as at the hub. `row` is what the newest of the events that wait tells: None where
    it deletes the row or none waits. No value that the route does not show there is in it.
    """

    number: int
    listed: int | None
    target: str
    spoke: str
    table_name: str
    key: str
    kind: str
    sqlstate: str | None
    reason: str
    parked_at: datetime
    attempts: int
    request: str | None
    events: int
    notified_at: datetime | None
    op: str | None
    row: Fields | None


@dataclass(frozen=True, slots=True)
class Decision:
    """A row of `placemat.decisions`; `fields` and `before` are JSON by field."""

    id: int
    conflict_id: int
    at: datetime
    decided_by: str
    reason: str | None
    table_name: str
    key: str
    action: Literal["none", "create", "update", "delete"]
    keeps_row: bool
    fields: str
    before: str
    over: str
    version: str
    undone_at: datetime | None
    undone_by: str | None
    undone_reason: str | None
    erased_at: datetime | None = None
    """Its values were erased then: `fields` and `before` hold null for each."""


@dataclass(frozen=True, slots=True)
class Known:
    """A row with what is kept of it, and of its links by spoke."""

    at: AtHub
    links: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Order:
    """Who decides about which row, and why. `undoes`: the decision that is taken back. `dry_run`: it is tried, and
    nothing stays."""

    key: Key
    by: str
    reason: str | None = None
    undoes: int | None = None
    dry_run: bool = False


class Ruled(Planned, Protocol):
    """What a person has decided of a row: the values of its fields, whether it is there from now on, and what it held
    before."""

    @property
    def fields(self) -> Fields: ...
    @property
    def keeps_row(self) -> bool: ...
    @property
    def before(self) -> Fields: ...


class Deciding(Protocol):
    """What one person wants of one row. Tables are named as at the hub."""

    def decide(self, hub: AtHub, now: int) -> Ruled | None:
        """None: the row is not what the person was shown. `now` is the hub's time, in microseconds since 1970."""

    def settle(
        self, table: str, key: str, ruled: Any, links: Mapping[str, str], stored: Fields | None, mark: str
    ) -> Kept:
        """Once it is written and read again. `links` are those of all spokes, `mark` is the transaction's."""


@dataclass(frozen=True, slots=True)
class Done:
    """What was decided, and the row since then, as the database has stored it."""

    ruled: Ruled
    stored: Fields | None


class Rulings(Protocol):
    """A hub's rows, for people. Every method raises Unavailable when the hub does not answer."""

    def fields(self, table: str) -> list[str]:
        """Those of a table that the hub follows; none of a table that it does not."""

    def rows(self, keys: Sequence[Key]) -> Mapping[Key, Fields]:
        """Those that are there."""

    def known(self, key: Key) -> Known:
        """As of one moment."""

    def canonical(self, table: str, values: Mapping[str, str]) -> Fields:
        """Values by field as a person types them, JSON for columns that hold it and for lists, as they are stored.

        Raises OperatorError (exit code 2) for one that is none of its column's type.
        """

    def as_here(self, table: str, row: Fields) -> Fields:
        """Values by field as a spoke's events have them, in the form of the hub's own; as they are, where one is none
        of its column's type."""

    def rule(self, order: Order, deciding: Deciding) -> Done | None:
        """Decide and write. None: the row is not as it was shown, or is not all known yet; nothing was done.

        Raises OperatorError where the hub refuses the row, and TryAgain where it stays busy.
        """


class Refusals(Protocol):
    """What the hub does not take of its spokes' changes. It is about rows: a filter by field leaves all of it out."""

    def find(self, number: int) -> Refusal | None:
        """By the number of `placemat dlq`."""

    def waiting(self, which: Filter, most: int | None = None) -> list[Refusal]:
        """Oldest first."""

    def count(self, which: Filter) -> int:
        """How many wait."""

    def untold(self, told_before: datetime, settled_seconds: float) -> list[Refusal]:
        """Those that wait for so long already and that nobody was told of, or not since then; oldest first, each
        without its `row`: there may be very many."""

    def told(self, some: Sequence[Refusal], at: datetime) -> None:
        """Somebody was told of these."""


class Waitlist(Protocol):
    """What waits at a hub, and what was decided."""

    @property
    def refusals(self) -> Refusals: ...

    def find(self, conflict_id: int) -> Waiting | None:
        """Whether it waits or not."""

    def waiting(self, which: Filter, most: int | None = None) -> list[Waiting]:
        """Those that wait, oldest first."""

    def count(self, which: Filter) -> int:
        """How many wait."""

    def decided_by_rule(self, which: Filter, most: int, before: int | None = None) -> list[Logged]:
        """A page, newest first; the next one begins `before` the last one's id."""

    def history(self, table: str, key: str) -> list[Logged]:
        """Every conflict that was met of a key, oldest first."""

    def decisions(self, conflict_id: int) -> list[Decision]:
        """What people have decided of a key, oldest first."""

    def untold(self, told_before: datetime) -> list[Waiting]:
        """Those that wait and that nobody was told of, or not since then; oldest first."""

    def told(self, some: Sequence[Waiting], at: datetime) -> None:
        """Somebody was told of these; one that was opened anew meanwhile is told again."""

    def alone(self, what: str) -> bool:
        """Whether this connection may do it now: nobody else does, until the connection ends."""
