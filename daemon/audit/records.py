"""The records that outbox rows refer to, read in the order of their partitions; for one thread."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Mapping

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from connectors.contract import Partition
from daemon import broker
from daemon.broker import KafkaUnavailable
from daemon.config.kafka import Kafka

AHEAD_BYTES = 262_144
"""Of one partition; what is ahead of it is left in Kafka."""
SILENCE_SECONDS = 8.0
AT_ONCE = 500


class Records:
    """Every method raises KafkaUnavailable when Kafka does not answer."""

    def __init__(self, kafka: Kafka) -> None:
        self._admin = AdminClient(broker.options(kafka), logger=broker.SILENT)
        self._consumer = Consumer(
            {
                **broker.options(kafka),
                "group.id": "placemat.audit",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 20,
                "fetch.queue.backoff.ms": 5,
                "queued.max.messages.kbytes": 4_096,
                "fetch.message.max.bytes": AHEAD_BYTES,
                "receive.message.max.bytes": max(kafka.max_record_bytes, 8 * 1_048_576) * 2 + 1_048_576,
            },
            logger=broker.SILENT,
        )
        self._next: dict[Partition, int] = {}
        """Offset of the next record to hand out."""
        self._begin: dict[Partition, int] = {}
        """Where the partition began when it was sought: what lies before is lost."""
        self._until: dict[Partition, int] = {}
        """Where the partition ended when it was looked at: what is wanted from there on, of a topic that was made anew,
        is lost."""
        self._ahead: defaultdict[Partition, deque[Message]] = defaultdict(deque)
        self._bytes: defaultdict[Partition, int] = defaultdict(int)
        self._paused: set[Partition] = set()

    def close(self) -> None:
        self._consumer.close()

    def seek(self, wanted: Mapping[Partition, tuple[int, int]]) -> None:
        """Be ready to hand out records from the first offset of each range; up to the second one they are there."""
        moved = {key for key, (first, _) in wanted.items() if self._next.get(key) != first}
        stale = moved | {key for key, (_, after) in wanted.items() if self._until.get(key, 0) < after}
        try:
            if stale:
                self._until |= broker.offsets(self._admin, stale, "latest")
            if moved:
                self._begin |= broker.offsets(self._admin, moved, "earliest")
                self._next |= {key: wanted[key][0] for key in moved}
                self._assign(moved)
        except KafkaException as error:
            self._next.clear()
            raise KafkaUnavailable(f"kafka does not answer: {broker.reason(error)}") from error

    def take(self, key: Partition) -> Message | None:
        """The next record of a partition that was sought; None: Kafka does not hold it any more."""
        offset = self._next[key]
        self._next[key] = offset + 1
        if not self._begin[key] <= offset < self._until[key]:
            return None
        ahead = self._ahead[key]
        heard = time.monotonic()
        while True:
            while ahead and _offset(ahead[0]) < offset:
                self._drop(key)
            if ahead:
                return self._drop(key) if _offset(ahead[0]) == offset else None
            self._resume(key)
            if self._poll():
                heard = time.monotonic()
            elif time.monotonic() - heard > SILENCE_SECONDS:
                self._next.clear()
                raise KafkaUnavailable("kafka does not answer")

    def end(self, key: Partition) -> int:
        """Where a partition that was sought ended when it was looked at."""
        return self._until[key]

    def _assign(self, moved: set[Partition]) -> None:
        for key in moved:
            self._ahead.pop(key, None)
            self._bytes.pop(key, None)
        places = {
            key: _offset(self._ahead[key][-1]) + 1 if self._ahead[key] else max(at, self._begin[key])
            for key, at in self._next.items()
        }
        broker.meet_topics(self._consumer)
        self._consumer.assign([TopicPartition(*key, at) for key, at in places.items()])
        self._consumer.resume([TopicPartition(*key) for key in places])
        self._paused.clear()

    def _poll(self) -> bool:
        try:
            found = self._consumer.consume(AT_ONCE, timeout=0.1)
            for message in found:
                if (fault := message.error()) is not None:
                    self._check(fault)
                    continue
                key = message.topic() or "", message.partition() or 0
                self._ahead[key].append(message)
                self._bytes[key] += len(message)
                if self._bytes[key] > AHEAD_BYTES and key not in self._paused:
                    self._paused.add(key)
                    self._consumer.pause([TopicPartition(*key)])
        except KafkaException as error:
            self._next.clear()
            raise KafkaUnavailable(f"kafka failed: {broker.reason(error)}") from error
        return bool(found)

    def _check(self, fault: KafkaError) -> None:
        if fault.fatal() or not fault.retriable():
            raise KafkaException(fault)

    def _drop(self, key: Partition) -> Message:
        message = self._ahead[key].popleft()
        self._bytes[key] -= len(message)
        if self._bytes[key] < AHEAD_BYTES // 2:
            self._resume(key)
        return message

    def _resume(self, key: Partition) -> None:
        if key in self._paused:
            self._paused.discard(key)
            self._consumer.resume([TopicPartition(*key)])


def _offset(message: Message) -> int:
    offset = message.offset()
    assert offset is not None, "a record that was read has an offset"
    return offset
