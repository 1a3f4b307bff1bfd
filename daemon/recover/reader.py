"""The records of some partitions, read beside the live worker: no group, no commit, nobody else's place."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from connectors.contract import Partition
from daemon import broker
from daemon.config.kafka import Kafka
from daemon.errors import OperatorError, Unavailable
from schemas.position import START, Position
from schemas.topics import POSITION_HEADER

AT_ONCE = 2_000
BUFFER_KIB = 8_192
SILENCE_SECONDS = 30.0
_GONE = frozenset({KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE})


class ReplayReader:
    """Reads each partition up to an offset that moves on. Every method raises Unavailable when Kafka fails, and
    OperatorError where the topic has lost what is to be read."""

    def __init__(self, kafka: Kafka, starts: Mapping[Partition, int]) -> None:
        self._next = dict(starts)
        self._highest: dict[Partition, Position] = dict.fromkeys(starts, START)
        self._ahead: defaultdict[Partition, deque[Message]] = defaultdict(deque)
        self._paused: set[Partition] = set()
        self._consumer = Consumer(
            {
                **broker.options(kafka),
                "group.id": "placemat.replay",
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "queued.max.messages.kbytes": BUFFER_KIB,
                "fetch.message.max.bytes": 262_144,
                "fetch.max.bytes": max(kafka.max_record_bytes + broker.RECORD_OVERHEAD_BYTES, BUFFER_KIB * 1_024),
                "receive.message.max.bytes": max(kafka.max_record_bytes, BUFFER_KIB * 1_024) * 2 + 1_048_576,
                "fetch.wait.max.ms": 20,
                "fetch.queue.backoff.ms": 5,
            },
            logger=broker.SILENT,
        )
        self._consumer.assign([TopicPartition(*key, offset) for key, offset in starts.items()])

    def close(self) -> None:
        self._consumer.close()

    def behind(self, bounds: Mapping[Partition, int]) -> int:
        """Records still to be read before these offsets."""
        return sum(max(0, bounds.get(key, 0) - at) for key, at in self._next.items())

    def read(
        self,
        bounds: Mapping[Partition, int],
        take: Callable[[Sequence[tuple[Message, Position]]], None],
        seconds: float | None = None,
    ) -> bool:
        """Hand over every record before these offsets, once, in the order of its partition, and without those that
        their partition had already. False when `seconds` were not enough."""
        deadline = None if seconds is None else time.monotonic() + seconds
        heard = time.monotonic()
        self._hand_over([message for key in list(self._ahead) for message in self._drain(key, bounds)], take)
        self._flow(bounds)
        while self.behind(bounds):
            if deadline is not None and time.monotonic() > deadline:
                return False
            messages = self._poll()
            if messages:
                heard = time.monotonic()
                self._hand_over([one for one in messages if self._within(one, bounds)], take)
                self._flow(bounds)
            elif time.monotonic() - heard > SILENCE_SECONDS:
                raise Unavailable("kafka does not answer")
        return True

    def _poll(self) -> list[Message]:
        try:
            found = self._consumer.consume(AT_ONCE, timeout=0.1)
        except KafkaException as error:
            raise Unavailable("kafka does not answer") from error
        kept = []
        for message in found:
            fault = message.error()
            if fault is None:
                kept.append(message)
            elif fault.code() in _GONE:
                raise OperatorError(
                    f"Topic {message.topic()} lost records of partition {message.partition()} while they were read.",
                    "Its retention has passed over them: begin the replay later.",
                )
            elif fault.fatal() or not fault.retriable():
                raise Unavailable(f"kafka failed ({fault.name()})")
        return kept

    def _within(self, message: Message, bounds: Mapping[Partition, int]) -> bool:
        """Whether it is before its bound; if not it is kept for later."""
        key = _partition(message)
        if not self._ahead[key] and _offset(message) < bounds.get(key, 0):
            self._next[key] = _offset(message) + 1
            return True
        self._ahead[key].append(message)
        return False

    def _drain(self, key: Partition, bounds: Mapping[Partition, int]) -> list[Message]:
        ahead, found = self._ahead[key], []
        while ahead and _offset(ahead[0]) < bounds.get(key, 0):
            found.append(ahead.popleft())
            self._next[key] = _offset(found[-1]) + 1
        return found

    def _flow(self, bounds: Mapping[Partition, int]) -> None:
        """Fetch no further than needed: a target that stands still must not fill our memory."""
        pause = {key for key, ahead in self._ahead.items() if ahead} - self._paused
        resume = {key for key in self._paused if not self._ahead[key] and self._next[key] < bounds.get(key, 0)}
        if pause:
            self._consumer.pause([TopicPartition(*key) for key in pause])
        if resume:
            self._consumer.resume([TopicPartition(*key) for key in resume])
        self._paused = (self._paused | pause) - resume

    def _hand_over(
        self, messages: Sequence[Message], take: Callable[[Sequence[tuple[Message, Position]]], None]
    ) -> None:
        fresh = []
        for message in messages:
            position, key = position_of(message), _partition(message)
            if position > self._highest[key]:
                self._highest[key] = position
                fresh.append((message, position))
        if fresh:
            take(fresh)


def _partition(message: Message) -> Partition:
    return message.topic() or "", message.partition() or 0


def _offset(message: Message) -> int:
    return message.offset() or 0


def position_of(message: Message) -> Position:
    """Raises OperatorError for a record that has none."""
    for header in message.headers() or ():
        if header[0] == POSITION_HEADER and isinstance(header[1], bytes):
            return Position.from_header(header[1])
    raise OperatorError(
        f"Topic {message.topic()} holds a record without a position, at offset {message.offset()}.",
        "Only capture may write to it: see who else does.",
    )
