"""One life of a capture: from the claim of the epoch to the end of the connection.

The order of the start is the delivery protocol's: take the slot, raise the epoch, only then read what is stored.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection
from contextlib import ExitStack, suppress

import psycopg
import structlog

from daemon import seams
from daemon.capture import needs, pgoutput, slot
from daemon.capture.assembler import Assembler, StreamFacts
from daemon.capture.catalog import key_columns
from daemon.capture.codec import Codec
from daemon.capture.copier import Copier
from daemon.capture.pgoutput import Relation
from daemon.capture.reader import Reader
from daemon.capture.readers import Readers
from daemon.capture.requests import Requests
from daemon.capture.stream import ReplicationStream, Server
from daemon.capture.visibility import Visibility
from daemon.config import Settings
from daemon.errors import OperatorError
from daemon.observe import metrics
from daemon.publish.producer import Publisher
from daemon.publish.progress import Progress
from daemon.publish.tails import Acked, Pinned, check_topics, read_tails
from daemon.routes import source_masks
from daemon.state import spans
from daemon.state.capture import CaptureState, Claim
from daemon.state.jobs import CopyJobs
from daemon.supervisor import Report
from schemas.position import in_era
from schemas.topics import messages_topic, table_topic, transactions_topic

READ_SECONDS = 0.05
BUSY_READ_SECONDS = 0.002
FRAMES = 500
FORGET_SECONDS = 1.0
BEAT_SECONDS = 20.0

log = structlog.get_logger(__name__)


class _AskedToEnd(Exception):
    """While it waited for room in the producer's queue."""


class Capture:
    """Owns nothing that outlives `run`: what it opens goes onto the given stack."""

    def __init__(
        self,
        settings: Settings,
        source: str,
        reader: Reader,
        stream: ReplicationStream,
        server: Server,
        state: CaptureState,
        stack: ExitStack,
    ) -> None:
        self._config = settings.sources[source]
        self._source = source
        self._reader = reader
        self._stream = stream
        self._state = state
        self._stop = threading.Event()
        claim = state.claim()
        slot.check(reader, source, self._config.slot, claim, server.system_identifier)
        own_timeline_of = slot.timeline_of(server.timeline, server.history)

        def timeline_of(lsn: int) -> int:
            return in_era(claim.era, own_timeline_of(lsn))

        slot.check_history(source, claim, timeline_of)
        self._check_publication()
        topics = {name: Pinned(*pin) for name, pin in claim.topics.items()}
        check_topics(settings.kafka, source, claim.cluster_id, topics)
        # Whatever an earlier capture has read lies before this place: nothing is sent in two ways.
        followed = spans.follow(
            state, source, self._wanted(topics), (in_era(claim.era, server.timeline), reader.wal_position())
        )
        live = {*followed.topics(claim.flush_lsn), transactions_topic(source)}
        published = {name: pin for name, pin in topics.items() if name in live}
        acked = {place: Acked(*one) for place, one in claim.acked.items()}
        tails = read_tails(settings.kafka, source, published, acked)
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
        self._requests = Requests(settings.kafka, source, claim.requests_offset)
        stack.callback(self._requests.close)
        captured = list(self._config.tables)
        readers = Readers(lambda: Reader(self._config.url.get_secret_value(), source), self._config.snapshot.tables + 1)
        stack.callback(readers.close)
        self._jobs = CopyJobs(state, source)
        masks = source_masks(settings, source)
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
            key_columns=self._key_columns,
            relation_seen=self._relation_seen,
            at_mark=self._copier.at_mark,
        )
        self._assembler = Assembler(facts, self._publisher, self._progress, self._visibility)
        self._stored = claim.flush_lsn
        self._next_beat = 0.0
        self._report: Report = lambda _state, _detail: None
        self._next_idle_store = time.monotonic() + self._config.idle_flush_interval_seconds
        self._confirmed_metric = metrics.CAPTURE_CONFIRMED_LSN.labels(source)
        self._started(claim)

    def run(self, stop: threading.Event, report: Report) -> None:
        """Capture until `stop` is set; then wait a little for Kafka, and confirm what it has."""
        self._stop = stop
        self._report = report
        next_store = next_forget = 0.0
        try:
            while not stop.is_set():
                self._read()
                self._publisher.poll()
                now = time.monotonic()
                if now >= next_store:
                    next_store = now + self._config.flush_interval_seconds
                    self._store(now)
                if now >= next_forget:
                    next_forget = now + FORGET_SECONDS
                    self._copier.forget()
                    self._take_requests()
                if now >= self._next_beat:
                    self._next_beat = now + BEAT_SECONDS
                    self._check_publication()
                    report("running", self._doing())
                if self._assembler.between_transactions:
                    self._copier.step()
        except _AskedToEnd:
            return
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
            self._jobs.needed(needs.orders(asked.tables, self._reader), asked.next_offset)
            self._copier.look()

    def _check_publication(self) -> None:
        """Not while somebody changes a published table: that is asked again later."""
        with suppress(psycopg.errors.LockNotAvailable):
            slot.check_publication(self._reader, self._source, self._config.publication, self._config.tables)

    def _while_full(self) -> None:
        if self._stop.is_set():
            raise _AskedToEnd
        if (now := time.monotonic()) >= self._next_beat:
            self._next_beat = now + BEAT_SECONDS
            self._report("waiting", "Kafka does not take records.")

    def _wanted(self, topics: Collection[str]) -> set[str]:
        wanted = {table_topic(self._source, *table.split(".", 1)): table for table in self._config.tables}
        for topic, table in wanted.items():
            if topic not in topics:
                raise OperatorError(
                    f"Table {table} of source {self._source} has not been set up.", "Run: placemat init"
                )
        return {*wanted, messages_topic(self._source)} & set(topics)

    def _key_columns(self, relation: Relation) -> tuple[str, ...]:
        now = self._reader.find(relation.name)
        return key_columns(relation, now.key if now else (), self._state.known_key(relation.name))

    def _relation_seen(self, codec: Codec, commit_lsn: int) -> None:
        relation = codec.relation
        columns = [[column.name, column.type_oid, column.typmod, column.key] for column in relation.columns]
        shape = {"identity": relation.identity, "columns": columns, "key": list(codec.key_columns)}
        self._state.record_relation(relation.name, commit_lsn, shape)

    def _doing(self) -> str | None:
        return self._copier.doing

    def _started(self, claim: Claim) -> None:
        log.info("capture started", source=self._source, epoch=claim.epoch, flush_lsn=claim.flush_lsn)
