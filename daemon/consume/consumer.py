"""The records of a source's topics, for whichever worker owns them.

The group holds the transactions topic only. It has one partition: who is given it owns the lane, and reads every
partition of every routed table from where the target says; the other workers of the group stand by. Tables that
were paused are read by a consumer of their own, beside the group, until they have caught up.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from contextlib import suppress

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from connectors.contract import Partition
from daemon import broker
from daemon.broker import KafkaUnavailable
from daemon.config.kafka import Kafka
from daemon.errors import Fenced, Gap, OperatorError

REQUEST_SECONDS = 5.0
FETCH_WAIT_MS = 100
"""How long a broker may wait for records: other partitions are read only when the answer has come."""
COMMIT_SECONDS = 1.0
"""Between two commits of the group. A broker answers one after the other, and heartbeats wait behind them."""
_LOST = frozenset(
    {
        KafkaError._FENCED,
        KafkaError.FENCED_INSTANCE_ID,
        KafkaError._FATAL,
    }
)
_GAP = frozenset({KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE})
_UNKNOWN = frozenset({KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION, KafkaError.UNKNOWN_TOPIC_OR_PART})
_REFUSED = frozenset({KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED})


class NameTaken(Fenced):
    """Another member of the group has come with this one's instance name."""


def group_of(target: str) -> str:
    """Name of a target's consumer group."""
    return f"placemat.{target}"


class PartitionReader:
    """Reads partitions from where it is told. Every method raises KafkaUnavailable when Kafka fails.

    `buffer_bytes` bounds what librdkafka reads ahead; `options` are those of librdkafka beside the common ones.
    """

    def __init__(
        self, kafka: Kafka, target: str, buffer_bytes: int, options: Mapping[str, str | int | bool] | None = None
    ) -> None:
        self._target = target
        self._met: set[str] = set()
        # Questions go over connections of their own: on those of the consumer they would wait behind a fetch.
        self._admin = AdminClient(broker.options(kafka), logger=broker.SILENT)
        kilobytes = max(1_024, buffer_bytes // 1_024)
        self._consumer = Consumer(
            {
                **broker.options(kafka),
                "group.id": group_of(target),
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "error",
                "queued.max.messages.kbytes": kilobytes,
                "fetch.message.max.bytes": max(65_536, min(1_048_576, buffer_bytes // 16)),
                **broker.fetch_sizes(kafka, buffer_bytes),
                "fetch.queue.backoff.ms": 5,
                "fetch.wait.max.ms": FETCH_WAIT_MS,
                "fetch.error.backoff.ms": 100,
                **(options or {}),
            },
            logger=broker.SILENT,
        )

    def partitions(self, topics: Collection[str]) -> list[Partition]:
        """Every partition of the topics. Raises OperatorError for a topic that is missing."""
        try:
            known = self._admin.list_topics(timeout=REQUEST_SECONDS).topics
        except KafkaException as error:
            raise KafkaUnavailable("kafka does not answer") from error
        for topic in topics:
            if topic not in known or known[topic].error is not None:
                raise OperatorError(f"Kafka has no topic {topic}.", "Run: placemat init")
        return [(topic, number) for topic in topics for number in sorted(known[topic].partitions)]

    def bounds(self, partitions: Collection[Partition]) -> dict[Partition, tuple[int, int]]:
        """The first offset that Kafka holds of each partition, and the one after the last."""
        if not partitions:
            return {}
        try:
            begins = broker.offsets(self._admin, partitions, "earliest")
            ends = broker.offsets(self._admin, partitions, "latest")
        except KafkaException as error:
            raise self._failed(error.args[0]) from error
        return {key: (begins[key], ends[key]) for key in partitions}

    def start(self, offsets: Mapping[Partition, int]) -> None:
        """Read every one of these partitions from its offset.

        Raises OperatorError where a topic does not hold that offset any more, or not yet.
        """
        try:
            for key, (begin, end) in self.bounds(offsets).items():
                if not begin <= offsets[key] <= end:
                    raise self._gap(key, offsets[key])
            if new := {topic for topic, _ in offsets} - self._met:
                broker.meet_topics(self._consumer)
                self._met |= new
            self._consumer.assign([TopicPartition(*key, offset) for key, offset in offsets.items()])
            # librdkafka keeps a partition paused over a new assignment, and whoever paused it is gone.
            self._consumer.resume([TopicPartition(*key) for key in offsets])
        except KafkaException as error:
            raise self._failed(error.args[0]) from error

    def poll(self, limit: int, timeout: float) -> list[Message]:
        """What has come, at most `limit` records; waits up to `timeout` seconds for the first."""
        try:
            first = self._consumer.poll(timeout)
            if first is None:
                return []
            found = [first, *self._consumer.consume(limit - 1, timeout=0)]
        except KafkaException as error:
            raise self._failed(error.args[0]) from error
        kept = []
        for message in found:
            error_ = message.error()
            if error_ is None:
                kept.append(message)
            elif error_.code() in _GAP:
                raise self._gap((message.topic() or "", message.partition() or 0), message.offset())
            elif error_.fatal() or not error_.retriable():
                raise self._failed(error_)
        return kept

    def pause(self, partitions: Collection[Partition]) -> None:
        self._consumer.pause([TopicPartition(*key) for key in partitions])

    def resume(self, partitions: Collection[Partition]) -> None:
        self._consumer.resume([TopicPartition(*key) for key in partitions])

    def close(self) -> None:
        self._consumer.close()

    def _failed(self, error: KafkaError) -> Exception:
        if error.code() in _LOST or error.fatal():
            return NameTaken(f"another worker of target {self._target} has this one's name")
        if error.code() in _UNKNOWN:
            return KafkaUnavailable("kafka does not know a topic that is read")  # the next start tells which, and why
        if error.code() in _REFUSED:
            return OperatorError(
                f"Kafka does not let target {self._target} read its topics.",
                f"Allow it to read the topics and to use group {group_of(self._target)}.",
            )
        return KafkaUnavailable(f"kafka failed ({error.name()})")

    def _gap(self, key: Partition, offset: int | None) -> Gap:
        return Gap(
            f"Target {self._target} needs partition {key[1]} of topic {key[0]} from offset {offset},"
            " which Kafka does not hold: changes are missing.",
            "offset_outside_log",
        )


class LaneConsumer(PartitionReader):
    """A member of the target's group. Every method raises KafkaUnavailable when Kafka fails, and NameTaken when
    another member with the same instance name has come.

    `instance` names this worker among those of its target and is the same after a restart, so that it gets its place
    back at once.
    """

    def __init__(
        self, kafka: Kafka, target: str, spine: str, instance: str, *, session_seconds: float, buffer_bytes: int
    ) -> None:
        super().__init__(
            kafka,
            target,
            buffer_bytes,
            {
                "group.instance.id": f"{target}-{instance}",
                "session.timeout.ms": int(session_seconds * 1_000),
                "heartbeat.interval.ms": max(100, int(session_seconds * 1_000 / 6)),
                "partition.assignment.strategy": "range",
            },
        )
        self.owned = False
        """Whether the lane is ours. It may be lost in any `poll`."""
        self.generation = 0
        """Counts the times that the lane was given to us."""
        self._untold: dict[Partition, int] = {}
        self._told_at = float("-inf")
        self._consumer.subscribe([spine], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked)

    def commit(self, offsets: Mapping[Partition, int]) -> None:
        """Tell the group, for those who look while the target is away; the target's own word is the one that counts.

        Told within a second, as long as somebody polls.
        """
        self._untold.update(offsets)
        self._tell()

    def poll(self, limit: int, timeout: float) -> list[Message]:
        self._tell()
        return super().poll(limit, timeout)

    def close(self) -> None:
        with suppress(KafkaException):  # whoever comes next asks the target
            self._commit()
        super().close()

    def _tell(self) -> None:
        if not self._untold or time.monotonic() - self._told_at < COMMIT_SECONDS:
            return
        try:
            self._commit()
        except KafkaException as error:
            if error.args[0].fatal():
                raise self._failed(error.args[0]) from error

    def _commit(self) -> None:
        offsets, self._untold, self._told_at = self._untold, {}, time.monotonic()
        if offsets:
            self._consumer.commit(
                offsets=[TopicPartition(*key, offset) for key, offset in offsets.items()], asynchronous=True
            )

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        consumer.assign([])  # read nothing before the target has said from where
        if partitions:
            self.owned = True
            self.generation += 1

    def _revoked(self, consumer: Consumer, _: list[TopicPartition]) -> None:
        self.owned = False
        self._untold.clear()
        consumer.unassign()
