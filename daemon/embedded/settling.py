"""Waits until what is committed now has been taken over, and until nothing comes of it any more."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import psycopg

Wait = Callable[[str, Callable[[], bool]], None]
"""Takes what is waited for, in words, and the condition."""
FOLLOWERS = {"primary": ("empathy_ledger", "primary"), "empathy_ledger": ("primary",)}
"""By source, the databases in which its changes are taken in; in the hub's own the observer does."""
WITH_NOTION = {
    "primary": ("empathy_ledger", "primary", "notion"),
    "empathy_ledger": ("primary",),
    "notion": ("primary",),
}
"""The same where the daemon's mirror of Notion is one of the databases."""
_MARK = """SELECT (pg_logical_emit_message(true, 'placemat.mark', '{"by": "demo"}') - '0/0'::pg_lsn)::bigint"""
_APPLIED = "SELECT commit_lsn::bigint FROM placemat.lanes WHERE source = %s AND lane = 'main'"
_BOOKS = {
    "primary": ("placemat.hub_rows", "placemat.links", "placemat.conflicts"),
    "empathy_ledger": ("placemat.sides",),
    "notion": ("placemat.sides",),
}
_UNTOLD = """
SELECT EXISTS (SELECT FROM placemat.queue WHERE refused_at IS NULL) OR EXISTS (SELECT FROM placemat.intents)
    OR EXISTS (SELECT FROM placemat.dirty) OR EXISTS (SELECT FROM placemat.remotes WHERE NOT keyed)
"""
_SUM = "SELECT count(*), sum(hashtextextended(state, 0)::numeric) FROM {}"


class Settling:
    """`dsns` are superusers', by database."""

    def __init__(self, dsns: Mapping[str, str], wait: Wait, followers: Mapping[str, Sequence[str]] = FOLLOWERS) -> None:
        self._dsns = dsns
        self._wait = wait
        self._followers = followers

    def settle(self) -> None:
        """Until all that is committed now was taken over, first from the hub, then from the spoke."""
        for source, followers in self._followers.items():
            place = self._mark(source)
            for follower in followers:
                with psycopg.connect(self._dsns[follower], autocommit=True) as target:
                    self._wait("the changes to arrive", lambda t=target, s=source, p=place: _applied(t, s) >= p)  # type: ignore[misc]

    def rest(self) -> None:
        """Until nobody has anything to say any more: answers lead to writes, and those are told in turn."""
        before = None
        while before != (before := self._kept()):
            self.settle()

    def quiet(self) -> None:
        """Until Notion was told of all that is committed now, too, and what it says of that was taken over."""
        self.settle()
        with psycopg.connect(self._dsns["notion"], autocommit=True) as mirror:
            self._wait("Notion to be told", lambda: mirror.execute(_UNTOLD).fetchone() == (False,))
        self.rest()

    def _mark(self, source: str) -> int:
        with psycopg.connect(self._dsns[source], autocommit=True) as connection:
            (place,) = connection.execute(_MARK).fetchone() or (0,)
        return int(place)

    def _kept(self) -> list[Any]:
        """What is kept of all rows, on both sides."""
        found = []
        for database in self._followers:
            books = _BOOKS[database]
            with psycopg.connect(self._dsns[database]) as connection:
                found += [connection.execute(_SUM.format(book).encode()).fetchone() for book in books]
        return found


def _applied(target: psycopg.Connection[Any], source: str) -> int:
    row = target.execute(_APPLIED, [source]).fetchone()
    return int(row[0]) if row else 0
