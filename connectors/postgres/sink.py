"""A PostgreSQL target: rows, parked keys and offsets in one transaction, fenced by epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg

from connectors.contract import Destination, Progress, Record, Taken, Wanted
from connectors.errors import Fenced, OperatorError, Unavailable
from connectors.postgres import bookkeeping, plan, turns
from connectors.postgres.bookkeeping import MAIN_LANE
from connectors.postgres.failures import Refused, translate
from connectors.postgres.parked import Parked
from connectors.postgres.router import Router, open_router
from connectors.postgres.session import open_session
from connectors.postgres.statements import read_catalogue
from connectors.postgres.writer import Writer
from schemas.topics import table_topic

_END_PREDECESSORS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()
  AND application_name = current_setting('application_name')
"""
_CLAIM = """
INSERT INTO placemat.lanes AS lane (source, lane, epoch) VALUES (%s, %s, 1)
ON CONFLICT (source, lane) DO UPDATE SET epoch = lane.epoch + 1
RETURNING epoch, transactions_offset, timeline, commit_lsn::bigint
"""
_STORE_OFFSETS = """
INSERT INTO placemat.offsets (source, topic, partition, next_offset, timeline, commit_lsn, ordinal)
SELECT %s, * FROM unnest(%s::text[], %s::int[], %s::bigint[], %s::int[], %s::numeric[], %s::bigint[])
ON CONFLICT (source, topic, partition) DO UPDATE SET next_offset = EXCLUDED.next_offset,
    timeline = EXCLUDED.timeline, commit_lsn = EXCLUDED.commit_lsn, ordinal = EXCLUDED.ordinal
"""
_STORE_LANE = """
UPDATE placemat.lanes SET transactions_offset = %s, timeline = %s, commit_lsn = %s, applied_at = clock_timestamp()
WHERE source = %s AND lane = %s AND epoch = %s AND transactions_offset = %s
"""
_HOLD_LANE = "SELECT 1 FROM placemat.lanes WHERE source = %s AND lane = %s AND epoch = %s FOR UPDATE"


class PostgresSink:
    """See `connectors.contract.Sink`."""

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        tables = plan.tables(destination.routes)
        self._topics = {table_topic(destination.source, *table.split(".", 1)): table for table in tables}
        self._origin = turns.origin(destination)
        self._connection: psycopg.Connection[Any] | None = None
        self._parked: Parked | None = None
        self._writer: Writer | None = None
        self._router: Router | None = None
        self._epoch = 0
        self._transactions_offset = 0

    def claim(self) -> Progress:
        self.close()
        with self._translated():
            connection = self._connection = open_session(
                self._destination.url, f"placemat apply {self._destination.name}"
            )
            # A frozen predecessor holds locks until its session ends; it could not commit any more.
            connection.execute(_END_PREDECESSORS)
            connection.commit()
            lane = connection.execute(_CLAIM, [self._destination.source, MAIN_LANE]).fetchone()
            assert lane is not None, "an upsert returns its row"
            connection.commit()
            self._epoch, self._transactions_offset, timeline, commit_lsn = lane
            offsets = bookkeeping.read_offsets(connection, self._destination.source)
            catalogue = read_catalogue(connection, self._destination.name, self._destination.routes)
            router = self._router = open_router(connection, self._destination)
            self._parked = Parked(connection, self._destination.source, router)
            self._parked.load()
            connection.commit()
        self._writer = Writer(connection, self._destination.name, self._topics, catalogue, self._parked, router)
        taken = {(one.topic, one.partition): Taken(one.next_offset, one.position) for one in offsets}
        return Progress(self._transactions_offset, (timeline, commit_lsn), taken)

    def write(self, records: Sequence[Record]) -> None:
        connection, writer, _ = self._session()
        with self._translated():
            self._begin(connection)
            writer.write(records)

    def commit(self, progress: Progress) -> None:
        connection, writer, _ = self._session()
        with self._translated():
            self._begin(connection)
            writer.finish()
            self._store(connection, progress)
            connection.commit()
        self._transactions_offset = progress.transactions_offset

    def rollback(self) -> None:
        if self._connection is None:
            return
        with self._translated():
            self._connection.rollback()
            if self._writer is not None and self._parked is not None:
                self._writer.forget()
                self._parked.load()
                self._connection.commit()

    def attend(self) -> None:
        connection, writer, parked = self._session()
        if not parked.entries:
            return
        with self._translated():
            asked = parked.asked()
            if not asked and not writer.due:
                connection.rollback()
                return
            self._begin(connection, anew=True)
            held = connection.execute(_HOLD_LANE, [self._destination.source, MAIN_LANE, self._epoch])
            if held.fetchone() is None:
                raise self._fenced()
            for key, request in asked:
                if request == "discard":
                    parked.unpark(key)
                elif parked.entries[key].kind == "refused":
                    writer.redrive(key)
                else:
                    parked.ask_again(key)
            writer.finish()
            connection.commit()

    def wanted(self) -> list[Wanted]:
        connection, _, parked = self._session()
        found = [Wanted(*key) for key, entry in parked.entries.items() if entry.asks]
        if self._router is not None:
            with self._translated():
                found += [Wanted(*key) for key in self._router.wanted()]
                connection.rollback()
        return found

    def parked(self) -> int:
        return len(self._parked.entries) if self._parked is not None else 0

    def close(self) -> None:
        connection, self._connection = self._connection, None
        self._writer = self._parked = None
        if connection is not None:
            connection.close()

    def _begin(self, connection: psycopg.Connection[Any], *, anew: bool = False) -> None:
        """Mark the transaction as ours before its first row, so that no capture takes it for anybody else's, and wait
        for a replay that is writing."""
        if anew or connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE:
            turns.begin_live(connection, self._destination.source, self._origin)

    def _store(self, connection: psycopg.Connection[Any], progress: Progress) -> None:
        source = self._destination.source
        if progress.partitions:
            rows = [(*key, taken.next_offset, *taken.position) for key, taken in progress.partitions.items()]
            connection.execute(_STORE_OFFSETS, [source, *(list(column) for column in zip(*rows, strict=True))])
        lane = [progress.transactions_offset, *progress.place]
        mine = [source, MAIN_LANE, self._epoch, self._transactions_offset]
        if connection.execute(_STORE_LANE, [*lane, *mine]).rowcount != 1:
            raise self._fenced()

    def _session(self) -> tuple[psycopg.Connection[Any], Writer, Parked]:
        if self._connection is None or self._writer is None or self._parked is None:
            raise Unavailable(f"target {self._destination.name} is not connected")
        return self._connection, self._writer, self._parked

    def _fenced(self) -> Fenced:
        return Fenced(f"another worker applies to target {self._destination.name}")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Whatever goes wrong, nothing stays half done."""
        try:
            yield
        except psycopg.errors.UndefinedTable as error:
            self._abandon()
            raise OperatorError(f"Target {self._destination.name} is not prepared.", "Run: placemat init") from error
        except psycopg.Error as error:
            self._abandon()
            translated = translate(error, self._destination.name)
            if isinstance(translated, Refused):
                raise OperatorError(
                    f"Target {self._destination.name} refuses what placemat keeps there: {translated.reason}.",
                    "Run: placemat init",
                ) from error
            raise translated from error
        except BaseException:  # raised again, once the connection is closed
            self._abandon()
            raise

    def _abandon(self) -> None:
        connection = self._connection
        if connection is None:
            return
        try:
            connection.rollback()
            if self._writer is not None and self._parked is not None:
                self._writer.forget()
                self._parked.load()
                connection.commit()
        except psycopg.Error:
            self.close()
