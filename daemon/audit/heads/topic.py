"""The topic of the audit log's heads as Kafka has it: each record, whoever has written it, and where some are gone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from daemon import broker
from daemon.broker import KafkaUnavailable
from daemon.config.kafka import Kafka

READ_SECONDS = 30.0
CHECKPOINT = "checkpoint"
"""Kind of a record that is a head."""
BEGIN = "begin"
"""Kind of a record that stands before the heads of a log."""
PARTITION = 0


@dataclass(frozen=True, slots=True)
class Said:
    """A record of ours, or one that looks like it. `said` is what was signed, where there is a `signature`."""

    offset: int
    said: dict[str, Any]
    key_id: str | None
    signature: bytes | None
    at: datetime

    @property
    def topic_id(self) -> str | None:
        """The topic that it was written to; None where an earlier placemat has written it, which did not say."""
        found: str | None = self.said.get("topic_id")
        return found


@dataclass(frozen=True, slots=True)
class Published(Said):
    """A head. `checkpoint` is the newest one by then, where it tells."""

    sequence: int
    hash: bytes
    checkpoint: int | None


@dataclass(frozen=True, slots=True)
class Begun(Said):
    """Says that the heads before it are of an earlier log. `after` is the newest entry that they tell of; `sequence`
    and `hash` are the new log's head then, where it tells. `stands_at` is the offset that it was signed for."""

    after: int | None
    reason: str | None
    by: str | None
    stands_at: int
    sequence: int | None
    hash: bytes | None


@dataclass(frozen=True, slots=True)
class Foreign:
    """A record that no placemat has written, or that was damaged."""

    offset: int


Record = Published | Begun | Foreign


class HeadsTopic:
    """What Kafka has by now: records from `start` up to `end`. Without a topic, `topic_id` is None.

    Raises OperatorError and KafkaUnavailable.
    """

    def __init__(self, kafka: Kafka, name: str) -> None:
        self.name = name
        self.topic_id: str | None = None
        self.start = self.end = 0
        self._kafka = kafka
        place = name, PARTITION
        try:
            admin = broker.reach(kafka)
            if (found := broker.describe(admin, [name]).get(name)) is not None:
                self.topic_id = found.topic_id
                self.start = broker.offsets(admin, [place], "earliest")[place]
                self.end = broker.offsets(admin, [place], "latest")[place]
        except KafkaException as error:
            raise KafkaUnavailable(f"kafka does not answer: {broker.reason(error)}") from error

    def newest(self, count: int) -> list[Record]:
        """At most so many of the newest records."""
        return [one for page in self.read(self.end - count) for one in page]

    def read(self, start: int = 0) -> Iterator[list[Record]]:
        """In the order of the topic, from an offset on, some at a time; also what an open transaction holds back, by
        which somebody could keep heads from being looked at."""
        options = {
            "group.id": "placemat.audit", "enable.auto.commit": False, "auto.offset.reset": "earliest",
            "isolation.level": "read_uncommitted", "enable.partition.eof": True,
        }  # fmt: skip
        consumer = Consumer({**broker.options(self._kafka), **options}, logger=broker.SILENT)
        at, heard = max(self.start, start), time.monotonic()
        try:
            consumer.assign([TopicPartition(self.name, PARTITION, at)])
            while at < self.end:
                found, at = self._page(consumer, at)
                if found:
                    heard = time.monotonic()
                    yield found
                elif time.monotonic() - heard > READ_SECONDS:
                    raise KafkaUnavailable("kafka does not answer")
        finally:
            consumer.close()

    def place(self, first: int, last: int | None = None) -> str:
        """Where a record stands, in words; or several."""
        offsets = f"offset {first}" if last is None or last == first else f"offsets {first} to {last}"
        return f"{offsets} (topic {self.name}, partition {PARTITION})"

    def _page(self, consumer: Consumer, at: int) -> tuple[list[Record], int]:
        """Some records, and the offset that follows."""
        found: list[Record] = []
        for message in consumer.consume(500, timeout=0.2):
            offset, error = message.offset() or 0, message.error()
            if error is not None:
                # What stands last may be no record, as the end of a transaction: then only this tells.
                at = max(at, offset) if error.code() == KafkaError._PARTITION_EOF else at
            elif offset < self.end:
                found.append(parse(offset, message.value()))
                at = offset + 1
            else:
                at = self.end
        return found, at


def parse(offset: int, value: bytes | None) -> Record:
    """Whatever the bytes are. Pure."""
    try:
        said = orjson.loads(value or b"")
        key_id, signature = said.pop("key_id", None), said.pop("signature", None)
        return _record(offset, said, _text(key_id), bytes.fromhex(signature) if signature is not None else None)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return Foreign(offset)


def _record(offset: int, said: dict[str, Any], key_id: str | None, signature: bytes | None) -> Record:
    _text(said.get("topic_id"))
    at = datetime.fromisoformat(said["at"])
    at.timestamp()
    if at.tzinfo is None:
        raise ValueError("a time of ours has a zone")
    if said["kind"] == CHECKPOINT:
        hash_, checkpoint = bytes.fromhex(said["hash"]), _number(said.get("checkpoint"))
        return Published(offset, said, key_id, signature, at, _known(_number(said["sequence"])), hash_, checkpoint)
    if said["kind"] != BEGIN:
        raise ValueError("there is no such kind")
    told = bytes.fromhex(said["hash"]) if said.get("hash") is not None else None
    after, sequence = _number(said.get("after")), _number(said.get("sequence"))
    reason, by, stands_at = _text(said.get("reason")), _text(said.get("by")), _number(said.get("offset")) or 0
    return Begun(offset, said, key_id, signature, at, after, reason, by, stands_at, sequence, told)


def _number(value: Any) -> int | None:
    if value is not None and (type(value) is not int or not 0 <= value < 2**63):
        raise ValueError("no number of an entry")
    return value


def _known(value: int | None) -> int:
    if value is None:
        raise ValueError("a head has a number")
    return value


def _text(value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise TypeError("no text")
    return value
