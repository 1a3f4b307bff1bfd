"""Compares all that a service has with what its mirror knows, by ids, now and then.

Polls do not tell of everything: not of what was deleted for good, nor of what was moved away or in, nor of what a
search left out. Whatever differs is only marked: reading it tells what it has become.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass, field

import msgspec
import structlog

from connectors.fetching import Fetched
from connectors.service import Exhausted, Page, Polled
from daemon.fetch.answers import NotAnswered
from daemon.observe import metrics
from daemon.push.request import Spent

STALE_SECONDS = 600.0
"""A listing that nobody has gone on with for so long begins anew: its cursor may be none any more."""

log = structlog.get_logger(__name__)


class Listed(msgspec.Struct):
    """When the last whole listing of a table began, by the mirror's clock, in microseconds since 1970."""

    at: int


_listed = msgspec.json.Decoder(Listed).decode


@dataclass(slots=True)
class Open:
    """A listing that is under way. A worker that ends leaves it: the next one begins anew."""

    table: str
    began: int
    went_on: float
    cursor: str | None = None
    listed: set[str] = field(default_factory=set)
    keyed: set[str] = field(default_factory=set)


class Listings:
    """One worker's; `tables` are looked through every `seconds`. Raises as `Fetcher`."""

    def __init__(
        self, mirror: Fetched, service: Polled, target: str, tables: Collection[str], seconds: float
    ) -> None:  # fmt: skip
        self._mirror = mirror
        self._service = service
        self._target = target
        self._tables = tables
        self._seconds = seconds
        self._at: dict[str, int] = {}
        self._open: Open | None = None

    def closed(self) -> bool:
        """Whether none is under way."""
        return self._open is None

    def step(self, *, may_wait: bool) -> bool:
        """Ask for the next page of a listing that is due; whether there was one. What waits to be told to the service
        goes first, and a listing that has waited for as long again as between two goes on all the same where not
        `may_wait`."""
        now = self._mirror.now()
        table = self._table(now)
        if table is None or not (self._mirror.idle() or (not may_wait and self._overdue(table, now))):
            return False
        if self._open is None or time.monotonic() - self._open.went_on > STALE_SECONDS:
            self._open = Open(table, now, time.monotonic())
        self._ask(self._open)
        return True

    def _ask(self, one: Open) -> None:
        page = self._service.listed(one.table, one.cursor)
        match page:
            case Page(remotes, cursor):
                one.listed.update(remote.id for remote in remotes)
                one.keyed.update(remote.id for remote in remotes if remote.key is not None)
                one.cursor, one.went_on = cursor, time.monotonic()
                if cursor is None:
                    self._close(one)
            case Exhausted(why, until):
                raise Spent(why, until)
            case _:
                raise NotAnswered(page.why, page.seconds)

    def _close(self, one: Open) -> None:
        self._open = None
        found = self._mirror.compare(one.table, one.listed, one.keyed, one.began, _state(one.table, one.began))
        self._at[one.table] = one.began
        metrics.SWEEPS.labels(self._target).inc()
        metrics.SWEPT_RECORDS.labels(self._target, "vanished").inc(found.vanished)
        metrics.SWEPT_RECORDS.labels(self._target, "unknown").inc(found.unknown)
        metrics.STRAY_RECORDS.labels(self._target).set(len(self._mirror.strays.left()))
        if found.vanished or found.unknown:
            log.info(
                "records differ from what was known", target=self._target, table=one.table,
                vanished=found.vanished, unknown=found.unknown,
            )  # fmt: skip

    def _table(self, now: int) -> str | None:
        """The one whose listing is under way, else the one that is due for the longest."""
        if self._open is not None:
            return self._open.table
        oldest = min(self._tables, key=lambda table: self._last(table, now), default=None)
        return oldest if oldest is not None and self._due(oldest, now) <= now else None

    def _due(self, table: str, now: int) -> int:
        return self._last(table, now) + round(self._seconds * 1_000_000)

    def _overdue(self, table: str, now: int) -> bool:
        return self._due(table, now) + round(self._seconds * 1_000_000) <= now

    def _last(self, table: str, now: int) -> int:
        """A table that was just looked through whole is due a while later."""
        if table not in self._at:
            text = self._mirror.cursor(_name(table))
            if text is None:
                self._mirror.store([], _state(table, now))
            self._at[table] = now if text is None else _listed(text).at
        return self._at[table]


def _name(table: str) -> str:
    return f"listed:{table}"


def _state(table: str, at: int) -> dict[str, str]:
    return {_name(table): msgspec.json.encode(Listed(at)).decode()}
