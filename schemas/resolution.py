"""What is stored beside the rows of a table that goes both ways, and what is said of them in the streams.

JSON, as short as it can be: it is kept for every row. A position is three numbers, or the mark of a transaction of ours
that the hub's own stream has not shown yet. Digests are 8 bytes in base64, times are in microseconds since 1970, and
values are the JSON texts of their database, null for NULL.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from schemas.position import Position

Place = tuple[int, int, int]
Version = Place | str


Texts = dict[str, str | None]


class FieldEntry(msgspec.Struct, array_like=True, frozen=True):
    """One field of a hub row that differs from most of its row."""

    digest: bytes
    ver: Version
    pos: Version
    lo: int
    hi: int
    hops: int = 0


class Common(msgspec.Struct, array_like=True, frozen=True):
    """What most fields of a hub row share."""

    ver: Version
    pos: Version
    lo: int
    hi: int


class RowEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """`placemat.hub_rows`: a hub row. A field is its digest, or an entry of its own."""

    alive: bool
    rver: Version
    lo: int
    hi: int
    common: Common | None = None
    fields: dict[str, bytes | FieldEntry] = {}
    values: Texts = {}
    erased: bool = False
    """Of a row that is gone: what it held was erased. Nothing but its deletion is known of it."""


class LinkEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """`placemat.links`: what the hub knows of a spoke's row. `seen` by field, where it is not `common`."""

    at: Place
    row_seen: Version
    shadow: dict[str, bytes] | None = None
    kept: Texts = {}
    common: Version | None = None
    seen: dict[str, Version] = {}
    unseen: list[str] = []
    seq: int = 0
    read: int = 0


class Settled(msgspec.Struct, array_like=True, frozen=True):
    """One field of a spoke's row: what was written or agreed last, and up to which hub position."""

    digest: bytes
    at: Place


class SideEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """`placemat.sides`: a spoke's row. A field is its digest, settled at `common`, or an entry of its own."""

    alive: bool
    rver: Place
    common: Place | None = None
    fields: dict[str, bytes | Settled] = {}


class CandidateEntry(msgspec.Struct, array_like=True, frozen=True):
    """A value that waits for a person, and the one that it was made from."""

    value: str | None
    lo: int
    hi: int
    base: str | None = None


class ConflictEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """`placemat.conflicts`: what waits for a person, by spoke; `deletions` are times."""

    revision: int
    fields: dict[str, dict[str, CandidateEntry]] = {}
    deletions: dict[str, tuple[int, int]] = {}


class MarkEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a write into a spoke says of one row, in a message behind the rows of its transaction."""

    table: str
    """The hub's."""
    key: str
    at: Place
    sent: dict[str, bytes] = {}
    agreed: dict[str, bytes] = {}
    made: Texts = {}
    row: bool = False
    unsure: list[str] = []
    """At a service, after a crash: fields of which nobody can tell who changed them."""


class KnownEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the hub has judged of one spoke's row."""

    dead: bool = False
    fields: dict[str, list[bytes]] = {}


class AnswerEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the hub says of one row to its spokes, in a message behind the rows of its transaction."""

    table: str
    key: str
    row: Texts | None
    known: dict[str, KnownEntry]
    renewed: list[str] = []
    origin: str = ""
    untold: bool = False
    """There is a row, and it is too large to be told here; `row` is null then."""


class BacklogEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the hub has said of one row and a service was not told yet, as one record. `row` is as far as it is told."""

    at: Place
    row: Texts | None
    known: KnownEntry | None = None
    created_by: list[str] = []
    renewed: list[str] = []
    origin: str = ""
    copied: bool = False
    folded: bool = False
    decided: bool = False
    """Somebody has decided that the row is to be as the hub has it, whatever it holds."""


class MirroredEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """`placemat.sides` in the mirror of a service: whether the hub has a row, and what the service was not told yet."""

    alive: bool
    backlog: BacklogEntry | None = None


class IntentEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """`placemat.intents`: what was about to be requested of a service. `values` are what it shows once it is done, and
    `before` what it showed then (null: there was no record; of a table that goes one way nobody has looked)."""

    values: Texts
    before: Texts | None = None
    action: str = ""
    """Of a row that goes both ways, what was planned, and the rest of the plan."""
    at: Place = (0, 0, 0)
    agreed: dict[str, bytes] = {}
    held: list[str] = []
    told: bool = False


class Origin(msgspec.Struct, frozen=True, omit_defaults=True):
    """The first message of every transaction of ours: whose changes they are, and which transaction it is."""

    origin: str
    target: str
    mark: str = ""
    tells: bool = False
    """Whether it names the rows that it makes and deletes for the spoke: of any other, a trigger did that."""


class ForetoldEntry(msgspec.Struct, frozen=True):
    """A row that a transaction of ours is about to make at the hub, or to delete, as the spoke did."""

    table: str
    """The hub's."""
    key: str


class LinkedEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a transaction of `placemat link` says of one row before it: the row has only got another key, or refers to
    one that has; people have changed it last at this moment, in microseconds since 1970, None where nobody knows."""

    table: str
    """The hub's."""
    key: str
    at: int | None = None


class ReadEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a read of a service that has no stream says of one row before it; all times in microseconds since 1970."""

    table: str
    """The hub's."""
    key: str
    since: int
    """When it was surely read as it was before, 0 where it never was."""
    latest: int
    """The latest that what it shows may have been edited."""
    read: int
    """When it was read."""
    gone: bool = False
    report: list[str] | None = None
    """Fields that are held back there until the hub answers; empty: the row itself is."""
    unsure: list[str] = []
    """Fields of which nobody can tell who changed them."""


ORIGIN_PREFIX = "placemat.origin"
MARKS_PREFIX = "placemat.marks"
ANSWERS_PREFIX = "placemat.answers"
LINKED_PREFIX = "placemat.linked"
FORETOLD_PREFIX = "placemat.foretold"
READS_PREFIX = "placemat.reads"
NOTES = frozenset({ORIGIN_PREFIX, FORETOLD_PREFIX, MARKS_PREFIX, ANSWERS_PREFIX, LINKED_PREFIX, READS_PREFIX})
"""Messages of ours that stand in the streams of databases that go both ways."""


# What passes between the sink and the resolver

Fields = Mapping[str, str | None]
"""A row in canonical form, by the hub's names: the JSON text that PostgreSQL makes of each value, None for NULL."""


@dataclass(frozen=True, slots=True)
class RowChange:
    """One change of one row of a table that goes both ways, as it stands in a stream.

    `op` is the envelope's, or `n` where something is said of the row and nothing has changed. `row` is the new row as
    far as it is told, None where there is none; `last` is a deleted one. `ts_us` is the commit time, None where that is
    not the time of the change. `origin` is the first message of a transaction of ours, `note` what was said of the row
    in it.
    """

    position: Position
    op: str
    row: Fields | None
    last: Fields
    ts_us: int | None
    origin: bytes = b""
    note: bytes = b""


@dataclass(frozen=True, slots=True)
class Others:
    """A row as all others see it, without what the open transaction has made of it. None: there is none."""

    row: Fields | None


@dataclass(frozen=True, slots=True)
class AtHub:
    """What is known at the hub of one key: the row, FOR UPDATE (None: there is none), what is kept of it, of the
    spoke's row and of what waits for a person, through which position the hub's own stream was observed, and what must
    have been for a row to be made again. `others` is None where nobody has looked. `late`: what others have done, and
    was not observed, is later than what the spoke says."""

    row: Fields | None
    state: str | None
    link: str | None
    conflict: str | None
    observed: Position
    end: Position
    others: Others | None = None
    late: bool = False


@dataclass(frozen=True, slots=True)
class Listed:
    """A conflict as it is listed: see `placemat.conflict_log`. Times are the first and last moment it may have been, in
    microseconds; None where nobody knows."""

    field: str | None
    kind: str
    rule: str
    resolution: str
    won: str | None
    base: str | None
    ours: str | None
    theirs: str | None
    ours_at: int | None
    theirs_at: int | None


@dataclass(frozen=True, slots=True)
class Kept:
    """What is stored at the hub of one key, the answer to be told, JSON, and the conflicts that were met.

    None: as it was. `waits`: a person has to decide.
    """

    state: str | None
    link: str | None
    conflict: str | None
    answer: str | None
    listed: Sequence[Listed] = ()
    waits: bool = False
