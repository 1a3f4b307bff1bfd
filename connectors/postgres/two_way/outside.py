"""A second session at the hub: what all others see while a transaction of ours is open."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import psycopg

from connectors.postgres.session import open_session
from connectors.postgres.steps import ArrayLiteral, ArrayLiteralDumper
from connectors.postgres.two_way.canonical import Canonical
from connectors.postgres.two_way.changes import Changes, Key
from schemas.position import parse_lsn
from schemas.resolution import Others

TICK_PREFIX = "placemat.tick"
LOCK_TIMEOUT = "1s"
"""Somebody who changes a table may wait for our transaction, and this session for them: nobody else finds that out."""
_TICK = "SELECT pg_logical_emit_message(true, %s, '')::text"


class Outside:
    """One per session of the hub's rows; connects when it is asked first. Raises psycopg.Error."""

    def __init__(self, url: str, tables: Mapping[str, Canonical]) -> None:
        self._url = url
        self._tables = tables
        self._connection: psycopg.Connection[Any] | None = None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def end(self) -> int:
        """The LSN of the end of the hub's log: of a transaction of its own, so that the observer comes to it."""
        row = self._opened().execute(_TICK, [TICK_PREFIX]).fetchone()
        assert row is not None, "the function returns a row"
        return parse_lsn(row[0])

    def rows(self, keys: Iterable[Key]) -> dict[Key, Others]:
        """Of each key."""
        keys = sorted(keys)
        found = Changes(self._opened(), self._tables).present(keys, locked=False)
        return {key: Others(found.get(key)) for key in keys}

    def _opened(self) -> psycopg.Connection[Any]:
        if self._connection is None or self._connection.closed:
            self._connection = open_session(self._url, "placemat outside", lock_timeout=LOCK_TIMEOUT)
            self._connection.autocommit = True
            self._connection.adapters.register_dumper(ArrayLiteral, ArrayLiteralDumper)
        return self._connection
