"""One life of a capture: from the claim of the epoch to the end of the connection.

The order of the start is the delivery protocol's: take the slot, raise the epoch, only then read what is stored.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack, suppress

import psycopg
import structlog

from daemon import seams
from daemon.capture import copy_faults, needs, pgoutput, publication, slot
from daemon.capture.assembler import Assembler, StreamFacts
from daemon.capture.copier import Copier
from daemon.capture.reader import Reader
from daemon.capture.readers import Readers
from daemon.capture.requests import Requests
from daemon.capture.schema_changes import SchemaChanges
from daemon.capture.stream import ReplicationStream, Server
from daemon.capture.visibility import Visibility
from daemon.config.settings import Settings
from daemon.errors import OperatorError
from daemon.observe import metrics
from daemon.pins import Pinned, Pins
from daemon.publish.announce import Announcer
from daemon.publish.producer import Publisher
from daemon.publish.progress import Progress
from daemon.publish.tails import Acked, check_ends, read_tails
from daemon.routes import source_masks
from daemon.state import spans
from daemon.state.capture import CaptureState, Claim
from daemon.state.jobs import CopyJobs
from daemon.state.workers import WorkerState
from daemon.supervisor import Report
from daemon.watch import Watch
from schemas.position import in_era
from schemas.topics import SCHEMA_CHANGES_TOPIC, messages_topic, table_topic, transactions_topic

READ_SECONDS = 0.05
BUSY_READ_SECONDS = 0.002
FRAMES = 500
FORGET_SECONDS = 1.0
REQUESTS_SECONDS = 0.2
GONE_SECONDS = 5.0
BEAT_SECONDS = 20.0

log = structlog.get_logger(__name__)


class AskedToEnd(Exception):
    """While it waited for Kafka."""


class Capture:
    """Owns nothing that outlives `run`: what it opens goes onto the given stack.

    To make one claims the source; it raises Gap, OperatorError, Unavailable, and AskedToEnd once `stop` is set.
    """

    def __init__(
        self,
        settings: Settings,
        source: str,
        reader: Reader,
        stream: ReplicationStream,
        server: Server,
        state: CaptureState,
        stop: threading.Event,
        stack: ExitStack,
    ) -> None:
        self._config = settings.sources[source]
        self._source = source
        self._reader = reader
        self._stream = stream
        self._state = state
        self._stop = stop
        claim = state.claim()
        self._stored = claim.flush_lsn
        slot.check_server(source, self._config.slot, claim, server.system_identifier)
        slot.check(slot.look(reader, self._config.slot), source, self._config.slot, self._stored)
        self._known, self._unreadable = claim.published, ""
        masks = source_masks(settings, source)
        self._announcer = Announcer(settings.kafka, SCHEMA_CHANGES_TOPIC, self._while_full)
        stack.callback(self._announcer.close)
        self._schemas = SchemaChanges(reader, state, self._announce, source, self._config.tables, masks)
        self._jobs = CopyJobs(state, source)
        self._check_publication()
        topics = {name: Pinned(*pin) for name, pin in claim.topics.items()}
        pins = Pins(settings.kafka, f"source {source}", claim.cluster_id, topics)
        pins.check()
        # Whatever an earlier capture has read lies before this place: nothing is sent in two ways.
        followed = spans.follow(
            state, source, self._wanted(topics), (in_era(claim.era, server.timeline), reader.wal_position())
        )
        live = {*followed.topics(claim.flush_lsn), transactions_topic(source)}
        published = {name: pin for name, pin in topics.items() if name in live}
        acked = {place: Acked(*one) for place, one in claim.acked.items()}
        with pins.explain():
            tails = read_tails(settings.kafka, source, published, acked, self._unless_asked_to_end)
        own_timeline_of = slot.timeline_of(server.timeline, server.history)

        def timeline_of(lsn: int) -> int:
            return in_era(claim.era, own_timeline_of(lsn))

        of_others = (one.position for place, one in acked.items() if place not in tails)
        slot.check_history(source, [*tails.values(), *of_others], claim.era, server.timeline, timeline_of)
        self._progress = Progress()
        self._visibility = Visibility(reader.unfinished())
        self._publisher = Publisher(
            settings.kafka,
            source,
            claim.epoch,
            tails,
            transactions_topic(source),
            self._config.queue_bytes,
            self._while_full,
        )
        stack.callback(self._publisher.close)

        def look() -> None:
            pins.check()
            with pins.explain():
                check_ends(settings.kafka, self._publisher.newest())

        self._watch = stack.enter_context(Watch(look, self._config.check_interval_seconds, source))
        self._requests = Requests(settings.kafka, source, claim.requests_offset)
        stack.callback(self._requests.close)
        captured = list(self._config.tables)
        readers = Readers(lambda: Reader(self._config.url.get_secret_value(), source), self._config.snapshot.tables + 1)
        stack.callback(readers.close)
        self._copier = Copier(
            *(
                reader,
                readers,
                self._jobs,
                self._visibility,
                source,
                claim.epoch,
                self._config.snapshot,
                captured,
                masks,
            )
        )
        facts = StreamFacts(
            source=source,
            database=reader.database,
            epoch=claim.epoch,
            timeline_of=timeline_of,
            partitions={name: pin.partitions for name, pin in published.items()},
            spans=followed,
            max_record_bytes=settings.kafka.max_record_bytes,
            masks=masks,
            streamed=self._schemas.streamed,
            read=self._schemas.read,
            at_mark=self._copier.at_mark,
            notes=settings.tells_of_itself(source),
        )
        self._assembler = Assembler(facts, self._publisher, self._progress, self._visibility)
        self._next_beat = 0.0
        self._next_check = time.monotonic() + self._config.check_interval_seconds
        self._report: Report = lambda _state, _detail: None
        self._next_idle_store = time.monotonic() + self._config.idle_flush_interval_seconds
        self._confirmed_metric = metrics.CAPTURE_CONFIRMED_LSN.labels(source)
        self._started(claim)

    def run(self, report: Report) -> None:
        """Capture until `stop` is set; then wait a little for Kafka, and confirm what it has."""
        self._report = report
        next_store = next_forget = next_requests = next_gone = 0.0
        while not self._stop.is_set():
            self._read()
            self._publisher.poll()
            now = time.monotonic()
            if now >= next_store:
                next_store = now + self._config.flush_interval_seconds
                self._store(now)
            if now >= next_forget:
                next_forget = now + FORGET_SECONDS
                self._copier.forget()
            if now >= next_requests:
                next_requests = now + REQUESTS_SECONDS
                self._take_requests()
            if now >= next_gone:
                next_gone = now + GONE_SECONDS
                self._schemas.look_for_gone()
            self._attend(now, "running", self._doing)
            if self._assembler.between_transactions:
                self._copier.step()
        self._publisher.drain()
        self._publisher.poll()
        self._store(time.monotonic())

    def _read(self) -> None:
        """Some frames; waits for the first one, but not long while something waits for Kafka's answer."""
        patience = BUSY_READ_SECONDS if self._publisher.waiting_ends else READ_SECONDS
        now_ms = time.time_ns() // 1_000_000
        for frame in self._stream.read(patience, FRAMES):
            if frame[0] == pgoutput.XLOG_DATA:
                start, _, _ = pgoutput.read_xlog_header(frame)
                self._assembler.handle(start, frame[pgoutput.XLOG_HEADER_BYTES :], now_ms)
                self._stream.received(start)
            elif frame[0] == pgoutput.KEEPALIVE:
                self._keepalive(pgoutput.read_keepalive(frame))
            else:
                raise pgoutput.ProtocolError(f"a frame of kind {frame[0]}")

    def _keepalive(self, keepalive: pgoutput.Keepalive) -> None:
        if self._assembler.between_transactions:
            self._progress.idle_at(keepalive.wal_end)
        self._stream.received(keepalive.wal_end, reply=keepalive.reply_requested)

    def _store(self, now: float) -> None:
        """Store what may be told, then tell it."""
        flush = self._progress.confirmable
        acked = self._publisher.take_acked()
        idle = not acked
        if idle and (flush <= self._stored or now < self._next_idle_store):
            return
        self._next_idle_store = now + self._config.idle_flush_interval_seconds
        self._state.store(flush, {place: (one.offset, one.position) for place, one in acked.items()})
        self._stored = max(self._stored, flush)
        seams.seam(seams.BEFORE_CONFIRM)
        self._stream.confirm(flush)
        self._confirmed_metric.set(self._stored)
        seams.seam(seams.AFTER_CONFIRM)

    def _take_requests(self) -> None:
        """Single rows are asked for again until they come; what tables are to be read is stored before it is let go."""
        asked = self._requests.poll()
        for row in asked.rows:
            self._copier.request(row)
        if asked.next_offset is not None:
            seams.seam(seams.BEFORE_REQUESTS)
            self._jobs.needed(needs.orders(asked.tables, self._reader), asked.next_offset)
            self._copier.look()

    def _attend(self, now: float, state: WorkerState, doing: Callable[[], str | None]) -> None:
        """Look for gaps beside the stream when it is time, and show a sign of life."""
        self._watch.check()
        if now >= self._next_check:
            self._next_check = now + self._config.check_interval_seconds
            name = self._config.slot
            slot.check(slot.look(self._reader, name), self._source, name, self._stored)
            self._check_publication()
        if now >= self._next_beat:
            self._next_beat = now + BEAT_SECONDS
            self._report(state, doing())

    def _check_publication(self) -> None:
        """Not while somebody changes a published table: that is asked again later."""
        with suppress(psycopg.errors.LockNotAvailable):
            config = self._config
            found = publication.check(self._reader, self._source, config.publication, config.tables, self._known)
            if found.made_anew:
                advice = (
                    "Rows that only the tables before had stay in the targets; to delete them:"
                    f" placemat snapshot {' '.join(found.made_anew)} --delete-gone"
                )
                log.warning(
                    "tables were made anew and are copied",
                    source=self._source, tables=found.made_anew, advice=advice,
                )  # fmt: skip
                self._jobs.made_anew(found.made_anew)
            if found.as_json() != self._known:
                self._state.record_publication(found.as_json())
                self._known = found.as_json()
            self._tell_unreadable(found.unreadable)

    def _tell_unreadable(self, tables: Sequence[str]) -> None:
        """Changes flow without the right to read a table; copies and single rows wait for it."""
        sentence = copy_faults.right_missing(self._reader, tables) if tables else ""
        if sentence != self._unreadable:
            self._unreadable, self._next_beat = sentence, 0.0
            if tables:
                log.warning(
                    "rows cannot be copied without the right to read them",
                    source=self._source,
                    tables=", ".join(tables),
                )

    def _announce(self, key: bytes, value: bytes) -> None:
        self._announcer.announce(key, value)
        self._next_beat = 0.0

    def _while_full(self) -> None:
        self._unless_asked_to_end()
        self._stream.check()
        self._attend(time.monotonic(), "waiting", lambda: "Kafka does not take records.")

    def _unless_asked_to_end(self) -> None:
        if self._stop.is_set():
            raise AskedToEnd

    def _wanted(self, topics: Collection[str]) -> set[str]:
        wanted = {table_topic(self._source, *table.split(".", 1)): table for table in self._config.tables}
        for topic, table in wanted.items():
            if topic not in topics:
                raise OperatorError(
                    f"Table {table} of source {self._source} has not been set up.", "Run: placemat init"
                )
        return {*wanted, messages_topic(self._source)} & set(topics)

    def _doing(self) -> str | None:
        return self._unreadable or self._copier.doing

    def _started(self, claim: Claim) -> None:
        log.info("capture started", source=self._source, epoch=claim.epoch, flush_lsn=claim.flush_lsn)
