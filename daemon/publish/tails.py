"""Where each topic ends when a capture starts: what is there is not sent again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from daemon import broker
from daemon.config.kafka import Kafka
from daemon.errors import GAP_ADVICE, Gap, OperatorError, Unavailable
from daemon.pins import Pinned
from schemas.position import START, Position
from schemas.topics import POSITION_HEADER

ANSWER_SECONDS = 5.0
READ_SECONDS = 30.0
Slot = tuple[str, int]
"""Topic and partition."""


@dataclass(frozen=True, slots=True)
class Acked:
    """The newest acknowledged record of a partition, as the state has it."""

    offset: int
    position: Position


def read_tails(
    kafka: Kafka,
    source: str,
    pinned: Mapping[str, Pinned],
    acked: Mapping[Slot, Acked],
    go_on: Callable[[], None] = lambda: None,
) -> dict[Slot, Position]:
    """The newest position of each partition: of its last record, or as stored where that is greater.

    `go_on` is called again and again while it takes its time: it may raise to give up.
    Raises Gap when a partition ends before what Kafka had acknowledged, OperatorError when something else writes
    there, and Unavailable when Kafka does not answer.
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
        ends = {slot: _end(consumer, slot, acked.get(slot), go_on) for slot in slots}
        last = _last_records(consumer, {slot: end - 1 for slot, (start, end) in ends.items() if end > start}, go_on)
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


def check_ends(kafka: Kafka, acked: Mapping[Slot, int]) -> None:
    """Raises Gap when a partition ends before an offset that Kafka had acknowledged, Unavailable when it is silent."""
    try:
        ends = broker.offsets(broker.reach(kafka), acked, "latest") if acked else {}
    except (OperatorError, KafkaException) as error:
        raise Unavailable("Kafka does not tell where its topics end") from error
    for slot, end in ends.items():
        _unless_cut_off(slot, end, acked[slot])


def _unless_cut_off(slot: Slot, end: int, acked: int) -> None:
    if end <= acked:
        raise Gap(
            f"Partition {slot[1]} of topic {slot[0]} ends at {end}, and Kafka had acknowledged record {acked}:"
            " events are lost.",
            "topic_cut_off",
        )


def _end(consumer: Consumer, slot: Slot, acked: Acked | None, go_on: Callable[[], None]) -> tuple[int, int]:
    go_on()
    topic, partition = slot
    marks = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=ANSWER_SECONDS)
    if marks is None:
        raise Unavailable("Kafka does not tell where its topics end")
    start, end = marks
    if acked is not None:
        _unless_cut_off(slot, end, acked.offset)
    return start, end


def _last_records(consumer: Consumer, offsets: Mapping[Slot, int], go_on: Callable[[], None]) -> dict[Slot, Message]:
    found: dict[Slot, Message] = {}
    consumer.assign([TopicPartition(topic, partition, offset) for (topic, partition), offset in offsets.items()])
    deadline = time.monotonic() + READ_SECONDS
    while len(found) < len(offsets):
        go_on()
        if time.monotonic() > deadline:
            raise Unavailable("Kafka does not hand out the last records of its topics")
        for message in consumer.consume(num_messages=len(offsets) - len(found), timeout=0.5):
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
