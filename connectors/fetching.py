"""What a mirror offers to those who read what a service has."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from connectors.pushing import Key, Seen
from connectors.service import Settled
from schemas.resolution import Fields

WHOLE_TABLE = ""
"""Stands for the record where it is only known that something in a table has changed."""


class Dirty(NamedTuple):
    """A record that is to be read anew, or WHOLE_TABLE. `changes` is how often somebody has said so, `since` when that
    was last, in microseconds since 1970. `told`: nobody but the service has, which tells of our own writes too."""

    table: str
    remote_id: str
    changes: int
    since: int = 0
    told: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of a record of the service: the row that it is (None: nobody has said), that row as it was seen
    last, when it was last known to be so, and when we have written to it or looked at it to write to it; both in
    microseconds since 1970, 0 for never."""

    key: Key | None
    seen: Fields | None = None
    read_at: int = 0
    written_at: int = 0


@dataclass(frozen=True, slots=True)
class Reading:
    """A record as it was read. `began` is the mirror's time before that, in microseconds: what was written since is not
    in it. It was so at `read_at`. `seen` None: of a table that goes one way, or as it was. `listed`: a listing shows
    it, and may show what was before something that is known already."""

    table: str
    remote_id: str
    key: Key
    version: str | None
    gone: bool
    began: int
    read_at: int
    seen: Seen | None
    keyed: bool = True
    """Whether the record holds the key of its row."""
    listed: bool = False


@dataclass(frozen=True, slots=True)
class Stray:
    """A record that holds the key of a row whose record is another one. `ours`: we have made it, and nobody has touched
    it; else `why` it is left to people. `trashing`: that it goes to the trash was about to be asked for."""

    key: Key
    remote_id: str
    ours: bool
    why: str
    trashing: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """Of a row: its record, whether that is there as far as we know, whether a request of it is open, and whether the
    service is to have the row."""

    remote_id: str | None
    alive: bool
    busy: bool
    wanted: bool


class Compared(NamedTuple):
    """How many records a listing did not have that were believed to be there, and how many it had that were not."""

    vanished: int
    unknown: int


class Strays(Protocol):
    """Records with the key of another, as the mirror keeps them. Called, and raising, as `Fetched`."""

    def due(self, most: int) -> list[Stray]:
        """Those of ours that are to be looked at, the oldest first."""

    def standing(self, key: Key) -> Standing:
        """Of the row whose key they hold."""

    def intend(self, stray: Stray) -> None:
        """Store that it is about to be put into the trash."""

    def swept(self, stray: Stray, kept: str | None, request: str | None) -> None:
        """It is there; `kept` is the record that is the row."""

    def leave(self, stray: Stray, why: str) -> None:
        """It is for people to say what it is."""

    def forget(self, stray: Stray, *, read: bool) -> None:
        """It is none any more; `read`: it is to be read anew."""

    def postpone(self, stray: Stray, seconds: float) -> None:
        """Look again later."""

    def left(self) -> list[Stray]:
        """Those that wait for people, by table and key."""


@dataclass(frozen=True, slots=True)
class Adopted:
    """A record that is this row from now on, and does not hold its key yet. Its last edit was not before `edited`,
    in microseconds since 1970."""

    key: Key
    remote_id: str
    edited: int


class Known(Protocol):
    """What the mirror of a service knows of its records. Raises as `Fetched`."""

    def records(self, table: str, remote_ids: Collection[str]) -> dict[str, Record]:
        """What is known of these."""

    def owners(self, table: str, keys: Collection[str]) -> dict[str, str]:
        """By record key, the record that is the row already."""

    def keys_of(self, table: str, remote_ids: Collection[str]) -> dict[str, str]:
        """By record of the service, the record keys."""

    def canonical(self, table: str, rows: Sequence[Mapping[str, Any]]) -> list[tuple[Fields, Mapping[str, str]]]:
        """Rows by column, of JSON values, in the form of the hub's stream; values that are none of their column's type
        are left out, and named with why."""


class Fetched(Known, Protocol):
    """The mirror of one service. All calls come from one thread, and each is one transaction. Every method but `close`
    raises as those of `connectors.pushing.Mirror`."""

    @property
    def strays(self) -> Strays:
        """On the same connection."""

    def open(self) -> None:
        """Connect anew."""

    def alone(self) -> bool:
        """Whether no other worker reads for this target; until this connection ends."""

    def now(self) -> int:
        """The mirror's time, in microseconds since 1970."""

    def cursor(self, name: str) -> str | None:
        """As it was stored."""

    def settled(self, table: str, remote_ids: Collection[str]) -> dict[str, Settled]:
        """Of these records, as they were read last, those that hold their keys and are not about to be read."""

    def store(
        self, readings: Sequence[Reading], cursors: Mapping[str, str | None], done: Sequence[Dirty] = (),
        strays: Sequence[Stray] = (),
    ) -> list[Reading]:  # fmt: skip
        """Store what was read, and through where (None: forget it); records that have been read need not be read again.
        A row of a table that goes one way whose record is gone is queued. Returns those that are not stored: we have
        written to them meanwhile, or are about to, or a listing shows something new of one that was known not long ago.
        They are to be read again, and marked so."""

    def compare(
        self, table: str, listed: Collection[str], keyed: Collection[str], began: int, cursors: Mapping[str, str]
    ) -> Compared:
        """A whole listing that began then: records of which it says otherwise than was known before are to be read.
        `keyed` are those of them that hold a key. Of a table that goes one way, people's own are none of ours."""

    def idle(self) -> bool:
        """Whether nothing waits to be told to the service now."""

    def dirty(self, most: int) -> list[Dirty]:
        """Records to be read anew, the oldest first."""

    def postpone(self, dirty: Sequence[Dirty], seconds: float) -> None:
        """These are to be read after so long, or as soon as somebody names them again."""

    def mark(self, table: str, remote_ids: Collection[str]) -> None:
        """These are to be read anew."""

    def unkeyed(self, most: int) -> list[tuple[Key, str]]:
        """Rows whose records do not hold their key yet, and those records."""

    def keyed(self, key: Key) -> None:
        """It does now."""

    def keyless(self, key: Key, seconds: float) -> None:
        """It does not, and is to be given it after so long."""

    def waiting(self, most: int) -> int:
        """Rows that the service could be told now; not counted any further than `most`."""

    def notify_queue(self) -> None:
        """Wake those who tell the service: they may begin."""

    def wait(self, seconds: float) -> None:
        """Until something is marked, or what was marked is due; at most so long."""

    def close(self) -> None:
        """Leave; safe to repeat."""


class Linked(Fetched, Protocol):
    """The mirror of a service that was full before it was linked with the hub."""

    def adopt(self, adopted: Sequence[Adopted]) -> None:
        """In one transaction. What was read of them under other keys is gone then, and they are read anew.

        Raises OperatorError where a row has another record.
        """
