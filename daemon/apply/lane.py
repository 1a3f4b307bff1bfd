"""One lane of a target: what its reader brings is merged, written to the sink, and committed there."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from threading import Event

import msgspec
import tenacity
from confluent_kafka import Message

from connectors.contract import Partition, Place, Progress, Record, Sink
from daemon.apply.policy import Action, decide
from daemon.config.target import Target
from daemon.consume.consumer import PartitionReader
from daemon.consume.merge import Batch, Limits, Merge
from daemon.errors import GAP_ADVICE, OperatorError, Unavailable
from daemon.observe import metrics
from daemon.seams import AFTER_TARGET_COMMIT, BEFORE_OFFSET_COMMIT, BEFORE_TARGET_COMMIT, seam
from schemas.envelope import TransactionEnd
from schemas.position import Position, era_of
from schemas.topics import POSITION_HEADER

IDLE_COMMIT_SECONDS = 0.1
ATTEMPTS = 5
ANY_ERA = 1 << 15
"""No era is as great: a target that has taken nothing may begin in any."""

Tell = Callable[[Mapping[Partition, int]], None]
"""Takes next offsets, for those who look at Kafka."""
Admit = Callable[[TransactionEnd], bool]


class _Op(msgspec.Struct):
    op: str


_decode_op = msgspec.json.Decoder(_Op).decode


class Lane:
    """The main lane, or that of one `table`. `topics` are those of its tables, `spine` is the transactions topic."""

    def __init__(
        self, sink: Sink, name: str, target: Target, reader: PartitionReader, spine: Partition,
        topics: Collection[str], stored: Progress, tell: Tell, table: str | None = None, notes: str | None = None,
    ) -> None:  # fmt: skip
        """`notes` is the topic of messages, where tables go both ways. The main lane stores how far that is taken; the
        other one reads it anew, from its own place."""
        self.table = table
        self.applied: Place = stored.place
        """The commit through which the target has committed this lane."""
        self.streaming = False
        """A part of a transaction is written and not committed: the sink belongs to this lane until it is."""
        self._sink = sink
        self._name = name
        self._target = target
        self._reader = reader
        self._spine = spine
        self._tell = tell
        partitions = reader.partitions(topics if notes is None else [*topics, notes])
        self._own_notes = (notes, 0) if notes is not None and table is not None else None
        share = max(65_536, target.buffer_bytes // max(1, len(partitions)))
        new = [key for key in partitions if key not in stored.partitions] if stored.place > (0, 0) else []
        bounds = reader.bounds(new)
        begins = {key: begin for key, (begin, _) in bounds.items()}
        self.joining = (
            {topic for (topic, _), (_, end) in bounds.items() if end} - {key[0] for key in stored.partitions} - {notes}
        )
        """Topics with records that this lane has never followed: their tables have to be copied."""
        self._merge = Merge(stored, partitions, spine, Limits(max(1_000, target.batch_rows), share), begins)
        known = {key: taken.next_offset for key, taken in stored.partitions.items()}
        offsets = {key: known.get(key, begins.get(key, 0)) for key in partitions}
        reader.start({**offsets, spine: stored.transactions_offset})
        tell({**offsets, spine: stored.transactions_offset})
        self._era = ANY_ERA if stored.place == (0, 0) else era_of(stored.place[0])
        self._pending: list[Record] = []
        self._pending_bytes = 0
        self._ends: list[TransactionEnd] = []
        self._counts: Counter[str] = Counter()
        self._committed_at = 0.0
        self.retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(lambda error: decide(error) is Action.RETRY),
            wait=tenacity.wait_random_exponential(multiplier=0.05, max=2),
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            reraise=True,
        )

    @property
    def next_offset(self) -> int:
        """Of the transactions topic: the first record not taken."""
        return self._merge.next_offset

    def feed(self, timeout: float) -> None:
        """Read what has come; waits up to `timeout` seconds for the first record."""
        late = 0
        for message in self._reader.poll(self._target.batch_rows, timeout):
            if message.topic() == self._spine[0]:
                end = TransactionEnd.model_validate_json(message.value() or b"")
                self._check_era(era_of(end.timeline))
                self._merge.feed_end(_offset(message), end)
            elif not self._merge.feed(_record(message)):
                late += 1
        if late:
            metrics.LATE_RECORDS.labels(self._name).inc(late)

    def _check_era(self, era: int) -> None:
        """A new era begins after a gap; the target is read anew until a resync has set it to that."""
        if era > self._era:
            source = self._target.source
            raise Unavailable(f"source {source} began anew after a gap, and waits for: placemat resync {source}")

    def apply(self, stop: Event, admit: Admit = lambda _: True) -> bool:
        """Everything that can be merged now and is admitted; True when that was all, and nothing is cut in two."""
        while not stop.is_set():
            batch = self._merge.take(self._target.batch_rows, admit)
            self._regulate()
            self._add(batch)
            if not batch.at_boundary:
                self._stream_part()
                if not batch.records:
                    return False
            elif batch.records or batch.ends:
                self._commit()
            else:
                self._rest()
                return True
        return False

    def _regulate(self) -> None:
        pause, resume = self._merge.flow()
        if pause:
            self._reader.pause(pause)
        if resume:
            self._reader.resume(resume)

    def _add(self, batch: Batch) -> None:
        self._pending += batch.records
        self._pending_bytes += sum(len(record.value) for record in batch.records)
        self._ends += batch.ends

    def _stream_part(self) -> None:
        """Write a part of a transaction that is too large to be held."""
        if len(self._pending) >= self._target.batch_rows or self._pending_bytes >= self._target.buffer_bytes // 2:
            self.streaming = True
            self._count()
            self._sink.write(self._pending, self.table)
            self._pending, self._pending_bytes = [], 0

    def _commit(self) -> None:
        progress = self._progress()
        assert progress is not None, "a transaction was completed"
        if self.streaming:
            self._write(progress)
        else:
            self.retrying(self._write, progress)
        self._count()
        self._settle(progress)

    def _progress(self) -> Progress | None:
        progress = self._merge.progress()
        if progress is None or self._own_notes not in progress.partitions:
            return progress
        return replace(progress, partitions={k: at for k, at in progress.partitions.items() if k != self._own_notes})

    def _write(self, progress: Progress) -> None:
        if self._pending:
            self._sink.write(self._pending, self.table)
        seam(BEFORE_TARGET_COMMIT)
        self._sink.commit(progress, self.table)
        seam(AFTER_TARGET_COMMIT)

    def _settle(self, progress: Progress) -> None:
        """What follows a commit in the target."""
        self.streaming = False
        self.applied = progress.place
        self._pending, self._pending_bytes = [], 0
        self._merge.stored(progress)
        now = time.time()
        for end in self._ends:
            if end.kind == "tx" and self.table is None:
                metrics.APPLY_SECONDS.labels(self._name).observe(max(0.0, now - end.ts_us / 1_000_000))
        if self.table is None:
            metrics.APPLIED_TRANSACTIONS.labels(self._name).inc(len(self._ends))
        for op, count in self._counts.items():
            metrics.APPLIED_RECORDS.labels(self._name, op).inc(count)
        for outcome, count in self._sink.outcomes().items():
            metrics.OUTCOMES.labels(self._name, outcome).inc(count)
        metrics.PARKED_KEYS.labels(self._name).set(self._sink.parked())
        self._ends = []
        self._counts.clear()
        self._committed_at = time.monotonic()
        seam(BEFORE_OFFSET_COMMIT)
        offsets = {key: taken.next_offset for key, taken in progress.partitions.items()}
        self._tell({**offsets, self._spine: progress.transactions_offset})

    def _count(self) -> None:
        self._counts.update(_decode_op(record.value).op for record in self._pending)

    def _rest(self) -> None:
        """Nothing can be merged: store offsets that moved over what was dropped."""
        self._merge.drop_stale()
        if time.monotonic() - self._committed_at >= IDLE_COMMIT_SECONDS:
            progress = self._progress()
            if progress is not None:
                self.retrying(self._write, progress)
                self._settle(progress)


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
