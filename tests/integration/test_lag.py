"""Lag measured on a real Kafka and a real target, whose place the test sets as the sink would."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator

import orjson
import psycopg
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from prometheus_client import REGISTRY

from connectors.postgres import bookkeeping
from daemon import broker, wiring
from daemon.config.kafka import Kafka
from daemon.config.route import Route
from daemon.config.settings import Settings
from daemon.config.source import Source
from daemon.config.state import State
from daemon.config.target import Target
from daemon.errors import OperatorError
from daemon.observe.lag import TargetLag
from daemon.observe.measure import SourceMeasure, TargetMeasure
from daemon.observe.meter import Meters
from daemon.observe.topic_log import TopicLog
from schemas.topics import table_topic, transactions_topic
from tests.fix_servers import Kafka as KafkaServer
from tests.waiting import until

PARTITIONS = 3


class World:
    """A source of a name of its own, published to by the test, and a target with the sink's tables."""

    def __init__(self, kafka: KafkaServer, target_url: str, source_url: str) -> None:
        self.source = f"s{uuid.uuid4().hex[:8]}"
        self.target = f"t{uuid.uuid4().hex[:8]}"
        self.target_url = target_url
        self.settings = self._settings(kafka, target_url, source_url)
        self.stories = table_topic(self.source, "public", "stories")
        self.places = table_topic(self.source, "public", "places")
        self.spine = transactions_topic(self.source)
        broker.ensure(
            broker.reach(self.settings.kafka),
            self.settings.kafka,
            {self.stories: PARTITIONS, self.places: PARTITIONS, self.spine: 1},
        )
        self._producer = Producer(broker.options(self.settings.kafka))
        with psycopg.connect(target_url) as connection:
            bookkeeping.install(connection)

    def _settings(self, kafka: KafkaServer, target_url: str, source_url: str) -> Settings:
        return Settings(
            state=State(url=source_url),
            kafka=Kafka(bootstrap_servers=kafka.bootstrap_servers, partitions=PARTITIONS),
            sources={self.source: Source(url=source_url, tables=("public.stories", "public.places"))},
            targets={self.target: Target(url=target_url, source=self.source, tables={"public.stories": {}})},
        )

    def publish(
        self, commit_lsn: int, rows: int, age_seconds: float, topic: str | None = None, *, end: bool = True
    ) -> None:
        """One transaction, committed so long ago, with or without its end."""
        topic = topic or self.stories
        commit_us = time.time_ns() // 1_000 - int(age_seconds * 1_000_000)
        value = orjson.dumps({"source": {"ts_ms": commit_us // 1_000}})
        counts: dict[str, int] = {}
        for row in range(rows):
            partition = row % PARTITIONS
            counts[str(partition)] = counts.get(str(partition), 0) + 1
            self._producer.produce(topic, value, b"{}", partition)
            self._producer.poll(0)
        if end:
            finish = {"kind": "tx", "timeline": 1, "commit_lsn": commit_lsn, "ts_us": commit_us, "xid": 1}
            self._producer.produce(self.spine, orjson.dumps({**finish, "counts": {topic: counts}, "epoch": 1}), b"", 0)
        assert self._producer.flush(10) == 0

    def apply(self, commit_lsn: int, offsets: dict[int, int], transactions_offset: int) -> None:
        """What the sink would have written."""
        with psycopg.connect(self.target_url) as connection:
            connection.execute("DELETE FROM placemat.lanes")
            connection.execute("DELETE FROM placemat.offsets")
            connection.execute(
                "INSERT INTO placemat.lanes (source, transactions_offset, timeline, commit_lsn) VALUES (%s, %s, 1, %s)",
                [self.source, transactions_offset, commit_lsn],
            )
            for partition, offset in offsets.items():
                connection.execute(
                    "INSERT INTO placemat.offsets (source, topic, partition, next_offset) VALUES (%s, %s, %s, %s)",
                    [self.source, self.stories, partition, offset],
                )

    def commit_group(self, offsets: dict[int, int], transactions_offset: int) -> None:
        """What the worker commits to Kafka, for a time in which its target is away."""
        consumer = Consumer({**broker.options(self.settings.kafka), "group.id": f"placemat.{self.target}"})
        places = [TopicPartition(self.stories, partition, offset) for partition, offset in offsets.items()]
        consumer.commit(offsets=[*places, TopicPartition(self.spine, 0, transactions_offset)], asynchronous=False)
        consumer.close()

    def without_target(self) -> Settings:
        away = self.settings.targets[self.target].model_copy(update={"url": _closed(self.target_url)})
        return self.settings.model_copy(update={"targets": {self.target: away}})


def _closed(url: str) -> object:
    from pydantic import SecretStr

    return SecretStr(url.rpartition("@")[0] + "@127.0.0.1:1/none")


@pytest.fixture
def world(kafka_server: KafkaServer, database_factory: Callable[[str], str]) -> World:
    return World(kafka_server, database_factory("target"), database_factory("source"))


@pytest.fixture
def measure(world: World) -> Iterator[Callable[..., TargetLag]]:
    with TopicLog(world.settings.kafka) as log:

        def now(settings: Settings | None = None) -> TargetLag:
            chosen = settings or world.settings
            progress = wiring.progress_reader(chosen, world.target)
            try:
                return TargetMeasure(chosen, world.target, log, progress)()
            finally:
                progress.close()

        yield now


def test_a_target_that_never_started_is_behind_by_everything(world: World, measure: Callable[..., TargetLag]) -> None:
    world.publish(1_000, 30, age_seconds=60)
    world.publish(1_500, 30, age_seconds=20)
    lag = measure()
    assert (lag.records, lag.bytes, lag.known_from) == (60, 500, "beginning")
    assert lag.seconds == pytest.approx(60, abs=2)


def test_lag_counts_exactly_what_is_routed_and_not_taken(world: World, measure: Callable[..., TargetLag]) -> None:
    world.publish(1_000, 30, age_seconds=60)
    world.publish(1_100, 7, age_seconds=50, topic=world.places)
    world.publish(1_200, 300, age_seconds=40)
    world.apply(1_000, dict.fromkeys(range(PARTITIONS), 10), transactions_offset=1)
    lag = measure()
    assert (lag.records, lag.bytes, lag.known_from) == (300, 200, "target")
    assert lag.seconds == pytest.approx(40, abs=2)


def test_a_target_that_has_all_its_records_is_not_behind(world: World, measure: Callable[..., TargetLag]) -> None:
    world.publish(1_000, 30, age_seconds=60)
    world.publish(1_100, 7, age_seconds=50, topic=world.places)
    world.apply(1_000, dict.fromkeys(range(PARTITIONS), 10), transactions_offset=1)
    assert measure() == TargetLag(0, 0.0, 0, 0, "target")


def test_while_the_target_is_away_its_group_says_how_far_it_was(
    world: World, measure: Callable[..., TargetLag]
) -> None:
    world.publish(1_000, 30, age_seconds=60)
    world.publish(1_200, 300, age_seconds=40)
    world.commit_group(dict.fromkeys(range(PARTITIONS), 10), transactions_offset=1)
    lag = measure(world.without_target())
    assert (lag.records, lag.bytes, lag.parked, lag.known_from) == (300, 200, None, "group")
    assert lag.seconds == pytest.approx(40, abs=2)


def test_a_transaction_whose_end_is_not_published_yet_has_an_age_too(
    world: World, measure: Callable[..., TargetLag]
) -> None:
    world.publish(1_000, 30, age_seconds=60)
    world.publish(1_200, 9, age_seconds=15, end=False)
    world.apply(1_000, dict.fromkeys(range(PARTITIONS), 10), transactions_offset=1)
    lag = measure()
    assert (lag.records, lag.bytes) == (9, 0)
    assert lag.seconds == pytest.approx(15, abs=2)


def test_a_topic_that_is_missing_is_named(world: World, kafka_server: KafkaServer) -> None:
    elsewhere = World._settings(world, kafka_server, world.target_url, world.target_url)
    target = elsewhere.targets[world.target].model_copy(update={"tables": {"public.gone": Route()}})
    settings = elsewhere.model_copy(update={"targets": {world.target: target}})
    progress = wiring.progress_reader(settings, world.target)
    with TopicLog(settings.kafka) as log, pytest.raises(OperatorError, match=r"Kafka has no topic .*public\.gone"):
        TargetMeasure(settings, world.target, log, progress)()


def test_gauges_say_the_same_and_none_is_there_before_its_number_is_known(world: World) -> None:
    def gauge(name: str) -> float | None:
        return REGISTRY.get_sample_value(name, {"target": world.target})

    world.publish(1_000, 30, age_seconds=60)
    assert gauge("placemat_lag_records") is None
    with Meters(world.settings, [f"apply:{world.target}"], wiring.progress_reader):
        until(lambda: gauge("placemat_lag_records") == 30, what="a lag of 30 records")
        assert gauge("placemat_lag_seconds") == pytest.approx(60, abs=3)
        world.apply(1_000, dict.fromkeys(range(PARTITIONS), 10), transactions_offset=1)
        until(lambda: gauge("placemat_lag_records") == 0, what="no lag")
        assert (gauge("placemat_lag_seconds"), gauge("placemat_lag_bytes")) == (0, 0)
        assert gauge("placemat_parked_keys") == 0
    assert gauge("placemat_lag_records") is None


def test_a_source_is_behind_by_the_wal_that_its_slot_has_not_confirmed(world: World) -> None:
    source = world.settings.sources[world.source]
    name = f"lag_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(source.url.get_secret_value(), autocommit=True) as connection:
        connection.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [name])
        measure = SourceMeasure(source.model_copy(update={"slot": name}))
        connection.execute("CREATE TABLE filler AS SELECT generate_series(1, 10000) AS number")
        lag = measure()
        assert lag.bytes is not None
        assert lag.bytes > 100_000
        assert (lag.seconds, lag.active) == (None, False)
        row = connection.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone()
        assert row is not None
        connection.execute("SELECT pg_replication_slot_advance(%s, %s::pg_lsn)", [name, row[0]])
        assert (measure().bytes or 0) < lag.bytes
        measure.close()
