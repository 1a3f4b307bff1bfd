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
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from daemon import broker
from daemon.audit import chain, signing
from daemon.audit.entry import Head
from daemon.audit.heads.topic import PARTITION
from daemon.audit.signing import Signer
from daemon.broker import KafkaUnavailable
from daemon.config.audit import Audit
from daemon.config.kafka import Kafka
from daemon.errors import OperatorError

RETRY_SECONDS = 30.0
"""After Kafka has not taken a head: others wait meanwhile, and trying may take seconds."""
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
        self._signer = signer
        self._clock = clock
        self._published = -1
        self._due_at = float("-inf")
        self._producer: Producer | None = None

    def close(self) -> None:
        if self._producer is not None:
            self._producer.flush(1)

    def tick(self) -> bool:
        """Publish and sign the head, if it is time; whether it was."""
        if self._clock() < self._due_at:
            return False
        self._due_at = self._clock() + max(self._audit.publish_seconds, RETRY_SECONDS)
        self.publish()
        self._due_at = self._clock() + self._audit.publish_seconds
        return True

    def publish(self) -> None:
        """Publish the head, unless that was done, and sign it if it is time."""
        head = chain.read_head(self._connection)
        checkpoint = self._signed(head) if head.sequence > 0 else None
        said = signing.checkpoint(head.sequence, head.hash, _now(self._connection))
        self._connection.commit()  # a head never tells of a checkpoint that is not there, and no lock waits for Kafka
        if head.sequence > 0 and head.sequence != self._published:
            self._send(said | {"checkpoint": checkpoint})
            self._published = head.sequence

    def _send(self, said: dict[str, Any]) -> None:
        """The topic is asked for each time: somebody may have made it anew."""
        said |= {"topic_id": topic_id(self._kafka, self._audit.topic)}
        self._producer = self._producer or producer(self._kafka)
        try:
            publish(self._producer, self._audit.topic, said, self._signer)
        except KafkaUnavailable:
            self._producer.purge()  # a new one sends it again
            self._producer = None
            raise

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
        raise KafkaUnavailable(
            f"topic {topic}, which has the heads of the audit log, is gone: see placemat init --new-audit-log"
        )
    return found.topic_id


def publish(producer: Producer, topic: str, said: dict[str, Any], signer: Signer | None) -> int:
    """Write one record, signed where there is a key; its offset. Raises KafkaUnavailable."""
    if signer is not None:
        said = said | {"key_id": signing.key_id(signer.public), "signature": signer.sign(said).hex()}
    taken: list[int] = []

    def note(error: KafkaError | None, message: Message) -> None:
        if error is None:
            taken.append(message.offset() or 0)

    try:
        producer.produce(topic, orjson.dumps(said), b"", PARTITION, on_delivery=note)
        producer.flush(FLUSH_SECONDS)
    except (BufferError, KafkaException) as error:
        raise KafkaUnavailable("kafka does not take the head of the audit log") from error
    if not taken:
        raise KafkaUnavailable("kafka does not take the head of the audit log")
    return taken[0]


def _now(connection: psycopg.Connection[Any]) -> datetime:
    row = connection.execute(_NOW).fetchone()
    assert row is not None, "a clock has a time"
    now: datetime = row[0]
    return now
