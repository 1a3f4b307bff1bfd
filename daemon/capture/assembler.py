"""From the messages of the stream to records, transaction by transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import orjson
import structlog

from daemon import seams
from daemon.capture import pgoutput
from daemon.capture.codec import Codec, Head, Record, placeholder, without_before
from daemon.capture.copier import Publish
from daemon.capture.masking import Masks
from daemon.capture.messages import OURS, MessageCodec
from daemon.capture.pgoutput import Relation
from daemon.capture.reader import MARK_PREFIX
from daemon.capture.schema_changes import Version
from daemon.capture.visibility import Visibility
from daemon.observe import metrics
from daemon.publish.producer import Publisher
from daemon.publish.progress import Progress, Ticket
from daemon.state.spans import Place, Spans
from schemas.position import Position
from schemas.resolution import ORIGIN_PREFIX
from schemas.topics import partition_of

log = structlog.get_logger(__name__)

Counts = dict[str, dict[str, int]]


@dataclass(slots=True)
class _Transaction:
    """The open transaction: place of the newest change, records by topic and partition, marks that it carries.

    `origin` says that it is ours; it goes out before the first record, if there is one.
    """

    head: Head
    ticket: Ticket
    ordinal: int = 0
    counts: Counts = field(default_factory=dict)
    schemas: dict[str, int] = field(default_factory=dict)
    marks: list[bytes] = field(default_factory=list)
    origin: tuple[int, Record] | None = None


@dataclass(frozen=True, slots=True)
class StreamFacts:
    """What the assembler needs to know of its stream. `partitions` are those of the topics that `spans` may name."""

    source: str
    database: str
    epoch: int
    timeline_of: Callable[[int], int]
    partitions: Mapping[str, int]
    spans: Spans
    max_record_bytes: int
    masks: Mapping[str, Masks]
    streamed: Callable[[Relation, int, int], Version]
    read: Callable[[Relation, Sequence[str], int], Version]
    at_mark: Callable[[int], Publish | None]
    notes: bool = False
    """Whether what our own transactions say of themselves is passed on."""


class Assembler:
    """Feeds the publisher. Every method runs in the capture's thread."""

    def __init__(self, stream: StreamFacts, publisher: Publisher, progress: Progress, visibility: Visibility) -> None:
        self._stream = stream
        self._publisher = publisher
        self._progress = progress
        self._visibility = visibility
        self._codecs: dict[int, Codec | None] = {}
        self._known: dict[int, Codec] = {}
        self._versions: dict[str, int] = {}
        self._messages = MessageCodec(stream.source, stream.database)
        self._captured: frozenset[str] = frozenset()
        self._holds_until: Place = (0, 0)
        self._open: _Transaction | None = None
        self._origin: str | None = None
        self._oversize = metrics.OVERSIZE_RECORDS.labels(stream.source)

    @property
    def between_transactions(self) -> bool:
        return self._open is None

    def handle(self, lsn: int, payload: bytes, now_ms: int) -> None:
        """One message of the stream; `lsn` is where its change stands in the log.

        Raises ProtocolError for a message that this version does not know, and what the publisher raises.
        """
        kind = payload[0]
        if kind == 73:  # I
            self._insert(lsn, payload, now_ms)
        elif kind == 85:  # U
            self._update(lsn, payload, now_ms)
        elif kind == 68:  # D
            self._delete(lsn, payload, now_ms)
        elif kind == 66:  # B
            self._begin(payload)
        elif kind == 67:  # C
            self._commit(payload, now_ms)
        elif kind == 82:  # R
            self._relation(pgoutput.read_relation(payload))
        elif kind == 77:  # M
            self._message(pgoutput.read_message(payload), now_ms)
        elif kind == 84:  # T
            self._truncate(lsn, payload, now_ms)
        elif kind == 79:  # O
            self._transaction.head.origin = pgoutput.read_origin(payload)
        elif kind != 89:  # Y: names of types, which the catalogue has too
            raise pgoutput.ProtocolError(f"a message of kind {chr(kind)!r}")

    @property
    def _transaction(self) -> _Transaction:
        if self._open is None:
            raise pgoutput.ProtocolError("a change outside a transaction")
        return self._open

    def _begin(self, payload: bytes) -> None:
        begin = pgoutput.read_begin(payload)
        head = Head(self._stream.timeline_of(begin.commit_lsn), begin.commit_lsn, begin.ts_us, begin.xid)
        self._arrive((head.timeline, head.commit_lsn))
        self._open = _Transaction(head, self._progress.begin())
        self._visibility.begin(begin.xid)

    def _commit(self, payload: bytes, now_ms: int) -> None:
        commit = pgoutput.read_commit(payload)
        transaction = self._transaction
        self._visibility.commit()
        if transaction.counts:
            self._end(transaction, "tx")
        else:
            for content in transaction.marks[:1]:
                self._mark(transaction, content, now_ms)
        self._open = None
        self._progress.commit(transaction.ticket, commit.end_lsn)

    def _arrive(self, place: Place) -> None:
        """Capture what is captured at this place of the log, whatever is configured now."""
        if place < self._holds_until:
            return
        self._captured = self._stream.spans.captured(place)
        self._holds_until = self._stream.spans.holds_until(place)
        for oid, codec in self._known.items():
            if codec.topic not in self._captured:
                self._codecs[oid] = None
            elif self._codecs[oid] is None:
                self._codecs[oid] = codec

    def _relation(self, relation: Relation) -> None:
        """Announced here, before the first record of this version."""
        self._known.pop(relation.oid, None)
        self._codecs[relation.oid] = None
        head = self._transaction.head
        assert head.xid is not None
        version = self._stream.streamed(relation, head.commit_lsn, head.xid)
        topic = Codec.topic_of(self._stream.source, relation)
        if topic not in self._stream.partitions:
            return
        masks = self._stream.masks.get(relation.name)
        codec = Codec(self._stream.source, self._stream.database, relation, version.key, masks)
        self._known[relation.oid] = codec
        self._versions[topic] = version.number
        if topic in self._captured:
            self._codecs[relation.oid] = codec

    def _codec(self, payload: bytes) -> Codec | None:
        """The codec of the row's relation; None for a table that is published and not captured here."""
        self._transaction.ordinal += 1
        codec = self._codecs[pgoutput.read_oid(payload)]
        if codec is None:
            self._pass_by(pgoutput.read_oid(payload))
        return codec

    def _pass_by(self, oid: int) -> None:
        """A table that is captured later may be copied before this transaction can be seen."""
        if known := self._known.get(oid):
            self._visibility.touch_all(known.relation.name)

    def _insert(self, lsn: int, payload: bytes, now_ms: int) -> None:
        if codec := self._codec(payload):
            transaction = self._transaction
            record = codec.insert(transaction.head, lsn, transaction.ordinal, now_ms, pgoutput.read_insert(payload))
            self._send(codec, record)

    def _update(self, lsn: int, payload: bytes, now_ms: int) -> None:
        if codec := self._codec(payload):
            transaction = self._transaction
            records = codec.update(transaction.head, lsn, transaction.ordinal, now_ms, *pgoutput.read_update(payload))
            self._send(codec, records[0])
            if len(records) == 2:
                transaction.ordinal += 1
                self._send(codec, records[1])

    def _delete(self, lsn: int, payload: bytes, now_ms: int) -> None:
        if codec := self._codec(payload):
            transaction = self._transaction
            record = codec.delete(transaction.head, lsn, transaction.ordinal, now_ms, *pgoutput.read_delete(payload))
            self._send(codec, record)

    def _truncate(self, lsn: int, payload: bytes, now_ms: int) -> None:
        """A truncate touches every key: it is one record in every partition of its table."""
        transaction = self._transaction
        for oid in pgoutput.read_truncate(payload).oids:
            codec = self._codecs[oid]
            if codec is None:
                transaction.ordinal += 1
                self._pass_by(oid)
                continue
            self._visibility.touch_all(codec.relation.name)
            for partition in range(self._stream.partitions[codec.topic]):
                transaction.ordinal += 1
                record = codec.truncate(transaction.head, lsn, transaction.ordinal, now_ms)
                self._place(transaction, codec.topic, partition, record)

    def _message(self, message: pgoutput.Message, now_ms: int) -> None:
        """A transactional message takes a place in the order; another one has the place of its own LSN."""
        if not message.transactional:
            self._message_alone(message, now_ms)
            return
        transaction = self._transaction
        transaction.ordinal += 1
        if message.prefix == MARK_PREFIX:
            transaction.marks.append(message.content)
        elif self._messages.topic in self._captured and (message.prefix not in OURS or self._stream.notes):
            record = self._message_record(transaction.head, transaction.ordinal, message, now_ms)
            if message.prefix == ORIGIN_PREFIX:
                transaction.origin = transaction.ordinal, record
            else:
                self._place(transaction, self._messages.topic, 0, record)

    def _message_alone(self, message: pgoutput.Message, now_ms: int) -> None:
        """Confirmed like a transaction: not before it and all before it are acknowledged."""
        head = Head(self._stream.timeline_of(message.lsn), message.lsn, now_ms * 1_000, xid=None)
        self._arrive((head.timeline, message.lsn))
        if message.prefix in OURS or self._messages.topic not in self._captured:
            return
        record = self._message_record(head, 1, message, now_ms)
        ticket = self._progress.begin()
        position = Position(head.timeline, message.lsn, 1)
        self._publisher.send(ticket, (self._messages.topic, 0), position, record.key, record.value)
        self._progress.commit(ticket, message.lsn)

    def _message_record(self, head: Head, ordinal: int, message: pgoutput.Message, now_ms: int) -> Record:
        limit = self._stream.max_record_bytes
        record, lost = self._messages.write(head, message.lsn, ordinal, now_ms, message, limit)
        if lost:
            self._oversize.inc()
            log.warning("message too large to publish", prefix=message.prefix[:80], bytes=len(message.content))
        return record

    def _send(self, codec: Codec, record: Record) -> None:
        transaction = self._transaction
        self._visibility.touch(codec.relation.name, record.key)
        self._place_row(transaction, codec, record)

    def _place_row(self, transaction: _Transaction, codec: Codec, record: Record) -> None:
        if self._too_large(record):
            record = without_before(record)
        if self._too_large(record):
            self._oversize.inc()
            log.warning("row too large to publish", table=codec.relation.name, bytes=len(record.value))
            record = placeholder(record)
        partition = partition_of(record.key, self._stream.partitions[codec.topic])
        self._place(transaction, codec.topic, partition, record)

    def _too_large(self, record: Record) -> bool:
        return len(record.key) + len(record.value) > self._stream.max_record_bytes

    def _place(self, transaction: _Transaction, topic: str, partition: int, record: Record) -> None:
        """Count the record, whether it is sent now or was sent before."""
        self._place_origin(transaction)
        self._count(transaction, topic, partition, transaction.ordinal, record)

    def _place_origin(self, transaction: _Transaction) -> None:
        """A transaction of ours without any record says nothing: it only moved what is kept in the database."""
        if transaction.origin is not None:
            (ordinal, record), transaction.origin = transaction.origin, None
            self._count(transaction, self._messages.topic, 0, ordinal, record)

    def _count(self, transaction: _Transaction, topic: str, partition: int, ordinal: int, record: Record) -> None:
        by_partition = transaction.counts.setdefault(topic, {})
        name = str(partition)
        by_partition[name] = by_partition.get(name, 0) + 1
        if version := self._versions.get(topic):
            # The newest: a change that is undone within the transaction leads back to an earlier version.
            transaction.schemas[topic] = max(version, transaction.schemas.get(topic, 0))
        position = Position(transaction.head.timeline, transaction.head.commit_lsn, ordinal)
        self._publisher.send(transaction.ticket, (topic, partition), position, record.key, record.value)

    def _mark(self, transaction: _Transaction, content: bytes, now_ms: int) -> None:
        """Ours: its rows go out here. Another's, or of an earlier life: an end without rows, for what that left."""
        publish = self._stream.at_mark(number) if (number := self._own(content)) is not None else None
        if publish is not None:
            self._publish(transaction, publish, now_ms)
            seams.seam(seams.AFTER_CHUNK_ROWS)
            transaction.ticket.on_done = publish.done
        self._end(transaction, "snapshot")

    def _publish(self, transaction: _Transaction, publish: Publish, now_ms: int) -> None:
        codec = publish.codec
        version = self._stream.read(codec.relation, codec.key_columns, transaction.head.commit_lsn)
        head = Head(
            transaction.head.timeline, transaction.head.commit_lsn, transaction.head.ts_us, xid=None, snapshot=True
        )
        for row in publish.rows:
            transaction.ordinal += 1
            record = codec.read(head, transaction.ordinal, now_ms, row)
            self._place_row(transaction, codec, record)
        for key in publish.absent:
            transaction.ordinal += 1
            record = codec.absent(head, transaction.ordinal, now_ms, key)
            self._place_row(transaction, codec, record)
        if codec.topic in transaction.counts:
            transaction.schemas[codec.topic] = version.number

    def _own(self, content: bytes) -> int | None:
        try:
            mark = orjson.loads(content)
            own = mark["source"] == self._stream.source and mark["epoch"] == self._stream.epoch
            return int(mark["number"]) if own else None
        except (ValueError, KeyError, TypeError):
            return None  # somebody else's

    def _end(self, transaction: _Transaction, kind: str) -> None:
        head = transaction.head
        value = {
            "kind": kind,
            "timeline": head.timeline,
            "commit_lsn": head.commit_lsn,
            "ts_us": head.ts_us,
            "xid": head.xid,
            "counts": transaction.counts,
            "epoch": self._stream.epoch,
            "schemas": transaction.schemas,
        }
        position = Position(head.timeline, head.commit_lsn, transaction.ordinal)
        self._publisher.end(transaction.ticket, position, orjson.dumps(value), after_records=kind == "snapshot")
