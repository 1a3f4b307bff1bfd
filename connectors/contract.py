"""What a room for an outside system offers to the daemon's loops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple, NoReturn, Protocol

from connectors.mirroring import Mirrored
from connectors.route.condition import Condition
from connectors.route.masks import Drop, Mask, Scalar
from schemas.envelope import SchemaColumn
from schemas.position import START, Position
from schemas.resolution import AtHub, Fields, Kept, RowChange

Partition = tuple[str, int]
"""Topic and number."""
Place = tuple[int, int]
"""Timeline and commit LSN."""


class Record(NamedTuple):
    """One change event as it stands in its topic; `value` is the envelope, `key` the JSON of the primary key."""

    topic: str
    partition: int
    offset: int
    position: Position
    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Parent:
    """What a name of a condition's path stands for: a table (`schema.table`), and the column that refers to its key."""

    table: str
    column: str


@dataclass(frozen=True, slots=True)
class Routing:
    """How a table's changes are applied. Names of columns are the source's, but in `constants`.

    `local` are columns that the target keeps for itself, `only` those that are written at all (None: any), `table` is
    the name there (None: the same), `columns` maps to the target's names, and a row is there only while it passes
    `where`; `parents` are by their path in that condition.
    """

    local: frozenset[str] = frozenset()
    truncate: Literal["apply", "stop"] = "apply"
    table: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    exclude: frozenset[str] = frozenset()
    only: frozenset[str] | None = None
    constants: Mapping[str, Scalar] = field(default_factory=dict)
    masks: Mapping[str, Mask] = field(default_factory=dict)
    where: Condition | None = None
    parents: Mapping[tuple[str, ...], Parent] = field(default_factory=dict)

    def leaves_out(self, column: str) -> bool:
        """Whether a column of the source is never written."""
        return column in self.local or self.withholds(column) or isinstance(self.masks.get(column), Drop)

    def withholds(self, column: str) -> bool:
        """Whether a column of the source is not told to the target at all."""
        return column in self.exclude or (self.only is not None and column not in self.only)

    def renamed(self, column: str) -> str:
        """The target's name of a column."""
        return self.columns.get(column, column)

    def origin(self, column: str) -> str:
        """The source's name of a column of the target, "" where it does not come from there."""
        old = next((old for old, new in self.columns.items() if new == column), column)
        return "" if column in self.constants or (old == column and old in self.columns) else old


class Planned(Protocol):
    """What becomes of a row: nothing is written for `none`. `outcome` is a word for the audit."""

    @property
    def action(self) -> Literal["none", "create", "update", "delete"]: ...
    @property
    def values(self) -> Fields: ...
    @property
    def outcome(self) -> str: ...


class PlannedOfSpoke(Planned, Protocol):
    """At the hub. `each`: of every change in its order, a word for the audit, and how many conflicts are its own."""

    @property
    def each(self) -> Sequence[tuple[str, int]]: ...


class Outward(Protocol):
    """Decides at a spoke. Tables are named as at the hub; texts are kept as they are given."""

    def plan(self, table: str, changes: Sequence[RowChange], side: str | None, current: Fields | None) -> Planned:
        """What is done for these changes of one key, given what is kept of its row, and the row, if there is one."""

    def repair(self, row: Fields | None, side: str | None, current: Fields | None) -> Planned:
        """What makes a row what the hub has given, as far as that is told, whatever it is now."""

    def settle(self, table: str, key: str, planned: Any, stored: Fields | None) -> tuple[str | None, str | None]:
        """Once it is written and read again: what to keep of the row, and the mark to be told; None: as it was."""


class Inward(Protocol):
    """Decides at the hub, of what a spoke says. Tables are named as at the hub."""

    def judge(
        self, table: str, changes: Sequence[RowChange], hub: AtHub, mark: str, *, rejected: bool = False
    ) -> PlannedOfSpoke | None:
        """What changes of one key come to. None: the hub's own stream has to be observed further first. `mark` is the
        transaction's. `rejected`: the hub's row stands as it is; of a single change."""

    def settle(self, table: str, key: str, planned: Any, stored: Fields | None, mark: str) -> Kept:
        """Once it is written and read again. `mark` is the transaction's."""


class Observing(Protocol):
    """Follows the hub's own stream. Tables are named as at the hub."""

    def observe(
        self, changes: Sequence[RowChange], state: str | None, links: Mapping[str, str]
    ) -> tuple[str, Mapping[str, str]]:
        """What is kept of a row and of its links by spoke, after these changes of it."""


@dataclass(frozen=True, slots=True)
class BothWays:
    """How the tables that go both ways are treated here, by their names in the source that is followed.

    `hub` is the hub's name among the sources; `times` are the columns that say when a row was changed, by table.
    Exactly one of the three is there: at a spoke, at the hub for a spoke, at the hub for itself.
    """

    tables: frozenset[str]
    hub: str
    times: Mapping[str, str] = field(default_factory=dict)
    outward: Outward | None = None
    inward: Inward | None = None
    observing: Observing | None = None


@dataclass(frozen=True, slots=True)
class DeleteLimit:
    """What a target may lose without being asked: up to this share of a table's rows within so many hours, and any
    number below `least`."""

    share: float
    least: int
    hours: float


@dataclass(frozen=True, slots=True)
class Destination:
    """A target: its name, its URL, the source it follows, and its routes by table (`schema.table`)."""

    name: str
    url: str
    source: str
    routes: Mapping[str, Routing]
    additive: bool = False
    """Columns that are added at the source may be added here too."""
    both_ways: BothWays | None = None
    delete_limit: DeleteLimit | None = None
    """None: whatever is deleted at the source is deleted here."""
    mirror: bool = False
    """The rows are those that a service is to have: it is told of them later, by what is queued with them."""
    audited: bool = False
    """What became of each event is written down in the target, for the audit log."""
    mirrored: Sequence[Mirrored] = ()
    """The tables of a mirror."""


@dataclass(frozen=True, slots=True)
class Taken:
    """How far a partition was taken: offset of the first record not taken, highest position taken."""

    next_offset: int = 0
    position: Position = START


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a lane stands: next record of the transactions topic, the commit it is applied through, its partitions."""

    transactions_offset: int = 0
    place: Place = (0, 0)
    partitions: Mapping[Partition, Taken] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TableLane:
    """A table that was paused: where it stands, and whether it is to catch up now or still waits: for an operator, or
    for a table that its condition names."""

    table: str
    progress: Progress
    resuming: bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """A row that the target needs whole: the table, and the record key."""

    table: str
    key: bytes


@dataclass(frozen=True, slots=True)
class Rerouted:
    """A table whose rows were told by another route than the present one; `advice` is for the operator."""

    table: str
    advice: str


@dataclass(frozen=True, slots=True)
class Pin:
    """A topic as it was when the target took its first record; one made anew has another id."""

    cluster_id: str
    topic_id: str
    partitions: int


@dataclass(frozen=True, slots=True)
class NewShape:
    """What a source's table has come to be, by the names there. `added`, `dropped` and `retyped` are all that changed
    since it is followed; `renamed` are those of `added` that came while others went, and may be those; `back` are those
    of `dropped` that came again, and those of `retyped` that have the type of before again. `retyped` has the types
    before; a domain counts as the type under it. A `keyless` one had no key, and `key` is the one that was announced
    later, if any. `coming` are the types of the newest version that is announced by now, and `key_back` is its key,
    where that is not this version's, but one of before.
    """

    table: str
    columns: Mapping[str, SchemaColumn]
    key: tuple[str, ...]
    added: tuple[str, ...]
    renamed: frozenset[str]
    dropped: frozenset[str]
    back: frozenset[str]
    retyped: Mapping[str, frozenset[str]]
    key_changed: bool
    keyless: bool = False
    coming: Mapping[str, str] = field(default_factory=dict)
    key_back: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Hold:
    """Deletes that wait for an operator's answer: those of a lane's commits from `first` through `through`.

    `sentence` and `advice` are for that operator; `rows` are those that would go.
    """

    first: Place
    through: Place
    rows: int
    sentence: str
    advice: str
    answered: bool

    def admits(self, place: Place) -> bool:
        """Whether a commit may be applied now; an answer is for these commits alone, and no transaction of the target
        holds others too."""
        return place <= self.through if self.answered else place < self.first


class Held(Exception):
    """The transaction would have deleted more than the target's limit lets through. It was rolled back, and the hold
    is stored: the caller begins anew from `claim`."""


class TryAgain(Exception):
    """The target was in the way of itself (a deadlock, a lock time-out): the same work may go through now."""


class Sink(Protocol):
    """A transactional target. Calls come from one thread, but for `pinned`; nothing is visible before `commit` returns.

    Every method but `close` raises Unavailable when the target does not answer, TryAgain when the transaction was
    rolled back for a passing reason, Fenced when another worker has claimed the target, TableUnfit when a table has to
    be paused, and OperatorError when a person has to act; after each of them the open transaction is gone.
    """

    def claim(self) -> Progress:
        """Connect, take the target over from every earlier worker, and tell how far the main lane is."""

    def lanes(self) -> list[TableLane]:
        """Tables with a lane of their own, parents first, as they were at the claim; the main lane leaves them out."""

    def rerouted(self) -> list[Rerouted]:
        """Tables that have to come whole once more, parents first, as their route or what conditions ask of them is
        another one than when they were last asked for. Those with a lane of their own wait until they are back."""

    def settle_routes(self) -> None:
        """What `rerouted` has told of was asked for. Committed at once; no transaction is open."""

    def pinned(self) -> Mapping[str, Pin]:
        """The topics that the stored offsets belong to; none where nothing was taken. From any thread, on a connection
        of its own, without a claim. Raises Unavailable."""

    def pin(self, found: Mapping[str, Pin]) -> Mapping[str, Pin]:
        """Keep these topics as those that the stored offsets belong to, where none is kept yet; what is kept then."""

    def adapt(self, shape: NewShape) -> bool:
        """Before the first record of a new version of a table: alter it, if need be. Committed at once; no transaction
        is open. True: it is another one than at the claim, whoever has altered it; then as after `pause`.

        Raises TableUnfit when the table does not fit, and nothing may be altered that would make it fit.
        """

    def gone(self, table: str) -> NoReturn:
        """The source has this table no more, and all of it was applied.

        Raises TableUnfit for the next table that has to wait: those whose conditions ask for it, then itself.
        """

    def write(self, records: Sequence[Record], table: str | None = None) -> None:
        """Write records, in commit order, into the open transaction, which begins with the first of them.

        They are of the main lane, or of that of `table`. A record that the target refuses is parked under its key; it
        is no error.
        """

    def commit(self, progress: Progress, table: str | None = None) -> None:
        """End the transaction: `progress` names the partitions that have moved, and where the lane stands now.

        The lane is the main one, or that of `table`. Raises Held when an operator has to answer first.
        """

    def hold(self, table: str | None = None) -> Hold | None:
        """What of a lane waits for an operator, or was answered and is not through yet; as it was at the claim."""

    def pause(self, table: str, reason: str, advice: str) -> None:
        """Give a table a lane of its own, where the main lane stands in the target, or let its lane wait again.

        Committed at once; no transaction is open. The caller begins anew from `claim`.
        """

    def rejoin(self, table: str) -> None:
        """End a table's lane, which stands where the main lane does. Committed at once; then as after `pause`.

        Raises Held as `commit` does.
        """

    def regrouped(self) -> bool:
        """Do what operators have asked for about whole tables. True: lanes have changed, or a hold was answered; then
        as after `pause`."""

    def rollback(self) -> None:
        """Forget the open transaction."""

    def attend(self) -> None:
        """Do what operators have asked for about parked keys. No transaction is open."""

    def wanted(self) -> list[Wanted]:
        """Rows that the target waits for."""

    def outcomes(self) -> Mapping[str, int]:
        """How many events have come to which outcome since the last call; none where that is not written down."""

    def parked(self) -> int:
        """How many keys are parked."""

    def close(self) -> None:
        """Leave; safe to repeat."""


class SinkType(Protocol):
    """What makes a sink. Nothing is connected before `claim`."""

    def __call__(self, destination: Destination) -> Sink: ...


class Expected(NamedTuple):
    """What a source's topics say of one key: an envelope with the columns that are known; None: there is no row.
    Columns that are `kept` are neither compared nor written."""

    key: bytes
    content: bytes | None
    kept: frozenset[str] = frozenset()


FindingKind = Literal["missing", "differs", "extra", "alike", "incomplete", "too_large", "parked"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A key whose row is not as expected.

    `missing`: there is no row; `differs`: in `fields`; `extra`: there should be none; `alike`: there should be none,
    and there is one that may be of another key that is the same to the target, as 1.0 and 1.00 are: `own` is that as
    the target has it; `incomplete`: there is no row, and only a part of it is known; `too_large`: it was never
    published; `parked`: it waits, and is none of ours.
    """

    key: bytes
    kind: FindingKind
    fields: tuple[str, ...] = ()
    own: bytes = b""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row that the target does not take, and why."""

    key: bytes
    reason: str


class ReplayTarget(Protocol):
    """A target beside its live worker. All calls come from one thread.

    Every method but `close` raises Unavailable, TryAgain and OperatorError as `Sink` does; the open transaction is gone
    then.
    """

    def open(self) -> list[str]:
        """Connect; the routed tables, parents first."""

    def taken(self) -> dict[Partition, int]:
        """The first record of each partition that the target has not taken."""

    def begin(self) -> dict[Partition, int]:
        """Open a transaction during which the live worker has none, and tell as `taken` does.

        Raises TryAgain when the live worker's transaction has not ended after a while. The live worker waits from now
        on: end the transaction soon.
        """

    def compare(self, table: str, rows: Sequence[Expected]) -> list[Finding]:
        """What of these rows is not as expected, field by field as the target compares values; in no order.

        Within `begin`, or without a transaction, and then the live worker may be ahead of what is expected.
        """

    def write(self, table: str, rows: Sequence[Expected]) -> list[Refusal]:
        """Write rows as they are expected to be. Needs `begin`."""

    def commit(self) -> None:
        """Make it visible, and let the live worker go on."""

    def rollback(self) -> None:
        """Forget the open transaction, if there is one."""

    def close(self) -> None:
        """Leave; safe to repeat."""


class RetellTarget(ReplayTarget, Protocol):
    """The mirror of a service."""

    def retell(self, table: str, records: Mapping[bytes, str | None]) -> None:
        """Have the service told of these keys as if it had never been, in the open transaction. By key the record that
        it has for it, where that is known."""


class OutboxRow(NamedTuple):
    """What became of the events of one transaction, or of a part of a large one: `events` is a `schemas.outbox.Outbox`
    in JSON, `ends_from` the first record of the transactions topic that may be theirs."""

    id: int
    lane: str
    ends_from: int
    at: datetime
    events: str


class OutboxLag(NamedTuple):
    """Rows that wait, and the age of the oldest."""

    rows: int
    seconds: float


class Outbox(Protocol):
    """What a target tells of the events that it has taken. Every method but `close` raises Unavailable when the target
    does not answer, and OperatorError when it is not prepared."""

    def read(self, limit: int) -> list[OutboxRow]:
        """The oldest rows."""

    def delete(self, ids: Sequence[int]) -> None:
        """These rows are written down elsewhere; committed at once."""

    def lag(self) -> OutboxLag:
        """How much waits."""

    def close(self) -> None:
        """Leave; safe to repeat."""
