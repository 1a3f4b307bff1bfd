"""Cluster and topics as a worker began with them: another one under the same name holds other records."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from confluent_kafka import KafkaException

from daemon import broker
from daemon.broker import KafkaUnavailable
from daemon.config.kafka import Kafka
from daemon.errors import GAP_ADVICE, Gap, OperatorError

SECOND_LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Pinned:
    """A topic as it was; `topic_id` is another one when it is made anew."""

    topic_id: str
    partitions: int


class Pins:
    """Compares Kafka with what is pinned. `owner` begins the sentences: `Source primary`."""

    def __init__(self, kafka: Kafka, owner: str, cluster_id: str, topics: Mapping[str, Pinned]) -> None:
        self._kafka = kafka
        self._owner = owner
        self._cluster_id = cluster_id
        self._topics = topics

    def check(self) -> None:
        """Raises Gap when the cluster or a topic is another than it was, and KafkaUnavailable.

        What differs is looked at twice: a broker that comes up does not know all of its topics at once.
        """
        if next(self._gaps(), None) is None:
            return
        threading.Event().wait(SECOND_LOOK_SECONDS)
        for gap in self._gaps():
            raise gap

    @contextmanager
    def explain(self) -> Iterator[None]:
        """For a look at what is in the topics: a topic that lacks records may have been made anew since `check`, and
        then that is said."""
        try:
            yield
        except Gap:
            self.check()
            raise

    def _gaps(self) -> Iterator[Gap]:
        found, present = look(self._kafka, self._topics)
        if found != self._cluster_id:
            yield Gap(
                f"Kafka at {self._kafka.bootstrap_servers} is cluster {found}, and {self._owner} began with"
                f" {self._cluster_id}.",
                "other_cluster",
                f"Point kafka.bootstrap_servers to that cluster. If it is gone: {GAP_ADVICE}",
            )
        for name, pin in self._topics.items():
            topic = present.get(name)
            if topic is None:
                yield Gap(f"Topic {name} is gone: its events are lost.", "topic_gone")
            elif topic.topic_id != pin.topic_id:
                yield Gap(f"Topic {name} was made anew: its events are lost.", "topic_made_anew")
            elif topic.partitions != pin.partitions:
                yield Gap(
                    f"Topic {name} has {topic.partitions} partitions, and {self._owner} began with {pin.partitions}:"
                    " keys would change their partition.",
                    "partitions_changed",
                )


def look(kafka: Kafka, names: Iterable[str]) -> tuple[str, dict[str, Pinned]]:
    """The cluster's id, and those of the topics that exist. Raises KafkaUnavailable when Kafka does not answer."""
    try:
        admin = broker.reach(kafka)
        present = broker.describe(admin, names)
        return broker.cluster_id(admin), {name: Pinned(one.topic_id, one.partitions) for name, one in present.items()}
    except OperatorError as error:
        raise KafkaUnavailable(str(error)) from error
    except KafkaException as error:
        raise KafkaUnavailable(f"Kafka does not answer: {broker.reason(error)}") from error
