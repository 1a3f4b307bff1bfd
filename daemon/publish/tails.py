"""Where each topic ends when a capture starts: what is there is not sent again."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from daemon import broker
from daemon.config import Kafka
from daemon.errors import GAP_ADVICE, OperatorError, Unavailable
from schemas.position import START, Position
from schemas.topics import POSITION_HEADER

READ_SECONDS = 30.0
Slot = tuple[str, int]
"""Topic and partition."""


@dataclass(frozen=True, slots=True)
class Acked:
    """The newest acknowledged record of a partition, as the state has it."""

    offset: int
    position: Position


@dataclass(frozen=True, slots=True)
class Pinned:
    """A topic as it was when `init` made or found it."""

    topic_id: str
    partitions: int


def check_topics(kafka: Kafka, source: str, cluster_id: str, pinned: Mapping[str, Pinned]) -> None:
    """Compare cluster and topics with what the state has pinned.

    Raises OperatorError when one of them is another than it was: what it held is gone, or its keys are elsewhere; and
    Unavailable when Kafka does not answer.
    """
    found, present = _look(kafka, pinned)
    if found != cluster_id:
        raise OperatorError(
            f"Kafka at {kafka.bootstrap_servers} is cluster {found}, and source {source} publishes to {cluster_id}.",
            f"Point kafka.bootstrap_servers to that cluster. If it is gone: {GAP_ADVICE}",
        )
    for name, pin in pinned.items():
        topic = present.get(name)
        if topic is None or topic.topic_id != pin.topic_id:
            what = "is gone" if topic is None else "was made anew"
            raise OperatorError(f"Topic {name} {what}: its events are lost.", GAP_ADVICE)
        if topic.partitions != pin.partitions:
            raise OperatorError(
                f"Topic {name} has {topic.partitions} partitions, and source {source} began with {pin.partitions}:"
                " keys would change their partition.",
                GAP_ADVICE,
            )


def _look(kafka: Kafka, names: Iterable[str]) -> tuple[str, dict[str, broker.Topic]]:
    """The cluster's id, and those of the topics that exist. A capture waits for a broker that is away."""
    try:
        admin = broker.reach(kafka)
        return broker.cluster_id(admin), broker.describe(admin, names)
    except OperatorError as error:
        raise Unavailable(str(error)) from error
    except KafkaException as error:
        raise Unavailable(f"Kafka does not answer: {error.args[0]}") from error


def read_tails(
    kafka: Kafka, source: str, pinned: Mapping[str, Pinned], acked: Mapping[Slot, Acked]
) -> dict[Slot, Position]:
    """The newest position of each partition: of its last record, or as stored where that is greater.

    Raises OperatorError when a partition ends before what Kafka had acknowledged, and Unavailable when it does not
    answer.
    """
    slots = [(name, number) for name, pin in pinned.items() for number in range(pin.partitions)]
    consumer = Consumer(
        {
            **broker.options(kafka),
            "group.id": f"placemat.tails.{source}",
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "queued.max.messages.kbytes": 4096,
            "fetch.message.max.bytes": 1_048_576,
        },
        logger=broker.SILENT,
    )
    try:
        ends = {slot: _end(consumer, slot, acked.get(slot)) for slot in slots}
        last = _last_records(consumer, {slot: end - 1 for slot, (start, end) in ends.items() if end > start})
    except KafkaException as error:
        raise Unavailable(f"Kafka does not answer: {error.args[0]}") from error
    finally:
        consumer.close()
    return {
        slot: max(
            _position(last[slot]) if slot in last else START,
            acked[slot].position if slot in acked else START,
        )
        for slot in slots
    }


def _end(consumer: Consumer, slot: Slot, acked: Acked | None) -> tuple[int, int]:
    topic, partition = slot
    marks = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=READ_SECONDS)
    if marks is None:
        raise Unavailable("Kafka does not tell where its topics end")
    start, end = marks
    if acked is not None and end <= acked.offset:
        raise OperatorError(
            f"Partition {partition} of topic {topic} ends at {end}, and Kafka had acknowledged record {acked.offset}:"
            " events are lost.",
            GAP_ADVICE,
        )
    return start, end


def _last_records(consumer: Consumer, offsets: Mapping[Slot, int]) -> dict[Slot, Message]:
    found: dict[Slot, Message] = {}
    consumer.assign([TopicPartition(topic, partition, offset) for (topic, partition), offset in offsets.items()])
    deadline = time.monotonic() + READ_SECONDS
    while len(found) < len(offsets):
        if time.monotonic() > deadline:
            raise Unavailable("Kafka does not hand out the last records of its topics")
        for message in consumer.consume(num_messages=100, timeout=0.5):
            if error := message.error():
                raise KafkaException(error)
            slot = (str(message.topic()), int(message.partition() or 0))
            if message.offset() == offsets[slot]:
                found[slot] = message
    return found


def _position(message: Message) -> Position:
    value = dict(message.headers() or ()).get(POSITION_HEADER)
    if isinstance(value, bytes):
        return Position.from_header(value)
    raise OperatorError(
        f"The last record of topic {message.topic()}, partition {message.partition()}, has no position:"
        " something else writes to this topic.",
        f"Stop that writer. {GAP_ADVICE}",
    )
