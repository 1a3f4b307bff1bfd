"""Every gap of a target is found at the start of its worker and while it runs: a sentence, a metric, an end."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic  # type: ignore[attr-defined]
from prometheus_client import REGISTRY

from daemon.config.settings import Settings
from daemon.embedded.kafka import KafkaServer
from daemon.errors import Gap
from schemas.topics import table_topic
from tests.fix_servers import Kafka
from tests.integration.apply_stream import World, insert, update
from tests.supervised import Supervised
from tests.waiting import until

DDL = "CREATE TABLE items (id int PRIMARY KEY, n int, body text)"
ITEMS = "public.items"
WHEN = ("at the start", "at run time")
Happens = Callable[[World], None]


@pytest.fixture
def world(kafka_server: Kafka, database_factory: Callable[[str], str]) -> World:
    return World(
        kafka_server, database_factory("target"), DDL, {ITEMS: {}}, check_interval_seconds=0.2, buffer_bytes=1_048_576
    )


def admin(world: World) -> AdminClient:
    return AdminClient({"bootstrap.servers": world.settings.kafka.bootstrap_servers})


def topic(world: World) -> str:
    return table_topic(world.source, "public", "items")


def delete_topic(world: World) -> None:
    client = admin(world)
    for future in client.delete_topics([topic(world)]).values():
        future.result(10)


def make_topic_anew(world: World) -> None:
    delete_topic(world)
    client = admin(world)

    def made() -> bool:
        [future] = client.create_topics([NewTopic(topic(world), 3, 1)]).values()
        return future.exception(10) is None

    until(made, what="a topic of the same name")


def make_topic_anew_and_fill_it(world: World) -> None:
    make_topic_anew(world)
    world.stream = type(world.stream)(world.source, world.settings.kafka.bootstrap_servers, world.stream.commit_lsn)
    for n in range(3):
        world.stream.transaction(*[insert(ITEMS, {"id": 100 + id_, "n": n}) for id_ in range(40)], end=False)


def add_partitions(world: World) -> None:
    client = admin(world)
    for future in client.create_partitions([NewPartitions(topic(world), 5)]).values():
        future.result(10)


def lose_what_was_not_taken(world: World) -> None:
    """Beyond what the worker reads ahead, while the target's table is locked."""
    body = "x" * 50_000
    with psycopg.connect(world.url) as lock:
        lock.execute("LOCK TABLE items")
        for n in range(2):
            world.stream.transaction(*[update(ITEMS, {"id": id_, "n": n, "body": body}) for id_ in range(400)])
        client = admin(world)
        for future in client.delete_records([TopicPartition(topic(world), part, -1) for part in range(3)]).values():
            future.result(10)


def end_of(world: World, when: str, happens: Happens) -> Gap:
    with Supervised(world.worker()) as worker:
        world.stream.transaction(*[insert(ITEMS, {"id": id_, "n": 0}) for id_ in range(40)])
        world.applied_through()
        if when == "at the start":
            worker.stop()
            happens(world)
            worker = Supervised(world.worker())
        else:
            happens(world)
        gap = worker.ended(30)
    assert isinstance(gap, Gap), f"{gap!r} after {worker.details}"
    labels = {"worker": f"apply:{world.target}", "reason": gap.reason}
    assert (worker.state, REGISTRY.get_sample_value("placemat_gap", labels)) == ("failed", 1)
    return gap


CAUSES: dict[str, tuple[Happens, str, tuple[str, ...]]] = {
    "a topic is deleted": (delete_topic, "topic_gone", ("items is gone",)),
    "a topic is made anew": (make_topic_anew_and_fill_it, "topic_made_anew", ("items was made anew",)),
    "Kafka loses what was not taken": (lose_what_was_not_taken, "offset_outside_log", ("which Kafka does not hold",)),
    "a topic gets partitions": (add_partitions, "partitions_changed", ("has 5 partitions", "began with 3")),
}


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("cause", CAUSES)
def test_a_target_stops_when(world: World, cause: str, when: str) -> None:
    happens, reason, words = CAUSES[cause]
    gap = end_of(world, when, happens)
    assert (gap.reason, [word for word in words if word not in str(gap)]) == (reason, []), str(gap)


@pytest.mark.long
@pytest.mark.parametrize("when", WHEN)
def test_a_target_stops_when_kafka_is_another_cluster(
    own_kafka: Callable[..., KafkaServer], database_factory: Callable[[str], str], when: str
) -> None:
    kafka = own_kafka()
    world = World(
        kafka, database_factory("target"), DDL, {ITEMS: {}}, check_interval_seconds=0.2, buffer_bytes=1_048_576
    )

    def format_anew(_: World) -> None:
        kafka.stop()
        (kafka.directory / "data").rename(kafka.directory / "before")
        kafka.start()

    gap = end_of(world, when, format_anew)
    assert (gap.reason, "is cluster" in str(gap)) == ("other_cluster", True)


def looks_seldom(world: World) -> Settings:
    """The settings of before; workers that are made from now on do not look for an hour."""
    before, target = world.settings, world.settings.targets[world.target]
    seldom = target.model_copy(update={"check_interval_seconds": 3_600.0})
    world.settings = before.model_copy(update={"targets": {world.target: seldom}})
    return before


def test_a_topic_that_was_made_anew_is_told_as_that_also_when_a_fetch_finds_it_first(world: World) -> None:
    looks_seldom(world)
    gap = end_of(world, "at run time", make_topic_anew)
    assert (gap.reason, "items was made anew" in str(gap)) == ("topic_made_anew", True)


def test_a_worker_that_stands_by_looks_for_itself(world: World) -> None:
    """The one that has the lane does not look for an hour, and adding partitions makes no error."""
    often = looks_seldom(world)
    with Supervised(world.worker("one")):
        world.stream.transaction(insert(ITEMS, {"id": 1, "n": 0}))
        world.applied_through()
        world.settings = often
        with Supervised(world.worker("two")) as standby:
            until(lambda: standby.state == "standby", what="a standby")
            add_partitions(world)
            gap = standby.ended()
        assert isinstance(gap, Gap)
        assert gap.reason == "partitions_changed"


def test_a_target_that_was_emptied_begins_with_the_topics_that_are_there(world: World) -> None:
    with Supervised(world.worker()) as worker:
        world.stream.transaction(insert(ITEMS, {"id": 1, "n": 0}))
        world.applied_through()
        worker.stop()
    world.run_sql("UPDATE placemat.pins SET topic_id = 'before'")
    world.run_sql("DELETE FROM placemat.lanes; DELETE FROM placemat.offsets; DELETE FROM items")
    with Supervised(world.worker()) as worker:
        world.applied_through()
    assert (worker.error, world.rows("SELECT id FROM items")) == (None, [(1,)])
