"""The audit log in the state database: whoever appends locks its head, so that there is one chain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from typing import Any

import psycopg

from daemon import database
from daemon.audit.entry import COLUMNS, Draft, Entry, Head, Values, chained
from daemon.errors import OperatorError, Unavailable

FROZEN_SECONDS = 2
"""A process that is frozen with the head in hand loses it after so long."""

_HEAD = "SELECT sequence, hash, entered_at FROM placemat.audit_head"
_LOCK = f"{_HEAD} FOR UPDATE"
_MOVE = "UPDATE placemat.audit_head SET sequence = %s, hash = %s, entered_at = %s"
_NAMES = ", ".join(f'"{name}"' for name in COLUMNS)
ENTRIES = f"SELECT {_NAMES} FROM placemat.audit_entries AS entry"
"""Columns as `Entry` has them."""
_COPY_ENTRIES = f"COPY placemat.audit_entries ({_NAMES}) FROM STDIN"
_COPY_VALUES = "COPY placemat.audit_values (sequence, month, salt, content) FROM STDIN"


def connect(url: str) -> psycopg.Connection[Any]:
    """The state database, for the audit log. Raises OperatorError when it cannot be reached."""
    connection = database.connect(url, "The state database", "state.url", autocommit=False)
    connection.execute(f"SET idle_in_transaction_session_timeout = '{FROZEN_SECONDS}s'".encode())
    connection.execute("SET timezone = 'UTC'")
    connection.commit()
    return connection


@contextmanager
def opened(url: str) -> Iterator[psycopg.Connection[Any]]:
    """`connect`, closed at the end. Raises OperatorError when the database is not prepared, or goes away."""
    connection = connect(url)
    try:
        yield connection
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
        raise OperatorError("The state database is not prepared for the audit log.", "Run: placemat init") from None
    except psycopg.OperationalError as error:
        raise database.unreachable(error, "The state database", "state.url") from None
    finally:
        connection.close()


@contextmanager
def kept(what: str = "the state database does not answer") -> Iterator[None]:
    """For workers: whatever PostgreSQL raises within is tried again later."""
    try:
        yield
    except psycopg.errors.UndefinedTable:
        raise OperatorError("The state database is not prepared for the audit log.", "Run: placemat init") from None
    except psycopg.Error as error:
        raise Unavailable(f"{what} ({type(error).__name__})") from error


def find_head(connection: psycopg.Connection[Any]) -> Head | None:
    """As `read_head`; None where somebody has deleted it."""
    row = connection.execute(_HEAD).fetchone()
    return Head(*row) if row is not None else None


def read_head(connection: psycopg.Connection[Any]) -> Head:
    """As it is now, without a lock."""
    return _head(connection, _HEAD)


def lock_head(connection: psycopg.Connection[Any]) -> Head:
    """From now on nobody else appends, until the transaction ends."""
    return _head(connection, _LOCK)


def append(connection: psycopg.Connection[Any], drafts: Iterable[Draft], head: Head | None = None) -> Head:
    """Add entries within the open transaction; the new head. `head`: as `lock_head` has told."""
    head = head or lock_head(connection)
    row = connection.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None, "a clock has a time"
    entries: list[tuple[Entry, Values | None]] = []
    for draft in drafts:
        entry, values = chained(draft, head, row[0])
        head = Head(entry.sequence, entry.hash, entry.entered_at)
        entries.append((entry, values))
    if entries:
        _make_months(connection, {entry.month for entry, _ in entries})
        _copy(connection, entries)
        connection.execute(_MOVE, head)
    return head


def _head(connection: psycopg.Connection[Any], query: str) -> Head:
    row = connection.execute(query.encode()).fetchone()
    if row is None:
        raise OperatorError(
            "The audit log has no head any more: somebody has deleted it.", "placemat audit verify says what is left."
        )
    return Head(*row)


def _make_months(connection: psycopg.Connection[Any], months: set[date]) -> None:
    for month in sorted(months):
        connection.execute("SELECT placemat.audit_month(%s)", [month])


def _copy(connection: psycopg.Connection[Any], entries: Sequence[tuple[Entry, Values | None]]) -> None:
    with connection.cursor() as cursor:
        with cursor.copy(_COPY_ENTRIES.encode()) as copy:
            for entry, _ in entries:
                copy.write_row(entry)
        with cursor.copy(_COPY_VALUES.encode()) as copy:
            for entry, values in entries:
                if values is not None:
                    copy.write_row((entry.sequence, entry.month, *values))
