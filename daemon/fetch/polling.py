"""Asks a service what has changed, table by table: all of it at first, then what was edited since.

A listing that breaks off goes on where it was: a table of many pages would else never be read through.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import structlog

from connectors.fetching import Fetched
from connectors.mirroring import Mirrored
from connectors.service import Exhausted, Page, Polled
from daemon.errors import OperatorError
from daemon.fetch.answers import NotAnswered
from daemon.fetch.reading import LAG_US, When
from daemon.fetch.telling import Telling
from daemon.push.request import Spent
from daemon.seams import AFTER_READ_STORED, BEFORE_READ_STORED, seam

OVERLAP_US = 240_000_000
"""How far back a poll asks again: a search may lag behind what was saved, and times may be told by the minute."""
GOES_ON_US = 1_800_000_000
"""A listing goes on so long after it has begun; then it begins anew, as its cursor may be none any more."""

log = structlog.get_logger(__name__)


class Polls(msgspec.Struct):
    """Where polls of a table stand: what was edited before `since` was read, by the mirror's clock; `edited` is the
    latest edit that was told, by the service's. In microseconds since 1970."""

    since: int = 0
    edited: int = 0


class Open(msgspec.Struct):
    """A listing that is under way: when it has begun, by the mirror's clock, the latest edit that it has told, and
    where it goes on."""

    began: int
    edited: int
    cursor: str | None = None


_polls = msgspec.json.Decoder(Polls).decode
_open = msgspec.json.Decoder(Open).decode


class Polling:
    """One worker's. Raises NotAnswered, `Spent`, and what mirror and service raise."""

    def __init__(self, mirror: Fetched, service: Polled, tables: Mapping[str, Mirrored], telling: Telling) -> None:
        self._mirror = mirror
        self._service = service
        self._tables = tables
        self._telling = telling

    def look_through(self) -> bool:
        """Read every table that was never read, whole; whether there was any. Until then nothing is told of it."""
        new = [table for table in self._tables if self._polled(table) is None]
        for table in new:
            self._poll(table, Polls())
        return bool(new)

    def poll(self) -> None:
        """Read what has changed in tables from which anything comes back."""
        for table, one in self._tables.items():
            if one.seen:
                self.poll_table(table)

    def poll_table(self, table: str) -> None:
        """Where it was read through before."""
        if (before := self._polled(table)) is not None:
            self._poll(table, before)

    def _poll(self, table: str, before: Polls) -> None:
        one, resumed = self._begun(table, before), True
        if one is None:
            one, resumed = Open(self._mirror.now(), before.edited), False
        while True:
            page = self._page(table, before, one, resumed=resumed)
            readings, strays = self._telling.readings(table, page.remotes, self._when(before, one))
            edited, resumed = max([one.edited, *(remote.latest for remote in page.remotes)]), False
            one = Open(one.began, edited, page.cursor)
            cursors: dict[str, str | None] = {_name(table): _stored(Polls(one.began, edited)), _open_name(table): None}
            if page.cursor is not None:
                cursors = {_open_name(table): _stored(one)}
            if page.unread:  # before the cursor goes beyond them
                self._mirror.mark(table, page.unread)
            seam(BEFORE_READ_STORED)
            self._mirror.store(readings, cursors, strays=strays)
            seam(AFTER_READ_STORED)
            if page.cursor is None:
                return

    def _when(self, before: Polls, one: Open) -> When:
        return When(one.began, max(0, before.since - LAG_US), listed=True)

    def _page(self, table: str, before: Polls, one: Open, *, resumed: bool) -> Page:
        try:
            since = max(0, before.edited - OVERLAP_US)
            page = self._service.changed(table, since, one.cursor, lambda ids: self._mirror.settled(table, ids))
        except OperatorError:
            if not resumed:
                raise
            page = None  # the cursor may be none any more
        match page:
            case Page():
                return page
            case Exhausted(why, until):
                raise Spent(why, until)
            case None:
                self._mirror.store([], {_open_name(table): None})
                raise NotAnswered("a listing could not go on, and begins anew")
            case _:
                raise NotAnswered(page.why, page.seconds)

    def _begun(self, table: str, before: Polls) -> Open | None:
        """The listing that has broken off. One of a restored mirror, or of a poll before, is none."""
        text = self._mirror.cursor(_open_name(table))
        found = None if text is None else _open(text)
        if found is None or found.began < before.since or self._mirror.now() - found.began > GOES_ON_US:
            return None
        return found

    def _polled(self, table: str) -> Polls | None:
        text = self._mirror.cursor(_name(table))
        return None if text is None else _polls(text)


def _name(table: str) -> str:
    return f"poll:{table}"


def _open_name(table: str) -> str:
    return f"polling:{table}"


def _stored(state: Polls | Open) -> str:
    return msgspec.json.encode(state).decode()
