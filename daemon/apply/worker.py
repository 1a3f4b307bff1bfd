"""The loop of one target: records in, merged into commit order, written in the target's own transactions."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from typing import assert_never

import msgspec
import pybreaker
import structlog
import tenacity
from confluent_kafka import Message

from connectors.contract import Destination, Partition, Progress, Record, Sink, SinkType, TryAgain
from daemon.apply.policy import Action, decide, ending
from daemon.apply.requests import RowRequests
from daemon.config import Settings
from daemon.consume.consumer import KafkaUnavailable, LaneConsumer
from daemon.consume.merge import Batch, Limits, Merge
from daemon.errors import GAP_ADVICE, OperatorError, Unavailable
from daemon.observe import metrics
from daemon.routes import routings
from daemon.seams import AFTER_TARGET_COMMIT, BEFORE_OFFSET_COMMIT, BEFORE_TARGET_COMMIT, seam
from daemon.supervisor import Report
from schemas.envelope import TransactionEnd
from schemas.position import Position
from schemas.topics import POSITION_HEADER, table_topic, transactions_topic

POLL_SECONDS = 0.1
ATTEND_SECONDS = 0.5
IDLE_COMMIT_SECONDS = 0.1
REPORT_SECONDS = 15.0
PROBE_SECONDS = 1.0
FAILURES_UNTIL_OPEN = 3
ATTEMPTS = 5
log = structlog.get_logger(__name__)


class _Op(msgspec.Struct):
    op: str


_decode_op = msgspec.json.Decoder(_Op).decode


class Lost(Exception):
    """The lane was given to another worker, or has to be read anew: go back to what the target has stored."""


class ApplyWorker:
    """Applies one source's changes to one target. `instance` tells this host from others that stand by."""

    def __init__(self, settings: Settings, name: str, sink_type: SinkType, instance: str | None = None) -> None:
        target = settings.targets[name]
        self._settings = settings
        self._target = target
        self._target_name = name
        self._instance = instance or socket.gethostname()
        self._topics = [table_topic(target.source, *table.split(".", 1)) for table in target.needed]
        self._spine: Partition = (transactions_topic(target.source), 0)
        routes = routings(settings, name)
        self._sink: Sink = sink_type(Destination(name, target.url.get_secret_value(), target.source, routes))
        self._breaker = pybreaker.CircuitBreaker(
            fail_max=FAILURES_UNTIL_OPEN, reset_timeout=PROBE_SECONDS, exclude=[OperatorError]
        )

    @property
    def name(self) -> str:
        return f"apply:{self._target_name}"

    def run(self, stop: threading.Event, report: Report) -> None:
        """See `daemon.supervisor.Worker`."""
        target = self._target
        consumer = LaneConsumer(
            self._settings.kafka,
            self._target_name,
            self._spine[0],
            self._instance,
            session_seconds=target.session_timeout_seconds,
            buffer_bytes=target.buffer_bytes,
        )
        requests = RowRequests(self._settings.kafka, self._target_name, target.source)
        try:
            while not stop.is_set():
                self._stand_by(consumer, stop, report)
                if consumer.owned:
                    self._own(consumer, requests, stop, report)
        except Unavailable:
            raise
        except Exception as error:  # raised again, as the sentence that it deserves
            stopped = ending(error, self._target_name)
            if stopped is not error:
                log.error("apply failed", target=self._target_name, error=type(error).__name__)  # noqa: TRY400 the message may hold row values
            raise stopped from error
        finally:
            self._sink.close()
            requests.close()
            consumer.close()

    def _stand_by(self, consumer: LaneConsumer, stop: threading.Event, report: Report) -> None:
        told = 0.0
        while not stop.is_set() and not consumer.owned:
            if time.monotonic() - told > REPORT_SECONDS:
                told = time.monotonic()
                report("standby", None)
            consumer.poll(1, POLL_SECONDS)

    def _own(self, consumer: LaneConsumer, requests: RowRequests, stop: threading.Event, report: Report) -> None:
        """One stretch of work, from the stored offsets until it ends, or the target or Kafka goes away."""
        try:
            stored = self._breaker.call(self._sink.claim)
            lane = _Lane(self, consumer, requests, stored)
            report("running", None)
            lane.work(stop, report)
        except Lost:
            log.info("lane was given away", target=self._target_name)
        except pybreaker.CircuitBreakerError:
            self._wait(consumer, stop, report, "the target does not answer")
        except (Unavailable, TryAgain) as error:
            log.warning(_hindrance(error), target=self._target_name, error=str(error))
            self._sink.close()
            self._wait(consumer, stop, report, str(error))
        finally:
            self._sink.close()

    def _wait(self, consumer: LaneConsumer, stop: threading.Event, report: Report, why: str) -> None:
        """Keep the place in the group, read nothing, and probe again in a moment."""
        report("waiting", why)
        consumer.start({})
        until = time.monotonic() + PROBE_SECONDS
        while not stop.is_set() and time.monotonic() < until:
            consumer.poll(1, POLL_SECONDS)


def _hindrance(error: Unavailable | TryAgain) -> str:
    match error:
        case KafkaUnavailable():
            return "kafka is unavailable"
        case Unavailable():
            return "target is unavailable"
        case TryAgain():
            return "target is busy"
        case _:
            assert_never(error)


class _Lane:
    """What is in memory from one claim of the target to the next."""

    def __init__(self, worker: ApplyWorker, consumer: LaneConsumer, requests: RowRequests, stored: Progress) -> None:
        self._target = worker._target
        self._name = worker._target_name
        self._sink = worker._sink
        self._spine = worker._spine
        self._consumer = consumer
        self._requests = requests
        self._generation = consumer.generation
        partitions = consumer.partitions(worker._topics)
        share = max(65_536, self._target.buffer_bytes // max(1, len(partitions)))
        limits = Limits(records=max(1_000, self._target.batch_rows), bytes=share)
        self._merge = Merge(stored, partitions, self._spine, limits)
        offsets = {key: stored.partitions[key].next_offset if key in stored.partitions else 0 for key in partitions}
        consumer.start({**offsets, self._spine: stored.transactions_offset})
        consumer.commit({**offsets, self._spine: stored.transactions_offset})
        self._pending: list[Record] = []
        self._pending_bytes = 0
        self._ends: list[TransactionEnd] = []
        self._counts: Counter[str] = Counter()
        self._streaming = False
        self._committed_at = 0.0
        self._attended_at = 0.0
        self._retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(lambda error: decide(error) is Action.RETRY),
            wait=tenacity.wait_random_exponential(multiplier=0.05, max=2),
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            reraise=True,
        )

    def work(self, stop: threading.Event, report: Report) -> None:
        """Until `stop`; raises Lost when the lane is not ours any more."""
        reported = time.monotonic()
        metrics.PARKED_KEYS.labels(self._name).set(self._sink.parked())
        while not stop.is_set():
            self._fetch(0.0 if self._streaming else POLL_SECONDS)
            self._apply(stop)
            if time.monotonic() - reported > REPORT_SECONDS:
                reported = time.monotonic()
                report("running", None)
        self._sink.rollback()

    def _fetch(self, timeout: float) -> None:
        messages = self._consumer.poll(self._target.batch_rows, timeout)
        if not self._consumer.owned or self._consumer.generation != self._generation:
            raise Lost
        late = 0
        for message in messages:
            if message.topic() == self._spine[0]:
                self._merge.feed_end(_offset(message), TransactionEnd.model_validate_json(message.value() or b""))
            elif not self._merge.feed(_record(message)):
                late += 1
        if late:
            metrics.LATE_RECORDS.labels(self._name).inc(late)

    def _apply(self, stop: threading.Event) -> None:
        """Everything that can be merged now; then, when there is nothing more, what waits for a quiet moment."""
        while not stop.is_set():
            batch = self._merge.take(self._target.batch_rows)
            self._regulate()
            self._add(batch)
            if not batch.at_boundary:
                self._stream_part()
                if not batch.records:
                    return
            elif batch.records or batch.ends:
                self._commit()
            else:
                self._rest()
                return

    def _regulate(self) -> None:
        pause, resume = self._merge.flow()
        if pause:
            self._consumer.pause(pause)
        if resume:
            self._consumer.resume(resume)

    def _add(self, batch: Batch) -> None:
        self._pending += batch.records
        self._pending_bytes += sum(len(record.value) for record in batch.records)
        self._ends += batch.ends

    def _stream_part(self) -> None:
        """Write a part of a transaction that is too large to be held."""
        if len(self._pending) >= self._target.batch_rows or self._pending_bytes >= self._target.buffer_bytes // 2:
            self._streaming = True
            self._count()
            self._sink.write(self._pending)
            self._pending, self._pending_bytes = [], 0

    def _commit(self) -> None:
        progress = self._merge.progress()
        assert progress is not None, "a transaction was completed"
        if self._streaming:
            self._write(progress)
        else:
            self._retrying(self._write, progress)
        self._count()
        self._settle(progress)

    def _write(self, progress: Progress) -> None:
        if self._pending:
            self._sink.write(self._pending)
        seam(BEFORE_TARGET_COMMIT)
        self._sink.commit(progress)
        seam(AFTER_TARGET_COMMIT)

    def _settle(self, progress: Progress) -> None:
        """What follows a commit in the target."""
        self._streaming = False
        self._pending, self._pending_bytes = [], 0
        self._merge.stored(progress)
        now = time.time()
        for end in self._ends:
            if end.kind == "tx":
                metrics.APPLY_SECONDS.labels(self._name).observe(max(0.0, now - end.ts_us / 1_000_000))
        metrics.APPLIED_TRANSACTIONS.labels(self._name).inc(len(self._ends))
        for op, count in self._counts.items():
            metrics.APPLIED_RECORDS.labels(self._name, op).inc(count)
        metrics.PARKED_KEYS.labels(self._name).set(self._sink.parked())
        self._ends = []
        self._counts.clear()
        self._committed_at = time.monotonic()
        seam(BEFORE_OFFSET_COMMIT)
        offsets = {key: taken.next_offset for key, taken in progress.partitions.items()}
        self._consumer.commit({**offsets, self._spine: progress.transactions_offset})

    def _count(self) -> None:
        self._counts.update(_decode_op(record.value).op for record in self._pending)

    def _rest(self) -> None:
        """Nothing can be merged: store offsets that moved over what was dropped, and look after parked keys."""
        now = time.monotonic()
        self._merge.drop_stale()
        if now - self._committed_at >= IDLE_COMMIT_SECONDS:
            progress = self._merge.progress()
            if progress is not None:
                self._retrying(self._write, progress)
                self._settle(progress)
        if self._sink.parked() and now - self._attended_at >= ATTEND_SECONDS:
            self._attended_at = now
            self._retrying(self._sink.attend)
            metrics.PARKED_KEYS.labels(self._name).set(self._sink.parked())
            self._requests.ask(self._sink.wanted())


def _record(message: Message) -> Record:
    for header in message.headers() or ():
        if header[0] == POSITION_HEADER and isinstance(header[1], bytes):
            position = Position.from_header(header[1])
            return Record(
                message.topic() or "",
                message.partition() or 0,
                _offset(message),
                position,
                message.key() or b"",
                message.value() or b"",
            )
    raise OperatorError(
        f"Topic {message.topic()} holds a record without a position, at offset {message.offset()}.",
        f"Only capture may write to it: see who else does. {GAP_ADVICE}",
    )


def _offset(message: Message) -> int:
    offset = message.offset()
    assert offset is not None, "a record that was read has an offset"
    return offset
