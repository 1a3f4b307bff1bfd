"""Topics read from outside any consumer group: where they begin and end, what a group has committed, single records."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from types import TracebackType
from typing import Self

import orjson
from confluent_kafka import Consumer, KafkaException, TopicPartition

from daemon import broker
from daemon.config.kafka import Kafka
from daemon.errors import OperatorError, Unavailable
from daemon.observe.lag import Bounds, Partition
from schemas.envelope import TransactionEnd

REQUEST_SECONDS = 5.0
READ_SECONDS = 3.0


class TopicLog:
    """One client of each kind, for one thread. Every method raises Unavailable when Kafka does not answer."""

    def __init__(self, kafka: Kafka) -> None:
        """Raises OperatorError when Kafka cannot be reached."""
        self._kafka = kafka
        self._met: set[str] = set()
        self._admin = broker.reach(kafka)
        self._consumer = Consumer(
            {
                **broker.options(kafka),
                "group.id": "placemat.observe",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                # A fetch that waits at the end of one partition would hold up the next read by as much.
                "fetch.wait.max.ms": 10,
                "queued.max.messages.kbytes": 2_048,
                "fetch.message.max.bytes": 262_144,
            },
            logger=broker.SILENT,
        )

    def close(self) -> None:
        self._consumer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def partitions(self, topics: Collection[str]) -> list[Partition]:
        """Every partition of the topics. Raises OperatorError for a topic that is missing."""
        try:
            found = broker.describe(self._admin, topics)
        except KafkaException as error:
            raise unavailable(error) from error
        for topic in topics:
            if topic not in found:
                raise OperatorError(f"Kafka has no topic {topic}.", "Run: placemat init")
        return [(topic, number) for topic in topics for number in range(found[topic].partitions)]

    def bounds(self, partitions: Collection[Partition]) -> dict[Partition, Bounds]:
        """Begin and end of each."""
        try:
            begins = broker.offsets(self._admin, partitions, "earliest")
            ends = broker.offsets(self._admin, partitions, "latest")
        except KafkaException as error:
            raise unavailable(error) from error
        return {partition: Bounds(begins[partition], ends[partition]) for partition in partitions}

    def committed(self, group: str, partitions: Collection[Partition]) -> dict[Partition, int]:
        """What a group has committed, for the partitions where it has."""
        # Not by the admin client: librdkafka 2.16 aborts the process when Kafka comes back while that is being asked.
        consumer = Consumer({**broker.options(self._kafka), "group.id": group}, logger=broker.SILENT)
        try:
            places = [TopicPartition(*partition) for partition in partitions]
            found = consumer.committed(places, timeout=REQUEST_SECONDS)
        except KafkaException as error:
            raise unavailable(error) from error
        finally:
            consumer.close()
        return {(one.topic, one.partition): one.offset for one in found if one.offset >= 0}

    def transaction_ends(self, topic: str, start: int, stop: int) -> Iterator[tuple[int, TransactionEnd]]:
        """Offset and content of the records from `start` up to `stop`, as far as 3 seconds reach."""
        for offset, value in self._values((topic, 0), start, stop):
            yield offset, TransactionEnd.model_validate_json(value)

    def commit_times_us(self, firsts: Mapping[Partition, int]) -> list[int]:
        """Commit times of single records, in microseconds since 1970: of the one at each offset given."""
        times = []
        for partition, offset in firsts.items():
            for _, value in self._values(partition, offset, offset + 1):
                times.append(orjson.loads(value)["source"]["ts_ms"] * 1_000)
        return times

    def _values(self, partition: Partition, start: int, stop: int) -> Iterator[tuple[int, bytes]]:
        deadline = time.monotonic() + READ_SECONDS
        at = start
        try:
            if partition[0] not in self._met:
                broker.meet_topics(self._consumer)
                self._met.add(partition[0])
            self._consumer.assign([TopicPartition(*partition, start)])
            while at < stop and time.monotonic() < deadline:
                for message in self._consumer.consume(min(500, stop - at), timeout=0.2):
                    if (fault := message.error()) is not None:
                        raise unavailable(KafkaException(fault))
                    offset, value = message.offset(), message.value()
                    assert offset is not None
                    if offset >= stop:
                        return
                    at = offset + 1
                    if value is not None:
                        yield offset, value
        except KafkaException as error:
            raise unavailable(error) from error
        finally:
            self._consumer.unassign()


def unavailable(error: KafkaException) -> Unavailable:
    return Unavailable(f"kafka does not answer: {broker.reason(error)}")
