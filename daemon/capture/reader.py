"""SELECTs of a snapshot: rows as PostgreSQL writes them, together with what the SELECT could see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import psycopg
from psycopg import pq, sql

from daemon.capture.catalog import Table, read_table
from daemon.capture.pgoutput import Cell
from daemon.capture.values import SESSION
from daemon.capture.visibility import Snapshot
from daemon.errors import Unavailable

MARK_PREFIX = "placemat.mark"
CONNECT_TIMEOUT_SECONDS = 10
KEYS_OF_A_STATEMENT = 1_000
"""Far below what the protocol's 16 bits for parameters and the planner's stack take."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one table, and the snapshot in which they were read."""

    table: Table
    snapshot: Snapshot
    rows: list[list[Cell]]

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
                keepalives_idle=10,
                keepalives_interval=5,
                keepalives_count=3,
                tcp_user_timeout=30_000,
                options=SESSION,
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

    def chunk(self, table: Table, after: Sequence[str] | None, limit: int) -> Rows:
        """The next rows in key order."""
        beyond = sql.SQL("WHERE ({}) > ({})").format(_names(table), _parameters(table, 1))
        where = sql.SQL("") if after is None else beyond
        statement = sql.SQL("SELECT {} FROM {} {} ORDER BY {} LIMIT {}").format(
            _columns(table), _table(table), where, _names(table), sql.Literal(limit)
        )
        return self._select(table, (statement, list(after or ())))

    def keys(self, table: Table, keys: Sequence[Sequence[str]]) -> Rows:
        """The rows of these keys, as far as they are there.

        Raises psycopg.DataError when one of them is no value of the key's types.
        """
        width = len(table.key)
        questions = []
        for first in range(0, len(keys), KEYS_OF_A_STATEMENT):
            part = keys[first : first + KEYS_OF_A_STATEMENT]
            rows = sql.SQL(", ").join(
                sql.SQL("({})").format(_parameters(table, 1 + width * place)) for place in range(len(part))
            )
            statement = sql.SQL("SELECT {} FROM {} WHERE ({}) IN ({})").format(
                _columns(table), _table(table), _names(table), rows
            )
            questions.append((statement, [text for key in part for text in key]))
        return self._select(table, *questions)

    def mark(self, source: str, epoch: int, number: int) -> None:
        """Write a mark into the log: the stream shows it after all that was committed before."""
        content = orjson.dumps({"source": source, "epoch": epoch, "number": number}).decode()
        self._connection.execute("SELECT pg_logical_emit_message(true, %s, %s)", [MARK_PREFIX, content])

    def _select(self, table: Table, *questions: tuple[sql.Composed, Sequence[str]]) -> Rows:
        """One snapshot for all questions: what is seen, and the rows."""
        rows: list[list[Cell]] = []
        with self._connection.transaction():
            self._connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            # Before the snapshot: a table that is rewritten meanwhile would look empty to it.
            self._connection.execute(sql.SQL("LOCK TABLE ONLY {} IN ACCESS SHARE MODE").format(_table(table)))
            snapshot = self.snapshot()
            for statement, values in questions:
                result = self._connection.pgconn.exec_params(
                    statement.as_string(self._connection).encode(), [value.encode() for value in values]
                )
                if result.status != pq.ExecStatus.TUPLES_OK:
                    raise psycopg.errors.lookup((result.error_field(pq.DiagnosticField.SQLSTATE) or b"XX000").decode())(
                        f"{table.relation.name} cannot be read"
                    )
                columns = range(result.nfields)
                rows += ([result.get_value(row, at) for at in columns] for row in range(result.ntuples))
        return Rows(table, snapshot, rows)


def _table(table: Table) -> sql.Identifier:
    return sql.Identifier(table.relation.schema, table.relation.table)


def _columns(table: Table) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(column.name) for column in table.relation.columns)


def _names(table: Table) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(name) for name in table.key)


def _parameters(table: Table, first: int) -> sql.Composed:
    parts = (f"${first + place}::text::{type_}" for place, type_ in enumerate(table.key_types))
    return sql.SQL(", ").join(sql.SQL(part) for part in parts)
