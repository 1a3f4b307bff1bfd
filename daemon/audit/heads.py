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

_LAST = "SELECT sequence, signed_at FROM placemat.audit_checkpoints ORDER BY sequence DESC LIMIT 1"
_SIGN = """
INSERT INTO placemat.audit_checkpoints (sequence, hash, signed_at, key_id, signature) VALUES (%s, %s, %s, %s, %s)
ON CONFLICT DO NOTHING
"""


class Published(NamedTuple):
    """A head as it stands in the topic. `offset` is its record's."""

    sequence: int
    hash: bytes
    offset: int


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
        self._producer = Producer(
            {**broker.options(kafka), "enable.idempotence": True, "linger.ms": 0, "message.timeout.ms": 8_000},
            logger=broker.SILENT,
        )

    def close(self) -> None:
        self._producer.flush(1)

    def tick(self) -> None:
        """Publish and sign the head, if it is time."""
        if self._clock() - self._published_at < PUBLISH_SECONDS:
            return
        self._published_at = self._clock()
        head = chain.read_head(self._connection)
        if head.sequence > 0:
            if self._signer is not None:
                self._sign(head, self._signer)
            if head.sequence != self._published:
                self._publish(head)
                self._published = head.sequence
        self._connection.commit()

    def _sign(self, head: Head, signer: Signer) -> None:
        last = self._connection.execute(_LAST).fetchone()
        now = self._now()
        if last is not None:
            entries, seconds = head.sequence - last[0], (now - last[1]).total_seconds()
            if entries <= 0 or (entries < self._audit.checkpoint_entries and seconds < self._audit.checkpoint_seconds):
                return
        signature = signer.sign(signing.checkpoint(head.sequence, head.hash, now))
        self._connection.execute(_SIGN, [head.sequence, head.hash, now, signing.key_id(signer.public), signature])

    def _publish(self, head: Head) -> None:
        now = self._now()
        said = signing.checkpoint(head.sequence, head.hash, now)
        if self._signer is not None:
            said |= {"key_id": signing.key_id(self._signer.public), "signature": self._signer.sign(said).hex()}
        failed: list[object] = []
        try:
            self._producer.produce(
                self._audit.topic, orjson.dumps(said), b"", 0, on_delivery=lambda error, _: failed.append(error)
            )
            self._producer.flush(FLUSH_SECONDS)
        except (BufferError, KafkaException) as error:
            raise KafkaUnavailable("kafka does not take the head of the audit log") from error
        if failed != [None]:
            raise KafkaUnavailable("kafka does not take the head of the audit log")

    def _now(self) -> datetime:
        row = self._connection.execute("SELECT clock_timestamp()").fetchone()
        assert row is not None, "a clock has a time"
        now: datetime = row[0]
        return now


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

    def read(self) -> Iterator[list[Published]]:
        """In the order of the topic, some at a time."""
        options = {"group.id": "placemat.audit", "enable.auto.commit": False, "auto.offset.reset": "earliest"}
        consumer = Consumer({**broker.options(self._kafka), **options}, logger=broker.SILENT)
        at, heard = self._at, time.monotonic()
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


def _published(message: Message) -> Published:
    said = orjson.loads(message.value() or b"{}")
    return Published(said["sequence"], bytes.fromhex(said["hash"]), message.offset() or 0)
