"""The row of a connection in a table of the state, locked for as long as a transaction lasts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import sqlalchemy
from sqlalchemy import Connection, Row, Table, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import InternalError, OperationalError

from daemon.errors import Unavailable


@dataclass(frozen=True, slots=True)
class LockedRow:
    """`found` is the row as it was when it was locked."""

    found: Row[Any]
    _connection: Connection
    _table: Table

    @property
    def clock(self) -> float:
        """The database's time now, in seconds since 1970."""
        return float(self._connection.execute(select(func.extract("epoch", func.clock_timestamp()))).scalar_one())

    def write(self, **values: Any) -> None:
        t = self._table
        self._connection.execute(
            update(t).where(t.c.connection == self.found.connection).values(updated_at=func.now(), **values)
        )

    def remove(self) -> None:
        t = self._table
        self._connection.execute(delete(t).where(t.c.connection == self.found.connection))


@contextmanager
def locked(engine: sqlalchemy.Engine, table: Table, name: str, seconds: float) -> Iterator[LockedRow]:
    """A transaction that holds the row, which it makes where there is none. What is written counts when the block has
    ended. Who waits for the row waits so long at most, and who stands still in the block loses it after that.

    Raises Unavailable, also at the block's end: then nothing was written.
    """
    try:
        with engine.begin() as connection:
            connection.execute(
                sqlalchemy.text(
                    f"SET LOCAL idle_in_transaction_session_timeout = '{seconds:g}s';"
                    f" SET LOCAL lock_timeout = '{seconds:g}s'"
                )
            )
            row = select(table).where(table.c.connection == name).with_for_update()
            found = connection.execute(row).one_or_none()
            if found is None:
                connection.execute(insert(table).values(connection=name).on_conflict_do_nothing())
                found = connection.execute(row).one()
            yield LockedRow(found, connection, table)
    except OperationalError as error:
        raise Unavailable("the state database cannot be reached, or somebody holds on to the row") from error
    except InternalError as error:
        if not isinstance(error.orig, psycopg.errors.IdleInTransactionSessionTimeout):
            raise
        raise Unavailable("the state database has ended a transaction of a process that stood still") from error
