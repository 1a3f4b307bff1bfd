"""What the sink keeps in the target: lanes, offsets and parked keys, read and asked for from outside the worker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from typing import Any, Literal

import psycopg
from psycopg.rows import class_row

from connectors.errors import OperatorError
from connectors.postgres import related, two_way
from schemas.position import Position

MAIN_LANE = "main"
Request = Literal["redrive", "discard"]


@dataclass(frozen=True, slots=True)
class Lane:
    """Where a lane stands: next offset of the transactions topic, and the commit that it is applied through."""

    source: str
    lane: str
    epoch: int
    transactions_offset: int
    timeline: int
    commit_lsn: int


@dataclass(frozen=True, slots=True)
class Offset:
    """First record of a partition not taken, and highest position taken."""

    topic: str
    partition: int
    next_offset: int
    position: Position


@dataclass(frozen=True, slots=True)
class ParkedKey:
    """A key that waits. `events` counts what is queued for it; `key` is the record key, JSON."""

    id: int
    source: str
    table_name: str
    key: str
    kind: Literal["refused", "needs_full_row"]
    sqlstate: str | None
    reason: str
    parked_at: datetime
    attempts: int
    request: Request | None
    events: int
    code: str | None = None
    """A service's own, where it is one that has refused it."""


@dataclass(frozen=True, slots=True)
class ParkedEvent:
    """One queued event of a refused key, as it stands in its topic: `event` is the envelope, JSON, None where a service
    has refused what became of it."""

    topic: str
    partition: int
    offset: int
    event: str | None


@contextmanager
def prepared(target: str) -> Iterator[None]:
    """Raises OperatorError when what is done in the block finds none of these tables."""
    try:
        yield
    except psycopg.errors.UndefinedTable:
        raise OperatorError(f"Target {target} is not prepared.", "Run: placemat init") from None


def install(connection: psycopg.Connection[Any]) -> None:
    """Make the tables in schema `placemat` of the target; safe to repeat.

    Raises OperatorError when the schema is missing and the role may not create it.
    """
    try:
        if not connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = 'placemat'").fetchone():
            connection.execute("CREATE SCHEMA placemat")
        sql = resources.files(__package__).joinpath("bookkeeping.sql").read_text()
        connection.execute(sql.encode())
        related.install(connection)
        connection.execute(resources.files(two_way).joinpath("two_way.sql").read_bytes())
    except psycopg.errors.InsufficientPrivilege:
        role = connection.info.user
        raise OperatorError(
            f"Role {role} may not keep its tables in schema placemat of database {connection.info.dbname}.",
            f"As an owner of that database run: CREATE SCHEMA placemat AUTHORIZATION {role}",
        ) from None


def read_lanes(connection: psycopg.Connection[Any], source: str) -> list[Lane]:
    """Every lane of a source; empty before the worker's first start."""
    with connection.cursor(row_factory=class_row(Lane)) as cursor:
        return cursor.execute(
            "SELECT source, lane, epoch, transactions_offset, timeline, commit_lsn::bigint"
            " FROM placemat.lanes WHERE source = %s ORDER BY lane",
            [source],
        ).fetchall()


def read_offsets(connection: psycopg.Connection[Any], source: str) -> list[Offset]:
    """Every partition's stored offset and position."""
    rows = connection.execute(
        "SELECT topic, partition, next_offset, timeline, commit_lsn::bigint, ordinal"
        " FROM placemat.offsets WHERE source = %s ORDER BY topic, partition",
        [source],
    ).fetchall()
    return [Offset(topic, partition, offset, Position(*rest)) for topic, partition, offset, *rest in rows]


_PARKED = """
SELECT id, source, table_name, key, kind, sqlstate, reason, parked_at, attempts, request,
       (SELECT count(*) FROM placemat.parked_events WHERE parked_id = id) AS events
FROM placemat.parked
"""


def list_parked(connection: psycopg.Connection[Any], source: str) -> list[ParkedKey]:
    """Every parked key, oldest first."""
    with connection.cursor(row_factory=class_row(ParkedKey)) as cursor:
        return cursor.execute(f"{_PARKED} WHERE source = %s ORDER BY id", [source]).fetchall()


def count_parked(connection: psycopg.Connection[Any], source: str) -> int:
    """Keys that wait; 0 where nothing was ever prepared."""
    query = "SELECT to_regclass('placemat.parked') IS NOT NULL"
    if connection.execute(query).fetchone() != (True,):
        return 0
    row = connection.execute("SELECT count(*) FROM placemat.parked WHERE source = %s", [source]).fetchone()
    return row[0] if row else 0


_HOLDING = """
SELECT id FROM placemat.parked
WHERE source = %s AND table_name = %s AND key = %s AND EXISTS (SELECT FROM placemat.parked_events WHERE parked_id = id)
"""


def parked_with_events(connection: psycopg.Connection[Any], source: str, table: str, key: str) -> int | None:
    """The number of a parked key with events that wait; None: there is none, or nothing was ever prepared."""
    if connection.execute("SELECT to_regclass('placemat.parked') IS NOT NULL").fetchone() != (True,):
        return None
    row = connection.execute(_HOLDING, [source, table, key]).fetchone()
    return row[0] if row else None


def read_queue(connection: psycopg.Connection[Any], parked_id: int) -> list[ParkedEvent]:
    """The events that wait behind one parked key, in order."""
    with connection.cursor(row_factory=class_row(ParkedEvent)) as cursor:
        return cursor.execute(
            'SELECT topic, partition, "offset", event FROM placemat.parked_events WHERE parked_id = %s ORDER BY place',
            [parked_id],
        ).fetchall()


def ask(connection: psycopg.Connection[Any], ids: list[int], request: Request, by: str) -> list[int]:
    """Ask the worker to redrive or discard these keys; returns those that are still parked."""
    rows = connection.execute(
        "UPDATE placemat.parked SET request = %s, requested_by = %s WHERE id = ANY (%s) RETURNING id",
        [request, by, ids],
    ).fetchall()
    return [row[0] for row in rows]
