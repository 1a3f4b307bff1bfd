"""The member of a target's group, against a real broker."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator

import pytest

from daemon import broker
from daemon.config.kafka import Kafka as KafkaSettings
from daemon.consume.consumer import LaneConsumer, group_of
from daemon.observe.topic_log import TopicLog
from schemas.topics import transactions_topic
from tests.fix_servers import Kafka
from tests.waiting import until

SESSION_SECONDS = 1.0
COMMITS = 5_000
"""More than a broker answers while the session lasts."""


@pytest.fixture
def settings(kafka_server: Kafka) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=kafka_server.bootstrap_servers)


@pytest.fixture
def target(settings: KafkaSettings) -> str:
    """Its source has the same name."""
    name = f"t{uuid.uuid4().hex[:12]}"
    broker.ensure(broker.reach(settings), settings, {transactions_topic(name): 1})
    return name


@pytest.fixture
def owner(settings: KafkaSettings, target: str) -> Iterator[LaneConsumer]:
    consumer = LaneConsumer(
        settings, target, transactions_topic(target), "one", session_seconds=SESSION_SECONDS, buffer_bytes=1 << 20
    )
    until(lambda: consumer.poll(1, 0.05) or consumer.owned, what="the lane")
    yield consumer
    consumer.close()


def test_the_lane_is_kept_however_often_the_target_commits(owner: LaneConsumer, target: str) -> None:
    generation = owner.generation
    for offset in range(COMMITS):
        owner.commit({(transactions_topic(target), 0): offset})
    ends = time.monotonic() + 3 * SESSION_SECONDS
    while time.monotonic() < ends:
        owner.poll(1, 0.1)
    assert (owner.owned, owner.generation) == (True, generation)


def test_the_group_is_told_the_last_offsets_while_the_lane_is_held_and_at_its_end(
    owner: LaneConsumer, settings: KafkaSettings, target: str
) -> None:
    spine = transactions_topic(target), 0
    with TopicLog(settings) as log:
        for offset in range(COMMITS):
            owner.commit({spine: offset})
        until(
            lambda: owner.poll(1, 0.05) or log.committed(group_of(target), [spine]) == {spine: COMMITS - 1},
            what="the last offset in the group",
        )
        owner.commit({spine: COMMITS})
        owner.close()
        assert log.committed(group_of(target), [spine]) == {spine: COMMITS}
