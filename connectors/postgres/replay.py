"""A PostgreSQL target beside its live worker: compares rows with what they should be, and writes those that differ.

The position that each partition is taken through moves in the transaction of its rows. A transaction in which the live
worker has none therefore knows exactly which records the rows must be equal to: no version is needed in any row.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import orjson
import psycopg

from connectors.contract import Destination, Expected, Finding, Partition, Record, Refusal
from connectors.errors import OperatorError, Unavailable
from connectors.postgres import bookkeeping, comparing, turns
from connectors.postgres.halving import write_by_halves
from connectors.postgres.parked import Key
from connectors.postgres.router import Router, open_router
from connectors.postgres.rows import Change, Columns, Event, Net, decode_change, decode_key
from connectors.postgres.session import open_session, roll_back, translated
from connectors.postgres.statements import Catalogue, TargetTable, read_catalogue
from connectors.postgres.steps import TOLD_BY_TEXT, key_step, step_of, told_by_text
from connectors.postgres.table_writes import TableWrites
from connectors.postgres.two_way.session import TwoWay
from schemas.position import START
from schemas.topics import table_topic

TURN_SECONDS = 2
FROZEN_SECONDS = 5
"""A replay that hangs within a transaction loses its session after so long, and the live worker goes on."""
_PARKED = "SELECT key FROM placemat.parked WHERE source = %s AND table_name = %s AND key = ANY (%s)"

NONE: frozenset[str] = frozenset()
Row = tuple[bytes, Net]


class PostgresReplay:
    """See `connectors.contract.ReplayTarget`."""

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        self._origin = turns.origin(destination)
        self._connection: psycopg.Connection[Any] | None = None
        self._catalogue = Catalogue({}, deferrable=False)
        self._valued: dict[str, frozenset[str]] = {}
        self._writes: TableWrites | None = None
        self._router: Router | None = None
        self._two_way: TwoWay | None = None

    def open(self) -> list[str]:
        target = self._destination
        with self._translated():
            self._connection = connection = open_session(
                target.url,
                f"placemat replay {target.name}",
                lock_timeout=f"{TURN_SECONDS}s",
                idle_in_transaction_session_timeout=f"{FROZEN_SECONDS}s",
            )
            self._catalogue = read_catalogue(connection, target.name, target.routes)
            for missing in sorted(self._catalogue.missing):
                raise OperatorError(
                    f"Target {target.name} has no table {target.routes[missing].table or missing}.",
                    f"Create it there, or take it out of targets.{target.name}.tables.",
                )
            self._valued = {name: comparing.valued(connection, table) for name, table in self._catalogue.tables.items()}
            self._router = open_router(connection, target)
            if target.both_ways is not None:
                self._two_way = TwoWay(connection, target, self._catalogue)
            connection.commit()
        self._writes = TableWrites(connection, target.name, self._catalogue)
        return sorted(self._catalogue.tables, key=lambda name: self._catalogue.tables[name].rank)

    def taken(self) -> dict[Partition, int]:
        connection = self._session()
        with self._translated():
            offsets = bookkeeping.read_offsets(connection, self._destination.source)
            connection.commit()
        return {(one.topic, one.partition): one.next_offset for one in offsets}

    def begin(self) -> dict[Partition, int]:
        connection = self._session()
        with self._translated():
            turns.begin_alone(connection, self._destination.source, self._origin)
            offsets = bookkeeping.read_offsets(connection, self._destination.source)
        return {(one.topic, one.partition): one.next_offset for one in offsets}

    def compare(self, table: str, rows: Sequence[Expected]) -> list[Finding]:
        connection = self._session()
        alone = connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        with self._translated():
            found = list(self._compare(connection, self._catalogue.tables[table], rows))
            if alone:
                connection.commit()
        return found

    def write(self, table: str, rows: Sequence[Expected]) -> list[Refusal]:
        assert self._writes is not None, "it was opened"
        write = partial(self._write, self._writes, table)
        with self._translated():
            return list(write_by_halves(self._nets(self._catalogue.tables[table], rows), write))

    def commit(self) -> None:
        with self._translated():
            self._session().commit()

    def rollback(self) -> None:
        if self._connection is not None:
            with self._translated():
                self._connection.rollback()

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _compare(
        self, connection: psycopg.Connection[Any], table: TargetTable, rows: Sequence[Expected]
    ) -> Iterator[Finding]:
        parked = self._parked(connection, table.name, [row.key for row in rows])
        changes = {event.key: event.change for event in self._events(table, rows)}
        sets: defaultdict[tuple[str, bool, tuple[str, ...], tuple[str, ...]], list[Row]] = defaultdict(list)
        for row in rows:
            if row.key in parked:
                yield Finding(row.key, "parked")
            elif (change := changes.get(row.key)) is None:
                yield Finding(row.key, "too_large")
            else:
                net = _net(table, change, row.kept)
                sets[net.kind, _whole(change), tuple(decode_key(row.key)), tuple(net.columns)].append((row.key, net))
        for (kind, whole, key, sent), some in sets.items():
            if kind == "delete":
                yield from self._extra(connection, table, key, some)
            else:
                yield from self._unlike(connection, table, key, sent, some, whole=whole)

    def _extra(
        self, connection: psycopg.Connection[Any], table: TargetTable, key: Sequence[str], rows: Sequence[Row]
    ) -> Iterator[Finding]:
        values = key_step("present", table, rows).values
        certain = told_by_text(table, key)
        for number, *texts in connection.execute(comparing.present_keys(table, key).encode(), values):
            asked = rows[number - 1][0]
            yield Finding(asked, "extra") if certain else Finding(asked, "alike", own=_written(table, asked, texts))

    def _unlike(
        self, connection: psycopg.Connection[Any], table: TargetTable, key: Sequence[str], sent: tuple[str, ...],
        rows: Sequence[Row], *, whole: bool,
    ) -> Iterator[Finding]:  # fmt: skip
        """`whole`: all of these rows is known, whatever of it is compared."""
        step = step_of(table, "upsert", sent, rows)
        columns = step.statement.columns
        constants = rows[0][1].kind == "upsert"
        query = comparing.rows_beside(table, key, columns, self._valued[table.name], constants=constants)
        names = [*columns, *(table.routing.constants if constants else ())]
        for number, present, differ in connection.execute(query.encode(), step.values):
            if not present:
                yield Finding(rows[number - 1][0], "missing" if whole else "incomplete")
            elif any(differ):
                fields = tuple(name for name, one in zip(names, differ, strict=True) if one)
                yield Finding(rows[number - 1][0], "differs", fields)

    def _write(self, writes: TableWrites, table: str, rows: Sequence[Row]) -> list[Key]:
        """Rows of a table that goes both ways are told of to the hub, as all that is written there."""
        if self._two_way is None or table not in self._two_way.tables:
            return writes.write_nets({table: dict(rows)})
        with writes.refusing():
            given = [(key, None if net.kind == "delete" else net.columns) for key, net in rows]
            work = self._two_way.repair(table, given)
            gone = writes.write_nets(work.nets)
            self._two_way.settle(work, [])
        return gone

    def _nets(self, table: TargetTable, rows: Sequence[Expected]) -> list[Row]:
        """What is to be done to each key, by the route; without the rows that are too large."""
        kept = {row.key: row.kept for row in rows if row.kept}
        return [
            (event.key, _net(table, event.change, kept.get(event.key, NONE))) for event in self._events(table, rows)
        ]

    def _events(self, table: TargetTable, rows: Sequence[Expected]) -> list[Event]:
        """Rows as the route shows them, without those that are too large."""
        topic = table_topic(self._destination.source, *table.name.split(".", 1))
        events = []
        for row in rows:
            change = decode_change(row.content) if row.content is not None else Change("d")
            if change.oversize is None:
                events.append(Event(table.name, Record(topic, 0, -1, START, row.key, row.content or b""), change))
        return events if self._router is None else self._router.all_again(events)

    def _parked(self, connection: psycopg.Connection[Any], table: str, keys: Sequence[bytes]) -> set[bytes]:
        values = [self._destination.source, table, [key.decode() for key in keys]]
        return {key.encode() for (key,) in connection.execute(_PARKED, values)}

    def _session(self) -> psycopg.Connection[Any]:
        if self._connection is None:
            raise Unavailable(f"target {self._destination.name} is not connected")
        return self._connection

    def _translated(self) -> AbstractContextManager[None]:
        """Whatever goes wrong, nothing stays half done."""
        name = self._destination.name
        return translated(
            name,
            "cannot compare a row",
            "See with placemat init whether its columns are of the source's types.",
            lambda: roll_back(self._connection),
        )


def _whole(change: Change) -> bool:
    return not (change.unchanged or change.untold)


def _net(table: TargetTable, change: Change, kept: frozenset[str]) -> Net:
    """Columns that the table has no more are left out."""
    if change.after is None:
        return Net("delete", {})
    known: Columns = {name: raw for name, raw in change.after.items() if name in table.columns and name not in kept}
    return Net("upsert" if _whole(change) and not kept else "update", known)


def _written(table: TargetTable, key: bytes, texts: Sequence[str]) -> bytes:
    """A key with other texts of its values, in the form that it has itself."""
    parts = []
    for (name, raw), text in zip(decode_key(key).items(), texts, strict=True):
        told, quoted = table.columns[name].type in TOLD_BY_TEXT, bytes(raw).startswith(b'"')
        value = bytes(raw) if told else orjson.dumps(text) if quoted else text.encode()
        parts.append(orjson.dumps(name) + b":" + value)
    return b"{%b}" % b",".join(parts)
