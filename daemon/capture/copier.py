"""The initial copy and single rows on request, by watermarks, beside the stream.

A chunk is read, then a mark is written into the log; when the stream shows the mark, the chunk's rows are published at
that place, but for those that were touched meanwhile: they are read again under a new mark. Progress is stored when
all of a chunk is acknowledged. Source: delivery protocol, "Snapshot chunk" and "One-key snapshot".
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import psycopg
import structlog

from daemon import seams
from daemon.capture.catalog import Table
from daemon.capture.codec import Codec
from daemon.capture.pgoutput import Cell
from daemon.capture.reader import Reader, Rows
from daemon.capture.values import as_text
from daemon.capture.visibility import Snapshot, Visibility
from daemon.config import Source
from daemon.observe import metrics
from daemon.state.capture import CaptureState
from schemas.envelope import Row, RowRequest

RETRY_SECONDS = 0.1
LOCKED_RETRY_SECONDS = 2.0
TELL_AFTER_SECONDS = 5.0
MOST_REQUESTS = 100
"""Rows of one table that are read together."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Publish:
    """What is published at a mark: rows, and requested keys that have no row. `done` runs once Kafka has it all."""

    codec: Codec
    rows: list[list[Cell]]
    absent: list[bytes]
    done: Callable[[], None] | None


@dataclass(slots=True)
class _Work:
    """One chunk from its first SELECT to its last mark. `requested` holds record keys by their texts."""

    rows: Rows
    number: int
    requested: dict[bytes, list[str]] | None
    last_key: list[str] | None
    count: int
    final: bool


class Copier:
    """At most one chunk at a time waits for its mark."""

    def __init__(
        self, reader: Reader, state: CaptureState, visibility: Visibility, source: str, epoch: int, config: Source
    ) -> None:
        self._reader = reader
        self._state = state
        self._visibility = visibility
        self._source = source
        self._epoch = epoch
        self._chunk_rows = config.snapshot.chunk_rows
        copies = [one for one in state.snapshots() if one.table in config.tables]
        self._tables = {one.table for one in copies}
        self._todo = deque((one.table, one.last_key) for one in copies if not one.done)
        self._requests: dict[str, dict[bytes, Row]] = {}
        self._together = MOST_REQUESTS
        self._work: _Work | None = None
        self._again: tuple[_Work, dict[bytes, list[str]]] | None = None
        self._number = 0
        self._not_before = 0.0
        self._waiting_since: float | None = None
        self._told = False
        self._copied = metrics.SNAPSHOT_ROWS.labels(source)

    @property
    def snapshot(self) -> Snapshot | None:
        """The snapshot of the chunk that waits for its mark."""
        return self._work.rows.snapshot if self._work is not None else None

    @property
    def pending(self) -> bool:
        """A mark is on its way."""
        return self._work is not None

    @property
    def idle(self) -> bool:
        return self._work is None and self._again is None and not self._todo and not self._requests

    @property
    def table(self) -> str | None:
        """The table that is being copied."""
        return self._todo[0][0] if self._todo else None

    def request(self, request: RowRequest) -> None:
        """Read one row whole; asking twice is asking once. What cannot be answered is logged and let go."""
        table = f"{request.schema_}.{request.table}"
        if table in self._tables:
            self._requests.setdefault(table, {})[_name(request.key)] = request.key
        else:
            log.warning("request for a table that is not captured", table=table, target=request.target)

    def step(self) -> None:
        """Begin the next chunk if none waits for its mark. Raises OperatorError, and psycopg.OperationalError."""
        if self._work is not None or time.monotonic() < self._not_before:
            return
        try:
            if self._again is not None:
                self._read_again(*self._again)
            elif self._requests:
                self._begin_requested()
            elif self._todo:
                self._begin_chunk()
        except psycopg.errors.LockNotAvailable:
            self._not_before = time.monotonic() + LOCKED_RETRY_SECONDS
            log.info("copy waits for a lock on a table", source=self._source)

    def at_mark(self, number: int) -> Publish | None:
        """What to publish where the stream shows mark `number`; None when the mark is of no use any more."""
        work = self._work
        if work is None or work.number != number:
            return None
        self._work = None
        table = work.rows.table
        codec = Codec(self._source, self._reader.database, table.relation, table.key)
        table_name, snapshot = table.relation.name, work.rows.snapshot
        clean: list[list[Cell]] = []
        dirty: dict[bytes, list[str]] = {}
        found: set[bytes] = set()
        for row in work.rows.rows:
            key = codec.key(row)
            name = key if work.requested is None else _name(json.loads(key))
            found.add(name)
            if self._visibility.dirty(table_name, key, snapshot):
                dirty[name] = work.rows.key_of(row)
            else:
                clean.append(row)
        missing = {key: texts for key, texts in (work.requested or {}).items() if key not in found}
        dirty |= {key: texts for key, texts in missing.items() if self._visibility.dirty(table_name, key, snapshot)}
        absent = [key for key in missing if key not in dirty]
        self._copied.inc(len(clean))
        if dirty:
            self._again = (work, dirty)
            if not clean and not absent:  # what touched them is still not seen: no hurry, each try is a mark in the log
                self._not_before = time.monotonic() + RETRY_SECONDS
            return Publish(codec, clean, absent, None)
        return Publish(codec, clean, absent, self._when_done(work))

    def _begin_requested(self) -> None:
        name, keys = next(iter(self._requests.items()))
        taken = dict(list(keys.items())[: self._together])
        table = self._reader.table(name)
        asked = _asked(table, taken)
        try:
            rows = self._reader.keys(table, list(asked.values())) if asked else None
        except psycopg.DataError:
            if self._together > 1:
                self._together = 1  # one of them is no key: find it
                return
            rows = None
        if rows is not None and not self._may_serve(rows):
            return
        for key in taken:
            del keys[key]
        if not keys:
            del self._requests[name]
        if rows is None:
            self._together = MOST_REQUESTS
            log.warning("request for what is no key of its table", table=name)
        else:
            self._mark(_Work(rows, 0, asked, None, 0, final=False))

    def _begin_chunk(self) -> None:
        name, after = self._todo[0]
        rows = self._reader.chunk(self._reader.table(name), after, self._chunk_rows)
        if not self._may_serve(rows):
            return
        final = len(rows.rows) < self._chunk_rows
        last = rows.key_of(rows.rows[-1]) if rows.rows else after
        self._todo.popleft()
        if not final:
            self._todo.appendleft((name, last))
        self._mark(_Work(rows, 0, None, last, len(rows.rows), final))

    def _read_again(self, work: _Work, dirty: dict[bytes, list[str]]) -> None:
        """Keys that were touched meanwhile, under a new mark; the chunk's progress waits for them."""
        rows = self._reader.keys(work.rows.table, list(dirty.values()))
        self._again = None
        requested = dirty if work.requested is not None else None
        self._mark(_Work(rows, 0, requested, work.last_key, work.count, work.final))

    def _mark(self, work: _Work) -> None:
        self._number += 1
        work.number = self._number
        self._work = work
        self._reader.mark(self._source, self._epoch, self._number)
        seams.seam(seams.AFTER_MARK)

    def _may_serve(self, rows: Rows) -> bool:
        """A transaction from before the stream's start may be streamed already and still unseen: wait for its end."""
        blocker = self._visibility.waits_for(rows.snapshot)
        now = time.monotonic()
        if blocker is None:
            self._waiting_since, self._told = None, False
            self._visibility.forget(rows.snapshot)
            return True
        self._not_before = now + RETRY_SECONDS
        self._waiting_since = self._waiting_since or now
        if not self._told and now - self._waiting_since > TELL_AFTER_SECONDS:
            self._told = True
            log.warning("copy waits for a transaction that began before the capture", source=self._source, xid=blocker)
        return False

    def _when_done(self, work: _Work) -> Callable[[], None] | None:
        if work.requested is not None:
            return None
        name = work.rows.table.relation.name

        def store() -> None:
            seams.seam(seams.BEFORE_PROGRESS)
            self._state.chunk_done(name, work.last_key, work.count, done=work.final)
            if work.final:
                log.info("table copied", source=self._source, table=name)

        return store


def _name(key: Row) -> bytes:
    """A record key's bytes."""
    return json.dumps(key, ensure_ascii=False, separators=(",", ":")).encode()


def _asked(table: Table, keys: Mapping[bytes, Row]) -> dict[bytes, list[str]]:
    """The texts of those keys that have the table's key columns and values of their types."""
    types = {column.name: column.type_oid for column in table.relation.columns}
    asked = {}
    for key in keys.values():
        try:
            ordered = {column: key[column] for column in table.key}
            asked[_name(ordered)] = [as_text(types[column], value) for column, value in ordered.items()]
        except (KeyError, ValueError):
            log.warning("request for what is no key of its table", table=table.relation.name)
    return asked
