"""A second session at the hub: what all others see while a transaction of ours is open."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import psycopg

from connectors.errors import TableUnfit
from connectors.postgres.session import open_session
from connectors.postgres.statements import TargetTable
from connectors.postgres.steps import ArrayLiteral, ArrayLiteralDumper
from connectors.postgres.two_way.canonical import Canonical
from connectors.postgres.two_way.changes import Changes, Key
from schemas.position import parse_lsn
from schemas.resolution import Others

TICK_PREFIX = "placemat.tick"
LOCK_TIMEOUT = "1s"
"""Somebody who changes a table may wait for our transaction, and this session for them: nobody else finds that out."""
_LOCKED = """
SELECT 1 FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'relation' AND granted
  AND mode = 'AccessExclusiveLock' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND relation = to_regclass(%s)
"""
_TICK = "SELECT pg_logical_emit_message(true, %s, '')::text"


class Outside:
    """One per session of the hub's rows; connects when it is asked first. Raises psycopg.Error."""

    def __init__(self, ours: psycopg.Connection[Any], url: str, tables: Mapping[str, Canonical]) -> None:
        """`ours` is the session of the open transaction."""
        self._ours = ours
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
        """Of each key. Raises TableUnfit where our own transaction keeps everybody out of a table."""
        keys = sorted(keys)
        try:
            found = Changes(self._opened(), self._tables).present(keys, locked=False)
        except psycopg.errors.LockNotAvailable:
            for name in dict.fromkeys(name for name, _ in keys):
                self._check_open(self._tables[name].table)
            raise
        return {key: Others(found.get(key)) for key in keys}

    def _check_open(self, table: TargetTable) -> None:
        if self._ours.execute(_LOCKED, [table.quoted.replace("%%", "%")]).fetchone() is not None:
            there = table.routing.table or table.name
            raise TableUnfit(
                table.name,
                f"A trigger of target {table.target} locks {there} against all who read it (ACCESS EXCLUSIVE)"
                " when rows are written, so that nobody can tell what others do there.",
                "Have it lock rows, or the table IN SHARE ROW EXCLUSIVE MODE;"
                f" then: placemat resume {table.target} {table.name}",
            )

    def _opened(self) -> psycopg.Connection[Any]:
        if self._connection is None or self._connection.closed:
            self._connection = open_session(self._url, "placemat outside", lock_timeout=LOCK_TIMEOUT)
            self._connection.autocommit = True
            self._connection.adapters.register_dumper(ArrayLiteral, ArrayLiteralDumper)
        return self._connection
