"""Copies of tables and single rows on request, by watermarks, beside the stream.

A chunk is read and then a mark is written into the log; when the stream shows the mark, the chunk's rows are published
at that place, but for those that were touched meanwhile: they are read again under a new mark. Progress is stored when
all of a chunk is acknowledged. Chunks of several tables are on their way at the same time, each with a mark of its own.
Source: delivery protocol, "Snapshot chunk" and "One-key snapshot".
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass

import psycopg
import structlog

from daemon import seams
from daemon.capture import copy_faults
from daemon.capture.codec import Codec
from daemon.capture.masking import Masks
from daemon.capture.pace import Pace
from daemon.capture.pgoutput import Cell
from daemon.capture.reader import Reader, Rows
from daemon.capture.readers import Readers
from daemon.capture.table_copy import AskedRows, Copy, TableCopy, Texts
from daemon.capture.visibility import Snapshot, Visibility
from daemon.config.source import Snapshot as Config
from daemon.errors import OperatorError, Unavailable
from daemon.observe import metrics
from daemon.state.jobs import CopyJobs, Job, Kind
from schemas.envelope import RowRequest

RETRY_SECONDS = 0.1
LOCKED_RETRY_SECONDS = 1.0
LONGEST_REFUSAL_SECONDS = 30.0
TELL_AFTER_SECONDS = 5.0
LOOK_SECONDS = 1.0
_FIRST: dict[Kind, int] = {"needed": 0, "asked": 1, "resync": 2, "initial": 3}

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Publish:
    """What is published at a mark: rows, and requested keys that have no row. `done` runs once Kafka has it all."""

    codec: Codec
    rows: list[list[Cell]]
    absent: list[bytes]
    done: Callable[[], None] | None


@dataclass(slots=True)
class _Chunk:
    """From its SELECT to its mark. `rows` are there before the mark is. `floor` was taken before its SELECT."""

    copy: Copy
    floor: Snapshot
    reading: Future[None] | None = None
    rows: Rows | None = None

    @property
    def oldest(self) -> Snapshot:
        return self.rows.snapshot if self.rows is not None else self.floor


class Copier:
    """All calls come from the capture's thread."""

    def __init__(
        self,
        reader: Reader,
        readers: Readers,
        jobs: CopyJobs,
        visibility: Visibility,
        source: str,
        epoch: int,
        config: Config,
        tables: Collection[str],
        masks: Mapping[str, Masks],
    ) -> None:
        self._reader = reader
        self._readers = readers
        self._jobs = jobs
        self._visibility = visibility
        self._source = source
        self._epoch = epoch
        self._config = config
        self._captured = frozenset(tables)
        self._masks = masks
        self._pace = Pace(config)
        self._copies: dict[int, TableCopy] = {}
        self._known: set[int] = set()
        self._rows = AskedRows()
        self._chunks: dict[int, _Chunk] = {}
        self._number = 0
        self._not_before = self._next_look = 0.0
        self._waiting_since: float | None = None
        self._told = False
        self._copied = metrics.SNAPSHOT_ROWS.labels(source)

    @property
    def doing(self) -> str | None:
        """A sentence on what is copied."""
        tables = sorted({copy.job.table for copy in self._copies.values() if copy.started})
        return f"Copying {', '.join(tables)}." if tables else None

    def request(self, request: RowRequest) -> None:
        """Read one row whole; asking twice is asking once. What cannot be answered is logged and let go."""
        table = f"{request.schema_}.{request.table}"
        if table in self._captured:
            self._rows.ask(table, request.key)
        else:
            log.warning("request for a table that is not captured", table=table, target=request.target)

    def look(self) -> None:
        """Look for new jobs with the next step."""
        self._next_look = 0.0

    def forget(self) -> None:
        """Let go of transactions that every snapshot in use and every later one sees."""
        if self._visibility.remembers:
            in_use = [chunk.oldest for chunk in self._chunks.values()]
            self._visibility.forget(*(in_use or [self._reader.snapshot()]))

    def step(self) -> None:
        """Begin chunks, and look after those that could not be read.

        Raises Unavailable, Fenced, and psycopg.OperationalError when the source is gone.
        """
        now = time.monotonic()
        for number, chunk in list(self._chunks.items()):
            if chunk.reading is not None and chunk.reading.done() and (error := chunk.reading.exception()):
                del self._chunks[number]
                self._failed(chunk.copy, error, now)
        if now >= self._next_look:
            self._next_look = now + LOOK_SECONDS
            self._look()
        if now < self._not_before:
            return
        ready = list(self._ready(now))
        if ready:
            floor = self._reader.snapshot()
            if self._may_serve(floor, now):
                for copy in ready:
                    self._begin(copy, floor)
        elif not (self._copies or self._rows or self._chunks):
            self._readers.rest()

    def at_mark(self, number: int) -> Publish | None:
        """What to publish where the stream shows mark `number`; None when the mark is of no use any more."""
        chunk = self._chunks.pop(number, None)
        if chunk is None or chunk.rows is None:
            return None
        copy, rows = chunk.copy, chunk.rows
        if isinstance(copy, TableCopy):
            copy.refusals, copy.refused_as = 0, None
        table = rows.table
        codec = Codec(
            self._source, self._reader.database, table.relation, table.key, self._masks.get(table.relation.name)
        )
        clean: list[list[Cell]] = []
        dirty: Texts = {}
        found: set[bytes] = set()
        is_dirty = self._visibility.dirty(table.relation.name, rows.snapshot)
        for at, row in enumerate(rows.rows):
            key = codec.key(row)
            names = copy.names(rows, at, key)
            found.update(names)
            if is_dirty(key):
                dirty |= dict.fromkeys(names, rows.key_of(row))
            else:
                clean.append(row)
        missing = {} if rows.cut else copy.missing(found)
        unsure = not table.told_by_text and self._visibility.touched(table.relation.name, rows.snapshot)
        gone = [key for key in missing if not (unsure or is_dirty(key))]
        dirty |= {key: texts for key, texts in missing.items() if key not in gone}
        if dirty and not clean and not gone:
            # What touched them is still not seen: no hurry, each try is a mark in the log.
            copy.not_before = time.monotonic() + RETRY_SECONDS
        self._copied.inc(len(clean))
        self._pace.spend(len(rows.rows))
        done = copy.settled(rows, found - dirty.keys(), dirty)
        if isinstance(copy, TableCopy) and copy.finished and not copy.left:
            self._copies.pop(copy.job.id, None)
        return Publish(codec, clean, gone, done)

    def _ready(self, now: float) -> Iterator[Copy]:
        """Copies whose next chunk may be read now."""
        reading = [chunk.copy for chunk in self._chunks.values()]
        if self._rows and self._rows not in reading and now >= self._rows.not_before:
            yield self._rows
        closed = self._pace.closed is not None
        places = sum(isinstance(copy, TableCopy) for copy in reading)
        for copy in sorted(self._copies.values(), key=lambda one: (_FIRST[one.job.kind], one.job.place, one.job.id)):
            if places >= self._config.tables or not self._pace.free:
                return
            held = closed and copy.job.kind != "needed"
            if copy not in reading and now >= copy.not_before and not held and not self._behind_parents(copy.job):
                places += 1
                yield copy

    def _behind_parents(self, job: Job) -> bool:
        """Parents come before children, among what was asked for together."""
        return any(
            other.job.place < job.place and not other.refusals and _together(other.job) == _together(job)
            for other in self._copies.values()
        )

    def _begin(self, copy: Copy, floor: Snapshot) -> None:
        if isinstance(copy, TableCopy) and copy.blockers is None:
            copy.blockers = self._visibility.unseen(floor) if copy.job.condition is not None else frozenset()
        if isinstance(copy, TableCopy) and not all(map(floor.sees_short, copy.blockers or ())):
            copy.not_before = time.monotonic() + RETRY_SECONDS
            return
        copy.begin()
        self._number += 1
        number = self._number
        chunk = self._chunks[number] = _Chunk(copy, floor)

        def read(reader: Reader) -> None:
            chunk.rows = copy.read(reader, self._config.chunk_bytes)
            reader.mark(self._source, self._epoch, number)
            seams.seam(seams.AFTER_MARK)

        chunk.reading = self._readers.submit(read)

    def _may_serve(self, floor: Snapshot, now: float) -> bool:
        """A transaction from before the stream's start may be streamed already and still unseen: wait for its end."""
        blocker = self._visibility.waits_for(floor)
        if blocker is None:
            self._waiting_since, self._told = None, False
            return True
        self._not_before = now + RETRY_SECONDS
        self._waiting_since = self._waiting_since or now
        if not self._told and now - self._waiting_since > TELL_AFTER_SECONDS:
            self._told = True
            log.warning("copy waits for a transaction that began before the capture", source=self._source, xid=blocker)
            for copy in self._copies.values():
                self._jobs.waits(copy.job.id, f"It waits for the end of transaction {blocker}, open since before it.")
        return False

    def _look(self) -> None:
        try:
            jobs = self._jobs.open()
        except Unavailable:
            return  # asked again in a second; what has to be stored tells when the state stays away
        for job in jobs:
            if job.id in self._known:
                continue
            if job.table in self._captured:
                self._known.add(job.id)
                self._copies[job.id] = TableCopy(job, self._jobs, self._pace.chunk_rows)
            elif job.kind != "initial":  # an initial copy waits until its table is captured again
                self._known.add(job.id)
                self._give_up(job, copy_faults.not_captured(job), None)

    def _failed(self, copy: Copy, error: BaseException, now: float) -> None:
        """A lock is waited for; a fault of the table ends its copy and no other."""
        if isinstance(error, psycopg.errors.LockNotAvailable):
            copy.not_before = now + LOCKED_RETRY_SECONDS
            if isinstance(copy, TableCopy):
                self._tell_locked(copy, now)
            else:
                self._rows.put_off()
        elif isinstance(error, psycopg.errors.InsufficientPrivilege) and isinstance(copy, TableCopy):
            self._put_off(copy, copy_faults.right_missing(self._reader, [copy.job.table]), now)
        elif not isinstance(error, OperatorError) and not copy_faults.of_the_table(error):
            raise error
        elif isinstance(copy, TableCopy) and copy.job.lasting:
            self._put_off(copy, copy_faults.sentence(copy.job, error), now)
        elif isinstance(copy, TableCopy):
            self._copies.pop(copy.job.id, None)
            self._give_up(copy.job, copy_faults.sentence(copy.job, error), type(error).__name__)
        else:
            log.warning("rows cannot be read", source=self._source, table=self._rows.table, error=type(error).__name__)
            self._rows.give_up()

    def _give_up(self, job: Job, sentence: str, error: str | None) -> None:
        log.warning(
            "table cannot be copied", source=self._source, table=job.table, error=error, wanted_by=job.requested_by,
            reason=sentence,
        )  # fmt: skip
        self._jobs.failed(job.id, sentence)

    def _put_off(self, copy: TableCopy, sentence: str, now: float) -> None:
        """Others go on; children too, as nobody knows when somebody will put the table right."""
        if sentence != copy.refused_as:
            copy.refused_as = sentence
            log.warning(
                "copy waits for a table that cannot be read", source=self._source, table=copy.job.table,
                wanted_by=copy.job.requested_by, reason=sentence,
            )  # fmt: skip
            self._jobs.waits(copy.job.id, sentence)
        copy.not_before = now + min(2.0**copy.refusals, LONGEST_REFUSAL_SECONDS)
        copy.refusals += 1

    def _tell_locked(self, copy: TableCopy, now: float) -> None:
        copy.waiting_since = copy.waiting_since or now
        if now - copy.waiting_since > TELL_AFTER_SECONDS:
            copy.waiting_since = float("inf")
            log.info("copy waits for a lock on a table", source=self._source, table=copy.job.table)
            self._jobs.waits(copy.job.id, f"It waits for a lock on {copy.job.table}.")


def _together(job: Job) -> object:
    return job.kind if job.kind in ("initial", "resync") else job.requested_at
