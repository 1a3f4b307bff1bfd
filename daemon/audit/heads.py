"""Heads of the audit log outside the state database: signed ones in a table, and all of them in a topic of Kafka.

Who rewrites the log in the database can neither sign a checkpoint nor take back a record of the topic.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import orjson
import psycopg
from confluent_kafka import KafkaException, Producer

from daemon import broker
from daemon.audit import chain, signing
from daemon.audit.entry import Head
from daemon.audit.heads_topic import PARTITION
from daemon.audit.signing import Signer
from daemon.broker import KafkaUnavailable
from daemon.config.audit import Audit
from daemon.config.kafka import Kafka
from daemon.errors import OperatorError

PUBLISH_SECONDS = 1.0
FLUSH_SECONDS = 5.0

_LAST = "SELECT sequence, signed_at FROM placemat.audit_checkpoints ORDER BY sequence DESC LIMIT 1"
_NOW = "SELECT clock_timestamp()"
_SIGN = """
INSERT INTO placemat.audit_checkpoints (sequence, hash, signed_at, key_id, signature) VALUES (%s, %s, %s, %s, %s)
ON CONFLICT DO NOTHING
"""


class Heads:
    """Signs and publishes; one per relay, which may all do it. Raises psycopg.Error, and KafkaUnavailable also where
    the topic is gone: it is never made anew in silence."""

    def __init__(
        self, connection: psycopg.Connection[Any], audit: Audit, kafka: Kafka, signer: Signer | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._connection = connection
        self._audit = audit
        self._kafka = kafka
        self._topic_id = ""
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
                self._topic_id = self._topic_id or topic_id(self._kafka, self._audit.topic)
                said |= {"checkpoint": checkpoint, "topic_id": self._topic_id}
                publish(self._producer, self._audit.topic, said, self._signer)
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


def topic_id(kafka: Kafka, topic: str) -> str:
    """Kafka's own name of the topic: another one when it is made anew, and nobody can choose it.

    Raises KafkaUnavailable, also when there is no such topic.
    """
    try:
        found = broker.describe(broker.reach(kafka), [topic]).get(topic)
    except (OperatorError, KafkaException) as error:
        raise KafkaUnavailable("kafka does not tell of the topic of the audit log's heads") from error
    if found is None:
        raise KafkaUnavailable(f"topic {topic}, which has the heads of the audit log, is gone: see placemat init")
    return found.topic_id


def publish(producer: Producer, topic: str, said: dict[str, Any], signer: Signer | None) -> None:
    """Write one record, signed where there is a key. Raises KafkaUnavailable."""
    if signer is not None:
        said = said | {"key_id": signing.key_id(signer.public), "signature": signer.sign(said).hex()}
    failed: list[object] = []
    try:
        producer.produce(topic, orjson.dumps(said), b"", PARTITION, on_delivery=lambda error, _: failed.append(error))
        producer.flush(FLUSH_SECONDS)
    except (BufferError, KafkaException) as error:
        raise KafkaUnavailable("kafka does not take the head of the audit log") from error
    if failed != [None]:
        raise KafkaUnavailable("kafka does not take the head of the audit log")


def _now(connection: psycopg.Connection[Any]) -> datetime:
    row = connection.execute(_NOW).fetchone()
    assert row is not None, "a clock has a time"
    now: datetime = row[0]
    return now
