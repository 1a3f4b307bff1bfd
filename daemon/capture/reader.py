"""SELECTs of a snapshot: rows as PostgreSQL writes them, together with what the SELECT could see."""

from __future__ import annotations

import select
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import orjson
import psycopg
from psycopg import pq, sql

from daemon.capture import selects
from daemon.capture.catalog import Detail, Table, find_table, read_details, read_missing, read_table
from daemon.capture.pgoutput import Cell
from daemon.capture.values import SESSION
from daemon.capture.visibility import Snapshot
from daemon.database import CONNECT_TIMEOUT_SECONDS, LIVELY, hang_up, ready
from daemon.errors import Unavailable

MARK_PREFIX = "placemat.mark"
CANCEL_SECONDS = 2.0
KEYS_OF_A_STATEMENT = 1_000
"""Far below what the protocol's 16 bits for parameters and the planner's stack take."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one table, and the snapshot in which they were read."""

    table: Table
    snapshot: Snapshot
    rows: list[list[Cell]]
    cut: bool = False
    """There are more, which would have been too many bytes."""
    places: Sequence[Sequence[int]] = ()
    """Of each row the places of the keys that it answers, if rows were asked for by key."""

    def key_of(self, row: Sequence[Cell]) -> list[str]:
        """PostgreSQL's text of the key columns."""
        names = [column.name for column in self.table.relation.columns]
        cells = (row[names.index(column)] for column in self.table.key)
        return [cell.decode() for cell in cells if isinstance(cell, bytes)]


class Reader:
    """An ordinary connection to the source, for reading rows and writing marks."""

    def __init__(self, url: str, source: str) -> None:
        try:
            self._connection: psycopg.Connection[Any] = psycopg.connect(
                url,
                autocommit=True,
                connect_timeout=CONNECT_TIMEOUT_SECONDS,
                application_name=f"placemat copy {source}",
                options=SESSION,
                **LIVELY,
            )
        except psycopg.Error as error:
            raise Unavailable(f"source {source} cannot be reached") from error
        self.database = self._connection.info.dbname
        # A mark is waited for in the stream: it need not be on a standby first, and must not wait for one.
        self._connection.execute("SET synchronous_commit = local")
        # Whoever changes a table may hold it for long; the stream must not wait for that.
        self._connection.execute("SET lock_timeout = '1s'")

    def close(self) -> None:
        self._connection.close()

    def hang_up(self) -> None:
        """Make a question that waits for its answer fail; for other threads."""
        hang_up(self._connection)

    def setting_ms(self, name: str) -> int:
        """A time setting of the server in milliseconds."""
        row = self._connection.execute("SELECT setting::bigint FROM pg_settings WHERE name = %s", [name]).fetchone()
        return int(row[0]) if row else 0

    def query(self, statement: str, values: Sequence[Any]) -> tuple[Any, ...] | None:
        """The first row of a question about the server itself."""
        return self._connection.execute(statement.encode(), values).fetchone()

    def table(self, name: str) -> Table:
        """Raises OperatorError when it is gone or has no key."""
        return read_table(self._connection, *name.split(".", 1))

    def details(self, name: str) -> dict[str, Detail]:
        """What the stream does not say of a table's columns, by name."""
        return read_details(self._connection, *name.split(".", 1))

    def missing(self, names: Sequence[str]) -> set[str]:
        """Those of the tables that the source has no more."""
        return read_missing(self._connection, names)

    def text(self, statement: sql.Composed) -> str:
        """SQL as the server is sent it, values quoted."""
        return statement.as_string(self._connection)

    def find(self, name: str) -> Table | None:
        """The table as it is now, with or without a key; None when it is gone."""
        return find_table(self._connection, *name.split(".", 1))

    def wal_position(self) -> int:
        """Where the next record of the log will begin."""
        row = self._connection.execute("SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint").fetchone()
        assert row is not None
        return int(row[0])

    def snapshot(self) -> Snapshot:
        """What a statement sees now."""
        row = self._connection.execute("SELECT pg_current_snapshot()::text").fetchone()
        assert row is not None
        return Snapshot.parse(row[0])

    def unfinished(self) -> frozenset[int]:
        """Transactions that may be committed in the log and are not visible yet, the newest among them.

        A snapshot lists none above the newest that has ended: so one is ended first.
        """
        self._connection.execute("SELECT pg_current_xact_id()")
        return self.snapshot().in_progress

    def chunk(
        self,
        table: Table,
        after: Sequence[str] | None,
        limit: int,
        *,
        most_bytes: int | None = None,
        condition: str | None = None,
        inclusive: bool = False,
    ) -> Rows:
        """The next rows in key order, behind `after`, or from it on when `inclusive`."""
        return self._select(table, most_bytes, selects.chunk(table, after, limit, condition, inclusive=inclusive))

    def keys(self, table: Table, keys: Sequence[Sequence[str]], *, most_bytes: int | None = None) -> Rows:
        """The rows of these keys, as far as they are there, each of them once.

        Raises psycopg.DataError when one of them is no value of the key's types.
        """
        firsts = range(0, len(keys), KEYS_OF_A_STATEMENT)
        parts = (selects.keyed(table, keys[first : first + KEYS_OF_A_STATEMENT], first) for first in firsts)
        return _with_places(self._select(table, most_bytes, *parts))

    def expected(self, table: Table, start: Sequence[str] | None, condition: str | None) -> int:
        """How many rows the planner expects, from the key `start` on.

        Raises psycopg.DataError when that is no key, and another psycopg.Error for a condition that is none.
        """
        plan = self._explain(selects.expected(table, start, condition))
        return int(orjson.loads(plan)[0]["Plan"]["Plan Rows"])

    def check_condition(self, table: Table, condition: str) -> None:
        """Raises psycopg.Error when it is no condition over the table's columns, or is more than one."""
        self._explain(selects.alone(table, condition))

    def _explain(self, statement: selects.Statement) -> bytes:
        text, values = statement
        # By the extended protocol, which takes no second statement.
        result = self._connection.pgconn.exec_params(self.text(text).encode(), [value.encode() for value in values])
        self._ok(result)
        return result.get_value(0, 0) or b""

    def mark(self, source: str, epoch: int, number: int) -> None:
        """Write a mark into the log: the stream shows it after all that was committed before."""
        content = orjson.dumps({"source": source, "epoch": epoch, "number": number}).decode()
        self._connection.execute("SELECT pg_logical_emit_message(true, %s, %s)", [MARK_PREFIX, content])

    def cancel(self) -> None:
        """Make the SELECT that runs fail, be it in another thread; at worst it runs to its end."""
        with suppress(psycopg.Error):
            self._connection.cancel_safe(timeout=CANCEL_SECONDS)

    def _select(self, table: Table, most_bytes: int | None, *questions: selects.Statement) -> Rows:
        """One snapshot for all questions: what is seen, and the rows until they are more than `most_bytes`."""
        found = Rows(table, Snapshot(0, 0, frozenset()), [])
        with self._connection.transaction():
            self._connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            # Before the snapshot: a table that is rewritten meanwhile would look empty to it.
            lock = sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE NOWAIT").format(selects.named(table))
            self._connection.execute(lock)
            found = replace(found, snapshot=self.snapshot())
            left = most_bytes
            for question in questions:
                read = self._fetch(question, found.rows, left)
                if left is not None and (left := left - read) < 0:
                    return replace(found, cut=True)
        return found

    def _fetch(self, question: selects.Statement, rows: list[list[Cell]], most_bytes: int | None) -> int:
        """Add rows one by one, so that no more of them are in memory than are wanted; the bytes read."""
        statement, values = question
        pgconn = self._connection.pgconn
        pgconn.send_query_params(
            statement.as_string(self._connection).encode(), [value.encode() for value in values] or None
        )
        pgconn.set_single_row_mode()
        read, cut = 0, False
        failed = None
        while (result := self._next_result()) is not None:
            if result.status == pq.ExecStatus.SINGLE_TUPLE and not cut:
                row: list[Cell] = [result.get_value(0, at) for at in range(result.nfields)]
                rows.append(row)
                read += sum(len(cell) for cell in row if isinstance(cell, bytes))
                if most_bytes is not None and read > most_bytes:
                    cut = True
                    self.cancel()
            elif result.status == pq.ExecStatus.FATAL_ERROR and not cut:
                failed = result
        if failed is not None:
            self._ok(failed)
        return read

    def _next_result(self) -> pq.abc.PGresult | None:
        """As libpq's, but other threads run while it waits: psycopg's own holds the interpreter's lock."""
        pgconn = self._connection.pgconn
        while pgconn.is_busy():
            events = select.POLLIN | (select.POLLOUT if pgconn.flush() else 0)
            ready(pgconn.socket, events)
            pgconn.consume_input()
        return pgconn.get_result()

    def _ok(self, result: pq.abc.PGresult) -> None:
        if result.status == pq.ExecStatus.FATAL_ERROR:
            if not result.error_field(pq.DiagnosticField.SQLSTATE):
                raise psycopg.OperationalError("the connection is lost")
            raise psycopg.errors.error_from_result(result)


def _with_places(found: Rows) -> Rows:
    """Rows that come once for each key that they answer, put together."""
    rows: dict[tuple[str, ...], tuple[list[Cell], list[int]]] = {}
    for *row, place in found.rows:
        assert isinstance(place, bytes), "a number's text"
        rows.setdefault(tuple(found.key_of(row)), (row, []))[1].append(int(place))
    return replace(found, rows=[row for row, _ in rows.values()], places=[places for _, places in rows.values()])
