"""Kafka as an operator sees it: reaching it, making topics as they must be, and telling what is there."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Literal

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its stubs do not re-export them
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from daemon.config.kafka import Kafka
from daemon.errors import OperatorError, Unavailable

REACH_SECONDS = 5.0
ADMIN_SECONDS = 15.0
PAUSE_SECONDS = 0.05
RECONNECT_MS = 1_000
"""Longest time between two attempts: a broker that has come back is found by then."""
MESSAGE_BYTES = 1_000_000
"""`message.max.bytes` of librdkafka, unless it is set."""
RECORD_OVERHEAD_BYTES = 64 * 1024
SILENT = logging.getLogger("placemat.kafka")
SILENT.propagate = False  # librdkafka repeats every failed connection; the sentence comes from us
SILENT.addHandler(logging.NullHandler())

_PASSING = (
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.UNKNOWN_LEADER_EPOCH,
    KafkaError.OFFSET_NOT_AVAILABLE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._NOENT,  # librdkafka's own word for: no partition has a leader
)


class KafkaUnavailable(Unavailable):
    """Kafka does not answer now, whatever else does."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as it is: `topic_id` changes when it is made anew."""

    name: str
    topic_id: str
    partitions: int


def options(kafka: Kafka) -> dict[str, str | int | float | bool]:
    """What every client of this broker needs."""
    found: dict[str, str | int | float | bool] = {
        "bootstrap.servers": kafka.bootstrap_servers,
        "client.id": "placemat",
        "security.protocol": kafka.security_protocol,
        "reconnect.backoff.max.ms": RECONNECT_MS,
    }
    secrets = {"sasl.password": kafka.sasl_password, "ssl.key.password": kafka.ssl_key_password}
    wanted = {
        "sasl.mechanism": kafka.sasl_mechanism,
        "sasl.username": kafka.sasl_username,
        "ssl.ca.location": kafka.ssl_ca_location,
        "ssl.certificate.location": kafka.ssl_certificate_location,
        "ssl.key.location": kafka.ssl_key_location,
        **{name: secret.get_secret_value() for name, secret in secrets.items() if secret is not None},
    }
    return found | {name: str(value) for name, value in wanted.items() if value is not None}


def fetch_sizes(kafka: Kafka, most: int) -> dict[str, int]:
    """Options of a consumer that fetches about so many bytes at once; a larger record comes nevertheless.

    librdkafka takes a fetch only between `message.max.bytes` and what it may receive, whatever the limit of records is.
    """
    fetched = max(most, MESSAGE_BYTES)
    return {
        "fetch.max.bytes": fetched,
        "receive.message.max.bytes": max(kafka.max_record_bytes, fetched) * 2 + 1_048_576,
    }


def reach(kafka: Kafka) -> AdminClient:
    """A client of a broker that answers.

    Raises OperatorError, with what the client says of it, when none does within 5 seconds.
    """
    told: list[KafkaError] = []
    try:
        calls = {"error_cb": told.append}
        admin = AdminClient({**options(kafka), **calls}, logger=SILENT)  # type: ignore[dict-item]  # not in its stubs
        try:
            admin.list_topics(timeout=REACH_SECONDS)
        except KafkaException:
            admin.poll(0)  # it tells why only when it is asked
            raise
    except KafkaException as error:
        causes = [cause for cause in told if cause.code() != KafkaError._ALL_BROKERS_DOWN] or error.args
        raise OperatorError(
            f"Kafka cannot be reached at {kafka.bootstrap_servers}: {reason(KafkaException(causes[0]))}.",
            "See that it runs, and that kafka.bootstrap_servers (variable PLACEMAT_KAFKA__BOOTSTRAP_SERVERS) and"
            " kafka.security_protocol, with the kafka.ssl_… and kafka.sasl_… settings, are those of its listener.",
        ) from None
    return admin


def meet_topics(consumer: Consumer) -> None:
    """Before more is assigned: left to itself, a consumer looks once a second for the leaders of topics new to it.

    Raises KafkaException.
    """
    consumer.list_topics(timeout=REACH_SECONDS)


def cluster_id(admin: AdminClient) -> str:
    """The id that Kafka gave itself when its storage was formatted. Raises KafkaException.

    Not by `describe_cluster`: librdkafka 2.16 ends the whole process by an assertion where a broker answers that names
    none that is alive, as one does that has stood still for longer than its session and comes back.
    """
    return str(admin.list_topics(timeout=ADMIN_SECONDS).cluster_id)


def ensure(admin: AdminClient, kafka: Kafka, wanted: Mapping[str, int], *, forever: bool = False) -> list[Topic]:
    """Make the topics that are missing (name to partitions), and set what differs on those that are there.

    With `forever` their records are kept for good, for topics of few records.

    Raises OperatorError when the broker refuses.
    """
    config = _topic_config(kafka) | ({"retention.ms": "-1", "retention.bytes": "-1"} if forever else {})
    present = describe(admin, wanted)
    missing = [
        NewTopic(name, partitions, kafka.replication_factor, config=dict(config))
        for name, partitions in wanted.items()
        if name not in present
    ]
    try:
        if missing:
            for made in admin.create_topics(missing, request_timeout=ADMIN_SECONDS).values():
                _unless_there(made)
        _alter(admin, present, config)
        return _settled(admin, wanted)
    except KafkaException as error:
        raise OperatorError(
            f"Kafka refuses topics as they must be: {reason(error)}.",
            "Compare section [kafka] of the configuration with what the cluster allows.",
        ) from None


def describe(admin: AdminClient, names: Iterable[str]) -> dict[str, Topic]:
    """Those of the topics that exist."""
    found = {}
    for name, future in admin.describe_topics(TopicCollection(list(names)), request_timeout=ADMIN_SECONDS).items():
        try:
            topic = future.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise
        else:
            found[name] = Topic(name, str(topic.topic_id), len(topic.partitions))
    return found


def offsets(
    admin: AdminClient, partitions: Collection[tuple[str, int]], where: Literal["earliest", "latest"]
) -> dict[tuple[str, int], int]:
    """First offset of each partition, or the one after its last.

    Asks again while leaders change or a new topic has none yet; raises KafkaException when that takes too long.
    """
    spec = OffsetSpec.earliest() if where == "earliest" else OffsetSpec.latest()  # type: ignore[no-untyped-call]
    asked = {TopicPartition(*partition): spec for partition in partitions}
    deadline = time.monotonic() + REACH_SECONDS
    while True:
        try:
            futures = admin.list_offsets(asked, request_timeout=REACH_SECONDS)
            return {(one.topic, one.partition): future.result().offset for one, future in futures.items()}
        except KafkaException as error:
            if error.args[0].code() not in _PASSING or time.monotonic() > deadline:
                raise
        time.sleep(PAUSE_SECONDS)
        admin.list_topics(timeout=REACH_SECONDS)  # what it remembers of leaders is from before a broker's restart


def _settled(admin: AdminClient, wanted: Mapping[str, int]) -> list[Topic]:
    """What was just made needs a moment until every broker knows it, leaders and all."""
    deadline = time.monotonic() + ADMIN_SECONDS
    while len(found := describe(admin, wanted)) < len(wanted) and time.monotonic() < deadline:
        time.sleep(PAUSE_SECONDS)
    if missing := sorted(set(wanted) - set(found)):
        raise OperatorError(
            f"Kafka made topic {missing[0]} and does not show it.",
            "Look at the broker's log, then run placemat init again.",
        )
    offsets(admin, [(topic.name, number) for topic in found.values() for number in range(topic.partitions)], "latest")
    return [found[name] for name in wanted]


def _topic_config(kafka: Kafka) -> dict[str, str]:
    return {
        "cleanup.policy": "delete",
        "retention.ms": str(int(kafka.retention_hours * 3_600_000)),
        "max.message.bytes": str(kafka.max_record_bytes + RECORD_OVERHEAD_BYTES),
        "min.insync.replicas": str(kafka.min_insync_replicas),
    }


def _alter(admin: AdminClient, present: Iterable[str], config: Mapping[str, str]) -> None:
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in present]
    if not resources:
        return
    changes = []
    for resource, future in admin.describe_configs(resources, request_timeout=ADMIN_SECONDS).items():
        entries = future.result()
        different = [
            ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
            for key, value in config.items()
            if entries[key].value != value
        ]
        if different:
            changes.append(ConfigResource(ResourceType.TOPIC, resource.name, incremental_configs=different))
    if changes:
        for done in admin.incremental_alter_configs(changes, request_timeout=ADMIN_SECONDS).values():
            done.result()


def _unless_there(made: Future[None]) -> None:
    try:
        made.result()
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise


def reason(error: KafkaException) -> str:
    """What librdkafka says, as the end of a sentence."""
    cause = error.args[0]
    text = str(cause.str() if isinstance(cause, KafkaError) else cause)
    return text.partition(" (after ")[0].rstrip(".")
