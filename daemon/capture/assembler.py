"""From the messages of the stream to records, transaction by transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import orjson
import structlog

from daemon import seams
from daemon.capture import pgoutput
from daemon.capture.codec import Codec, Head, Record, without_before
from daemon.capture.copier import Publish
from daemon.capture.pgoutput import Relation
from daemon.capture.reader import MARK_PREFIX
from daemon.capture.visibility import Visibility
from daemon.errors import OperatorError
from daemon.observe import metrics
from daemon.publish.producer import Publisher
from daemon.publish.progress import Progress, Ticket
from schemas.position import Position
from schemas.topics import partition_of

log = structlog.get_logger(__name__)

Counts = dict[str, dict[str, int]]


@dataclass(slots=True)
class _Transaction:
    """The open transaction: place of the newest change, records by topic and partition, marks that it carries."""

    head: Head
    ticket: Ticket
    ordinal: int = 0
    counts: Counts = field(default_factory=dict)
    marks: list[bytes] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class StreamFacts:
    """What the assembler needs to know of its stream. `partitions` are those of the published topics."""

    source: str
    database: str
    epoch: int
    timeline_of: Callable[[int], int]
    partitions: Mapping[str, int]
    max_record_bytes: int
    key_columns: Callable[[Relation], tuple[str, ...]]
    relation_seen: Callable[[Relation, int], None]
    at_mark: Callable[[int], Publish | None]


class Assembler:
    """Feeds the publisher. Every method runs in the capture's thread."""

    def __init__(self, stream: StreamFacts, publisher: Publisher, progress: Progress, visibility: Visibility) -> None:
        self._stream = stream
        self._publisher = publisher
        self._progress = progress
        self._visibility = visibility
        self._codecs: dict[int, Codec | None] = {}
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
            self._message(pgoutput.read_message(payload))
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

    def _relation(self, relation: Relation) -> None:
        topic_known = Codec.topic_of(self._stream.source, relation) in self._stream.partitions
        if not topic_known:
            self._codecs[relation.oid] = None
            return
        keys = self._stream.key_columns(relation)
        self._codecs[relation.oid] = Codec(self._stream.source, self._stream.database, relation, keys)
        self._stream.relation_seen(relation, self._open.head.commit_lsn if self._open else 0)

    def _codec(self, payload: bytes) -> Codec | None:
        """The codec of the row's relation; None for a table that is published and not configured."""
        self._transaction.ordinal += 1
        return self._codecs[pgoutput.read_oid(payload)]

    def _insert(self, lsn: int, payload: bytes, now_ms: int) -> None:
        if codec := self._codec(payload):
            transaction = self._transaction
            record = codec.insert(transaction.head, lsn, transaction.ordinal, now_ms, pgoutput.read_insert(payload))
            self._send(codec, record, lsn, now_ms)

    def _update(self, lsn: int, payload: bytes, now_ms: int) -> None:
        if codec := self._codec(payload):
            transaction = self._transaction
            records = codec.update(transaction.head, lsn, transaction.ordinal, now_ms, *pgoutput.read_update(payload))
            self._send(codec, records[0], lsn, now_ms)
            if len(records) == 2:
                transaction.ordinal += 1
                self._send(codec, records[1], lsn, now_ms)

    def _delete(self, lsn: int, payload: bytes, now_ms: int) -> None:
        if codec := self._codec(payload):
            transaction = self._transaction
            record = codec.delete(transaction.head, lsn, transaction.ordinal, now_ms, *pgoutput.read_delete(payload))
            self._send(codec, record, lsn, now_ms)

    def _truncate(self, lsn: int, payload: bytes, now_ms: int) -> None:
        """A truncate touches every key: it is one record in every partition of its table."""
        transaction = self._transaction
        for oid in pgoutput.read_truncate(payload).oids:
            codec = self._codecs[oid]
            if codec is None:
                transaction.ordinal += 1
                continue
            self._visibility.touch_all(codec.relation.name)
            for partition in range(self._stream.partitions[codec.topic]):
                transaction.ordinal += 1
                record = codec.truncate(transaction.head, lsn, transaction.ordinal, now_ms)
                self._place(transaction, codec.topic, partition, record)

    def _message(self, message: pgoutput.Message) -> None:
        """Transactional messages take a place in the order; those outside transactions have none."""
        if not message.transactional:
            return
        self._transaction.ordinal += 1
        if message.prefix == MARK_PREFIX:
            self._transaction.marks.append(message.content)

    def _send(self, codec: Codec, record: Record, lsn: int, now_ms: int) -> None:
        transaction = self._transaction
        self._visibility.touch(codec.relation.name, record.key)
        self._place_row(transaction, codec, record, transaction.head, lsn, now_ms)

    def _place_row(
        self, transaction: _Transaction, codec: Codec, record: Record, head: Head, lsn: int, now_ms: int
    ) -> None:
        if self._too_large(record):
            record = without_before(record)
        if self._too_large(record):
            self._oversize.inc()
            log.warning("row too large to publish", table=codec.relation.name, bytes=len(record.value))
            record = codec.oversize(record, head, lsn, transaction.ordinal, now_ms)
        partition = partition_of(record.key, self._stream.partitions[codec.topic])
        self._place(transaction, codec.topic, partition, record)

    def _too_large(self, record: Record) -> bool:
        return len(record.key) + len(record.value) > self._stream.max_record_bytes

    def _place(self, transaction: _Transaction, topic: str, partition: int, record: Record) -> None:
        """Count the record, whether it is sent now or was sent before."""
        by_partition = transaction.counts.setdefault(topic, {})
        name = str(partition)
        by_partition[name] = by_partition.get(name, 0) + 1
        position = Position(transaction.head.timeline, transaction.head.commit_lsn, transaction.ordinal)
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
        head = Head(
            transaction.head.timeline, transaction.head.commit_lsn, transaction.head.ts_us, xid=None, snapshot=True
        )
        for row in publish.rows:
            transaction.ordinal += 1
            record = codec.read(head, transaction.ordinal, now_ms, row)
            self._place_row(transaction, codec, record, head, head.commit_lsn, now_ms)
        for key in publish.absent:
            transaction.ordinal += 1
            record = codec.absent(head, transaction.ordinal, now_ms, key)
            self._place_row(transaction, codec, record, head, head.commit_lsn, now_ms)

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
        }
        position = Position(head.timeline, head.commit_lsn, transaction.ordinal)
        self._publisher.end(transaction.ticket, position, orjson.dumps(value), after_records=kind == "snapshot")


def key_columns(relation: Relation, primary_key: tuple[str, ...]) -> tuple[str, ...]:
    """The columns of the record key: the primary key in its own order, where the stream brings those columns.

    Raises OperatorError when it brings no key.
    """
    flagged = {column.name for column in relation.columns if column.key}
    if relation.identity == "f" or flagged == set(primary_key):
        return primary_key
    if not flagged:
        raise OperatorError(
            f"{relation.name} does not log its primary key with updates and deletes.",
            f"As its owner run: ALTER TABLE {relation.name} REPLICA IDENTITY DEFAULT",
        )
    return tuple(column.name for column in relation.columns if column.key)
