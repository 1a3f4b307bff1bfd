"""What a room for a service offers: records by id, and an answer to every request that says what has come of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from schemas.resolution import Fields


class Reference(NamedTuple):
    """A value that stands for a row of another table, by the id of its record there."""

    table: str
    remote_id: str


@dataclass(frozen=True, slots=True)
class Remote:
    """A record as a service shows it, by the hub's columns: JSON values, or a Reference; what cannot be told in the
    hub's terms is left out, and named in `untold`, with why.

    `key` is the value of the row's key, as the record has it; `latest` the latest moment that its content may have been
    edited, in microseconds since 1970, as far as the service says.
    """

    id: str
    version: str
    fields: Mapping[str, Any]
    key: str | None
    latest: int
    gone: bool = False
    author: str | None = None
    untold: Mapping[str, str] = field(default_factory=dict)
    created: str = ""
    """Orders records that have the same key; the first is kept."""
    ours: bool = False
    """This connection has made it, as far as the service tells."""
    untouched: bool = False
    """And nobody has edited it since."""


@dataclass(frozen=True, slots=True)
class Done:
    """It was carried out. `remote` is the record after it (None: there is none)."""

    remote: Remote | None
    request: str | None = None
    """The service's id of the request, for the audit."""


@dataclass(frozen=True, slots=True)
class Found:
    """Records that a search has found, in the order of their making."""

    remotes: Sequence[Remote]


@dataclass(frozen=True, slots=True)
class NotDone:
    """Nothing was carried out: the same may be tried again, not before so many seconds where the service says so."""

    why: str
    seconds: float | None = None
    paced: bool = False
    """It was held back by our own pace, or the service's: that does not speak against the service."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """It may have been carried out, and may not: the service has to be asked before anything is sent again.

    `remote_id`: the service says that it has made this record.
    """

    why: str
    remote_id: str | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """The service does not take it as it is; `reason` is in its own words."""

    code: str
    reason: str
    request: str | None = None


@dataclass(frozen=True, slots=True)
class Gone:
    """There is no such record, or not any more."""


@dataclass(frozen=True, slots=True)
class InTheTrash:
    """There is such a record, and it has to be taken out of the trash before it is changed."""


@dataclass(frozen=True, slots=True)
class Moved:
    """The record is another one than it was planned for: plan again."""


@dataclass(frozen=True, slots=True)
class Exhausted:
    """No more is let through before a moment (seconds since 1970; None: nobody knows): the target stops until then."""

    why: str
    until: float | None = None


Read = Done | NotDone | Exhausted
"""Of a record that is not there `remote` is None, or gone."""
Search = Found | NotDone | Exhausted
Written = Done | NotDone | Unknown | Refused | Gone | InTheTrash | Moved | Exhausted

Rows = Mapping[tuple[str, str], str]
"""Ids of records by table and key value."""


class Service(Protocol):
    """One connection to a service; methods that ask it may be called from several threads. Each raises OperatorError
    where a person has to act: a token is revoked, a database is not shared, a field is gone.
    """

    def room(self) -> NotDone | Exhausted | None:
        """Wait until a request may go at once. None: it may."""

    def references(self, table: str, rows: Iterable[Fields]) -> set[tuple[str, str]]:
        """Rows of other tables that these refer to: table and key value. Pure."""

    def shown(self, table: str, row: Fields, rows: Rows) -> Mapping[str, Any]:
        """What the service will show once it was given this row, by column, as `Remote.fields` has it; without what it
        cannot be given now, as a reference to a row that has no record. Pure."""

    def read(self, table: str, remote_id: str) -> Read:
        """One record."""

    def several(self, table: str, records: Mapping[str, str]) -> Search:
        """Of these records, by id with the key that each holds, those that take fewer requests than one for each. They
        may be as they were some seconds ago; those that are left out are to be read one by one."""

    def find(self, table: str, key: str) -> Search:
        """Records with this key value, those in the trash too where the service can tell."""

    # No write begins after `latest` (`time.monotonic`): whoever looks later then knows that none is on its way.

    def create(self, table: str, key: str, row: Fields, rows: Rows, latest: float) -> Written:
        """Make a record that holds the key."""

    def update(
        self, table: str, remote_id: str, row: Fields, rows: Rows, version: str | None, latest: float
    ) -> Written:
        """Change fields of a record; Moved where the service compares versions, and it has another one."""

    def delete(self, table: str, remote_id: str, version: str | None, latest: float) -> Written:
        """Take a record away, so that people can take it back."""

    def restore(self, table: str, remote_id: str, latest: float) -> Written:
        """Take it out of the trash. Gone where the service cannot."""


@dataclass(frozen=True, slots=True)
class Page:
    """Part of what a service has. `cursor` is where the next one begins; None: this is the last."""

    remotes: Sequence[Remote]
    cursor: str | None
    unread: Sequence[str] = ()
    """Ids of records that could not be read whole just now: they are to be read by themselves."""


Pages = Page | NotDone | Exhausted


class Settled(NamedTuple):
    """A record as it was read: its version, and whether it was there."""

    version: str | None
    alive: bool


Knows = Callable[[Collection[str]], Mapping[str, Settled]]
"""By id, what is known of records."""


def nothing_known(_: Collection[str]) -> Mapping[str, Settled]:
    """All is to be told."""
    return {}


class Polled(Protocol):
    """A service that is asked what has changed. Each raises OperatorError where a person has to act: above all where a
    table's records are all hidden from us at once, which is no deletion."""

    def changed(self, table: str, since: int, cursor: str | None, knows: Knows = nothing_known) -> Pages:
        """Records that may have been edited at or after a moment, in microseconds since 1970, those in the trash too;
        from 0 on that is every record, however many there are. `cursor` is that of the page before. Records that are
        known to be as they are may be left out."""

    def read(self, table: str, remote_id: str) -> Read:
        """One record."""

    def several(self, table: str, records: Mapping[str, str]) -> Search:
        """Of these records, by id with the key that each holds, those that take fewer requests than one for each. They
        may be as they were some seconds ago; those that are left out are to be read one by one."""

    def listed(self, table: str, cursor: str | None) -> Pages:
        """Every record that is there and not in the trash, at the least cost: of the fields none need be told."""

    def claim(self, table: str, remote_id: str, key: str) -> Written:
        """Give a record that people have made the key of its row."""

    def delete(self, table: str, remote_id: str, version: str | None, latest: float) -> Written:
        """See `Service.delete`."""


class Whole(Service, Polled, Protocol):
    """A service that is told rows and asked what it has, as a target's workers have it."""


def keys_of(rows: Collection[tuple[str, str]]) -> dict[str, set[str]]:
    """Key values by table."""
    found: dict[str, set[str]] = {}
    for table, key in rows:
        found.setdefault(table, set()).add(key)
    return found
