"""A connection to a mirror, for those who tell its service and those who read it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
import orjson
import psycopg

from connectors.contract import Destination, Routing
from connectors.mirroring import Mirrored
from connectors.postgres import turns
from connectors.postgres.mirror.seen import SeenRows
from connectors.postgres.mirror.stored import stored_canonicals
from connectors.postgres.session import open_session, roll_back, translated
from connectors.postgres.statements import read_catalogue
from connectors.postgres.steps import ArrayLiteral, ArrayLiteralDumper
from connectors.postgres.two_way.changes import Changes
from connectors.pushing import LeaseLost, Overtaken
from schemas.resolution import Fields

_KEYS = "SELECT remote_id, key FROM placemat.remotes WHERE table_name = %s AND remote_id = ANY (%s)"


class MirrorSession:
    """Of one worker. `application` is its name on the server; `channel` is what wakes it."""

    def __init__(self, destination: Destination, tables: Sequence[Mirrored], application: str, channel: str) -> None:
        self.destination = destination
        self.tables = tables
        self._application = application
        self._channel = channel
        self._connection: psycopg.Connection[Any] | None = None

    def open(self) -> psycopg.Connection[Any]:
        """Connect anew. Raises as `transaction` does."""
        self.close()
        name = self.destination.name
        with self._translated():
            connection = self._connection = open_session(self.destination.url, f"{self._application} {name}")
            connection.adapters.register_dumper(ArrayLiteral, ArrayLiteralDumper)
            connection.execute(f"LISTEN {self._channel}".encode())
            wanted = read_catalogue(connection, name, self.destination.routes)
            seen = read_catalogue(connection, name, {one.table: Routing() for one in self.tables if one.seen})
            tables = stored_canonicals(connection, seen.tables)
            for table, canonical in tables.items():
                seen.tables[table].two_way = canonical
            self.rows = Changes(connection, stored_canonicals(connection, wanted.tables))
            self.seen = SeenRows(connection, seen, tables, turns.origin(self.destination))
            connection.commit()
        return connection

    @contextmanager
    def transaction(self) -> Iterator[psycopg.Connection[Any]]:
        """Committed at its end. Raises Unavailable when the database does not answer, TryAgain when it was busy, and
        OperatorError when it is not prepared, with nothing left behind."""
        connection = self._open()
        with self._translated():
            try:
                yield connection
            except (LeaseLost, Overtaken):
                connection.rollback()
                raise
            connection.commit()

    def canonical(self, rows: Sequence[Mapping[str, Any]], table: str) -> list[tuple[Fields, Mapping[str, str]]]:
        """Rows by column, of JSON values, in the form of the hub's stream; values that are none of their column's type
        are left out, and named with why."""
        known = [{name: msgspec.Raw(orjson.dumps(value)) for name, value in row.items()} for row in rows]
        with self.transaction() as connection:
            told = [row for row in known if row]
            try:
                with connection.transaction():
                    found = iter(self.rows.canonical(table, told))
                return [(next(found) if row else {}, {}) for row in known]
            except psycopg.DataError:
                return [self._canonical(connection, table, row) for row in known]

    def keys_of(self, table: str, remote_ids: Collection[str]) -> dict[str, str]:
        with self.transaction() as connection:
            return dict(connection.execute(_KEYS, [table, list(remote_ids)]).fetchall())

    def wait(self, seconds: float) -> None:
        """Until the channel tells, at most so long."""
        connection = self._open()
        with self._translated():
            for _ in connection.notifies(timeout=seconds, stop_after=1):
                pass
            connection.commit()

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _canonical(
        self, connection: psycopg.Connection[Any], table: str, row: Mapping[str, msgspec.Raw]
    ) -> tuple[Fields, Mapping[str, str]]:
        found: dict[str, str | None] = {}
        wrong: dict[str, str] = {}
        for name, value in row.items():
            try:
                with connection.transaction():
                    found |= self.rows.canonical(table, [{name: value}])[0]
            except psycopg.DataError as error:
                # The server's own words quote the value.
                wrong[name] = f"it is no value of the column's type ({error.sqlstate})"
        return found, wrong

    def _open(self) -> psycopg.Connection[Any]:
        assert self._connection is not None, "opened before"
        return self._connection

    @contextmanager
    def _translated(self) -> Iterator[None]:
        name = self.destination.name
        with translated(name, "refuses what placemat keeps there", "Run: placemat init", self._abandon):
            yield

    def _abandon(self) -> None:
        roll_back(self._connection)
