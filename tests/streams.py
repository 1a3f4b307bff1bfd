"""Waits until what was committed so far has been taken by those who follow it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import psycopg

from tests.waiting import until

Connection = psycopg.Connection[Any]
_TICK = "SELECT (pg_logical_emit_message(true, 'tests.tick', 'x') - '0/0'::pg_lsn)::bigint"
_APPLIED = "SELECT commit_lsn::bigint FROM placemat.lanes WHERE source = %s AND lane = 'main'"


class Stream(NamedTuple):
    """What the source of this name commits, a superuser's connection to it, and one to each who takes it."""

    source: str
    connection: Connection
    followers: Iterable[Connection]


def taken(streams: Iterable[Stream], seconds: float) -> None:
    """One stream after the other, as the earlier ones lead to something in the later ones."""
    for source, connection, followers in streams:
        (place,) = connection.execute(_TICK).fetchone() or (0,)
        for follower in followers:
            until(lambda f=follower, s=source, p=place: _applied(f, s) >= p, seconds, what=f"{source} taken")  # type: ignore[misc]


def _applied(connection: Connection, source: str) -> int:
    row = connection.execute(_APPLIED, [source]).fetchone()
    return int(row[0]) if row else 0
