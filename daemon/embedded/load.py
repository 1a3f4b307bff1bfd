"""A load: transactions of mixed size and kind on the primary's routed tables, paced or as fast as it takes them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from random import Random
from threading import Event
from typing import Any

from psycopg import Connection, connect, errors

from daemon.embedded.load_statements import OPERATIONS, Operation, Writer
from daemon.errors import OperatorError

TABLES = ("workspaces", "projects", "storytellers", "stories", "story_media")
LARGEST_TRANSACTION = 500
EMPTY_TRANSACTIONS_ALLOWED = 1_000

OTHER_WRITERS = (
    errors.DeadlockDetected,
    errors.SerializationFailure,
    errors.UniqueViolation,
    errors.ForeignKeyViolation,
)
"""What writers beside this one, or an earlier load of the same seed, can cause: another transaction is drawn."""


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What a load committed: row changes by kind, those by foreign-key action included."""

    transactions: int
    inserted: int
    updated: int
    deleted: int
    rolled_back: int
    """Transactions given up because of other writers, or of an earlier load of the same seed."""
    seconds: float

    @property
    def changes(self) -> int:
        return self.inserted + self.updated + self.deleted


def run_load(
    dsn: str,
    seed: int,
    *,
    changes: int | None = None,
    seconds: float | None = None,
    rate: float | None = None,
    tables: Collection[str] = TABLES,
    largest_transaction: int = LARGEST_TRANSACTION,
    stop: Event | None = None,
) -> LoadReport:
    """Change rows until at least `changes` are committed, `seconds` have passed or `stop` is set.

    `rate` is in row changes per second; transactions are then kept below a tenth of a second's worth. Only rows of
    `tables` are changed. Sizes are in rows, small ones drawn far more often; a cascade may go above the largest.
    Memory does not grow with the load. Raises OperatorError when the tables hold nothing to work on, and psycopg.Error
    when the server goes away.
    """
    largest = largest_transaction if rate is None else min(largest_transaction, max(1, round(rate / 10)))
    with connect(dsn, application_name="placemat-load") as conn:
        load = Load(conn, Random(seed), usable(tables), largest)
        pace = Pace(changes, seconds, rate, stop or Event())
        while not pace.over(load.total["changes"]):
            load.run_transaction()
        return load.report(pace.elapsed())


def usable(tables: Collection[str]) -> Sequence[Operation]:
    operations = [operation for operation in OPERATIONS if operation.tables <= set(tables)]
    if not operations:
        raise OperatorError(
            f"There is no load for the tables {', '.join(sorted(tables)) or '(none)'}.",
            f"Name some of {', '.join(TABLES)}.",
        )
    return operations


@dataclass(slots=True)
class Pace:
    """When the load ends, and how long it waits between transactions."""

    changes: int | None
    seconds: float | None
    rate: float | None
    stop: Event
    started: float = 0.0

    def __post_init__(self) -> None:
        self.started = time.monotonic()

    def elapsed(self) -> float:
        return time.monotonic() - self.started

    def over(self, done: int) -> bool:
        """Whether it is enough; waits first when the load is ahead of its rate."""
        if self.changes is not None and done >= self.changes:
            return True
        ahead = done / self.rate - self.elapsed() if self.rate else 0.0
        if self.seconds is not None:
            ahead = min(ahead, self.seconds - self.elapsed())
        if self.stop.wait(max(0.0, ahead)):
            return True
        return self.seconds is not None and self.elapsed() >= self.seconds


class Load:
    """Draws transactions and runs them on one connection."""

    def __init__(self, conn: Connection[Any], rng: Random, operations: Sequence[Operation], largest: int) -> None:
        self.conn = conn
        self.rng = rng
        self.operations = operations
        self.largest = largest
        self.total = Counter[str]()
        self._empty_in_a_row = 0

    def run_transaction(self) -> None:
        size = round(self.largest ** (self.rng.random() ** 2))
        parts = self.rng.choices((1, 2, 4), (6, 3, 1))[0]
        chosen = self.rng.choices(self.operations, [operation.weight for operation in self.operations], k=parts)
        try:
            with self.conn.transaction(), self.conn.cursor() as cursor:
                writer = Writer(cursor, self.rng)
                for operation in chosen:
                    operation.run(writer, max(1, size // parts))
        except OTHER_WRITERS:
            self.total["rolled_back"] += 1
        else:
            self._count(writer.changes)

    def report(self, seconds: float) -> LoadReport:
        total = self.total
        return LoadReport(
            transactions=total["transactions"],
            inserted=total["inserted"],
            updated=total["updated"],
            deleted=total["deleted"],
            rolled_back=total["rolled_back"],
            seconds=seconds,
        )

    def _count(self, changes: Counter[str]) -> None:
        if changes.total() == 0:
            self._empty_in_a_row += 1
            if self._empty_in_a_row >= EMPTY_TRANSACTIONS_ALLOWED:
                raise OperatorError(
                    "The primary has no rows for a load to work on.", "Load sample data or your own files first."
                )
            return
        self._empty_in_a_row = 0
        self.total.update(changes)
        self.total["changes"] += changes.total()
        self.total["transactions"] += 1
