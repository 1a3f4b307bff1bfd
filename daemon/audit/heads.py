"""Heads of the audit log outside the state database: signed ones in a table, and all of them in a topic of Kafka.

Who rewrites the log in the database can neither sign a checkpoint nor take back a record of the topic.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, NamedTuple

import orjson
import psycopg
from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition

from daemon import broker
from daemon.audit import chain, signing
from daemon.audit.entry import Head
from daemon.audit.signing import Signer
from daemon.broker import KafkaUnavailable
from daemon.config.audit import Audit
from daemon.config.kafka import Kafka

PUBLISH_SECONDS = 1.0
FLUSH_SECONDS = 5.0
READ_SECONDS = 30.0
BEGIN = "begin"
"""Kind of a record that stands between the heads of two logs."""

_LAST = "SELECT sequence, signed_at FROM placemat.audit_checkpoints ORDER BY sequence DESC LIMIT 1"
_NOW = "SELECT clock_timestamp()"
_SIGN = """
INSERT INTO placemat.audit_checkpoints (sequence, hash, signed_at, key_id, signature) VALUES (%s, %s, %s, %s, %s)
ON CONFLICT DO NOTHING
"""


class Published(NamedTuple):
    """A head as it stands in the topic. `offset` is its record's, `checkpoint` the newest one by then, where it tells;
    `signed`: it has a signature."""

    sequence: int
    hash: bytes
    offset: int
    checkpoint: int | None = None
    signed: bool = False


class Begun(NamedTuple):
    """Says in the topic that the heads before it are of an earlier log."""

    offset: int
    said: dict[str, Any]
    key_id: str | None
    signature: bytes | None

    @property
    def at(self) -> str:
        return str(self.said["at"])


class Heads:
    """Signs and publishes; one per relay, which may all do it. Raises psycopg.Error and KafkaUnavailable."""

    def __init__(
        self, connection: psycopg.Connection[Any], audit: Audit, kafka: Kafka, signer: Signer | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._connection = connection
        self._audit = audit
        self._signer = signer
        self._clock = clock
        self._published = -1
        self._published_at = float("-inf")
        self._producer = producer(kafka)

    def close(self) -> None:
        self._producer.flush(1)

    def tick(self) -> None:
        """Publish and sign the head, if it is time."""
        if self._clock() - self._published_at < PUBLISH_SECONDS:
            return
        self._published_at = self._clock()
        head = chain.read_head(self._connection)
        if head.sequence > 0:
            checkpoint = self._signed(head)
            self._connection.commit()  # a head never tells of a checkpoint that is not there
            if head.sequence != self._published:
                said = signing.checkpoint(head.sequence, head.hash, _now(self._connection))
                publish(self._producer, self._audit.topic, said | {"checkpoint": checkpoint}, self._signer)
                self._published = head.sequence
        self._connection.commit()

    def _signed(self, head: Head) -> int | None:
        """Number of the newest checkpoint, once this head has one if it is time."""
        last = self._connection.execute(_LAST).fetchone()
        if self._signer is not None and (last is None or self._is_due(head, *last)):
            sign(self._connection, head, self._signer)
            return head.sequence
        return last[0] if last is not None else None

    def _is_due(self, head: Head, last: int, signed_at: datetime) -> bool:
        entries, seconds = head.sequence - last, (_now(self._connection) - signed_at).total_seconds()
        return entries > 0 and (entries >= self._audit.checkpoint_entries or seconds >= self._audit.checkpoint_seconds)


def sign(connection: psycopg.Connection[Any], head: Head, signer: Signer) -> None:
    """Store a checkpoint of this head, within the open transaction."""
    now = _now(connection)
    signature = signer.sign(signing.checkpoint(head.sequence, head.hash, now))
    connection.execute(_SIGN, [head.sequence, head.hash, now, signing.key_id(signer.public), signature])


def producer(kafka: Kafka) -> Producer:
    """For `publish`."""
    return Producer(
        {**broker.options(kafka), "enable.idempotence": True, "linger.ms": 0, "message.timeout.ms": 8_000},
        logger=broker.SILENT,
    )


def publish(producer: Producer, topic: str, said: dict[str, Any], signer: Signer | None) -> None:
    """Write one record, signed where there is a key. Raises KafkaUnavailable."""
    if signer is not None:
        said = said | {"key_id": signing.key_id(signer.public), "signature": signer.sign(said).hex()}
    failed: list[object] = []
    try:
        producer.produce(topic, orjson.dumps(said), b"", 0, on_delivery=lambda error, _: failed.append(error))
        producer.flush(FLUSH_SECONDS)
    except (BufferError, KafkaException) as error:
        raise KafkaUnavailable("kafka does not take the head of the audit log") from error
    if failed != [None]:
        raise KafkaUnavailable("kafka does not take the head of the audit log")


class HeadsTopic:
    """The heads that Kafka has by now. Raises OperatorError and KafkaUnavailable."""

    def __init__(self, kafka: Kafka, topic: str) -> None:
        self._kafka = kafka
        self._place = topic, 0
        admin = broker.reach(kafka)
        self._at = self._end = 0
        if topic in broker.describe(admin, [topic]):
            try:
                self._at = broker.offsets(admin, [self._place], "earliest")[self._place]
                self._end = broker.offsets(admin, [self._place], "latest")[self._place]
            except KafkaException as error:
                raise KafkaUnavailable(f"kafka does not answer: {broker.reason(error)}") from error

    def last(self) -> Published | Begun | None:
        """The newest record."""
        return next((page[-1] for page in self.read(self._end - 1)), None) if self._at < self._end else None

    def read(self, start: int = 0) -> Iterator[list[Published | Begun]]:
        """In the order of the topic, from an offset on, some at a time."""
        options = {"group.id": "placemat.audit", "enable.auto.commit": False, "auto.offset.reset": "earliest"}
        consumer = Consumer({**broker.options(self._kafka), **options}, logger=broker.SILENT)
        at, heard = max(self._at, start), time.monotonic()
        try:
            consumer.assign([TopicPartition(*self._place, at)])
            while at < self._end:
                found = [one for one in consumer.consume(500, timeout=0.2) if one.error() is None]
                if found:
                    heard, at = time.monotonic(), (found[-1].offset() or 0) + 1
                    yield [one for message in found if (one := _published(message)).offset < self._end]
                elif time.monotonic() - heard > READ_SECONDS:
                    raise KafkaUnavailable("kafka does not answer")
        finally:
            consumer.close()


def _published(message: Message) -> Published | Begun:
    said = orjson.loads(message.value() or b"{}")
    offset = message.offset() or 0
    key_id, signature = said.pop("key_id", None), said.pop("signature", None)
    if said["kind"] == BEGIN:
        return Begun(offset, said, key_id, bytes.fromhex(signature) if signature is not None else None)
    return Published(
        said["sequence"], bytes.fromhex(said["hash"]), offset, said.get("checkpoint"), signature is not None
    )


def _now(connection: psycopg.Connection[Any]) -> datetime:
    row = connection.execute(_NOW).fetchone()
    assert row is not None, "a clock has a time"
    now: datetime = row[0]
    return now
