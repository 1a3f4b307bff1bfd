"""Events as they pass, for people: read outside any consumer group, from every partition of some topics."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    TIMESTAMP_NOT_AVAILABLE,
    Consumer,
    KafkaException,
    Message,
    TopicPartition,
)

from daemon import broker
from daemon.config.kafka import Kafka
from daemon.errors import OperatorError
from daemon.exact_json import decode
from schemas.topics import POSITION_HEADER

POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Event:
    """One record. `columns` are those that changed where the old row is known, else those that it brings."""

    topic: str
    partition: int
    offset: int
    position: str | None
    ts_ms: int | None
    op: str
    key: Any
    columns: list[str]
    value: dict[str, Any]


def events(kafka: Kafka, topics: Collection[str], *, from_beginning: bool) -> Iterator[Event]:
    """Without an end. Raises OperatorError when Kafka cannot be reached, or has not got one of the topics."""
    found = broker.describe(broker.reach(kafka), topics)
    for topic in topics:
        if topic not in found:
            raise OperatorError(f"Kafka has no topic {topic}.", "Run: placemat init")
    consumer = Consumer(
        {
            **broker.options(kafka),
            "group.id": "placemat.observe",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "queued.max.messages.kbytes": 8_192,
        },
        logger=broker.SILENT,
    )
    start = OFFSET_BEGINNING if from_beginning else OFFSET_END
    try:
        consumer.assign(
            [
                TopicPartition(topic.name, number, start)
                for topic in found.values()
                for number in range(topic.partitions)
            ]
        )
        while True:
            for message in consumer.consume(100, timeout=POLL_SECONDS):
                if message.error() is None:
                    yield read(message)
    except KafkaException as error:
        raise OperatorError("Kafka stopped answering.", "Run placemat tail again when it answers.") from error
    finally:
        consumer.close()


def read(message: Message) -> Event:
    """A record as an event; of a topic that is not a table's, what there is of it."""
    value = decode(message.value() or b"{}")
    headers = dict(message.headers() or [])
    position = headers.get(POSITION_HEADER)
    source = value.get("source") or {}
    key = message.key()
    return Event(
        message.topic() or "",
        message.partition() or 0,
        message.offset() or 0,
        position.decode() if isinstance(position, bytes) else None,
        source.get("ts_ms") or _written_ms(message),
        value.get("op", "-"),
        decode(key) if key else None,
        changed_columns(value.get("before"), value.get("after")),
        value,
    )


def _written_ms(message: Message) -> int | None:
    """When the record was written, for what has no time of its own."""
    kind, at = message.timestamp()
    return at if kind != TIMESTAMP_NOT_AVAILABLE else None


def changed_columns(before: dict[str, Any] | None, after: dict[str, Any] | None) -> list[str]:
    """Columns whose value differs, as far as the old row is there to compare with."""
    if not after:
        return []
    if not before or not set(after) <= set(before):
        return list(after)
    return [name for name, value in after.items() if before[name] != value]
