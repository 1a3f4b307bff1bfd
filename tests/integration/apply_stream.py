"""A source's stream made by hand: records and transaction ends in real topics, as capture would write them."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event as Flag
from threading import Thread
from typing import Any

import orjson
import psycopg
from confluent_kafka import Consumer, Producer, TopicPartition

from connectors.contract import Record
from connectors.postgres import bookkeeping
from connectors.postgres.sink import PostgresSink
from daemon import broker
from daemon.apply.worker import ApplyWorker
from daemon.config.kafka import Kafka
from daemon.config.masking import Masking
from daemon.config.settings import Settings
from daemon.config.source import Source
from daemon.config.state import State
from daemon.config.target import Target
from daemon.state.workers import WorkerState
from schemas.envelope import TransactionEnd
from schemas.position import Position
from schemas.topics import SCHEMA_CHANGES_TOPIC, partition_of, requests_topic, table_topic, transactions_topic
from tests.asking import ask, kept
from tests.fix_servers import Kafka as KafkaServer
from tests.waiting import until

PARTITIONS = 3
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """One record to be: table, key, and what its envelope holds beside the place."""

    table: str
    key: bytes
    content: dict[str, Any]
    partition: int | None = None


def _key(row: Row, columns: Sequence[str] = ("id",)) -> bytes:
    return orjson.dumps({name: row[name] for name in columns})


def insert(table: str, row: Row, key: Sequence[str] = ("id",)) -> Change:
    return Change(table, _key(row, key), {"op": "c", "before": None, "after": row})


def update(table: str, row: Row, unchanged: Sequence[str] = (), key: Sequence[str] = ("id",)) -> Change:
    content: dict[str, Any] = {"op": "u", "before": None, "after": row}
    return Change(table, _key(row, key), {**content, "unchanged": list(unchanged)} if unchanged else content)


def delete(table: str, key: Row) -> Change:
    return Change(table, _key(key, list(key)), {"op": "d", "before": key, "after": None})


def read(table: str, row: Row) -> Change:
    return Change(table, _key(row), {"op": "r", "before": None, "after": row})


def absent(table: str, key: Row) -> Change:
    return Change(table, _key(key, list(key)), {"op": "r", "before": None, "after": None})


def oversize(table: str, key: Row, size: int) -> Change:
    return Change(table, _key(key, list(key)), {"op": "u", "before": None, "after": key, "oversize": size})


def move(table: str, old: Row, row: Row, unchanged: Sequence[str] = ()) -> list[Change]:
    new = {name: row[name] for name in old}
    created: dict[str, Any] = {"op": "c", "before": None, "after": row, "moved_from": old}
    if unchanged:
        created["unchanged"] = list(unchanged)
    return [
        Change(table, _key(old, list(old)), {"op": "d", "before": old, "after": None, "moved_to": new}),
        Change(table, _key(row, list(old)), created),
    ]


def truncate(*tables: str) -> list[Change]:
    content = {"op": "t", "before": None, "after": None}
    return [Change(table, b"", content, partition) for table in tables for partition in range(PARTITIONS)]


@dataclass
class Stream:
    """Publishes transactions of one source; commit LSNs rise by 1,000."""

    source: str
    bootstrap_servers: str
    commit_lsn: int = 1_000
    epoch: int = 1
    timeline: int = 1
    sent: list[tuple[str, int, bytes, bytes, Position]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._producer = Producer({"bootstrap.servers": self.bootstrap_servers, "linger.ms": 1})

    def transaction(
        self, *changes: Change | list[Change], kind: str = "tx", end: bool = True, age_seconds: float = 0.0
    ) -> int:
        """Publish one transaction, or one snapshot chunk; returns its commit LSN."""
        self.commit_lsn += 1_000
        flat = [one for change in changes for one in (change if isinstance(change, list) else [change])]
        counts: dict[str, Counter[str]] = {}
        now_us = time.time_ns() // 1_000 - int(age_seconds * 1_000_000)
        for ordinal, change in enumerate(flat, 1):
            topic, partition, key, value, position = self._record(change, ordinal, now_us)
            self.send(topic, partition, key, value, position)
            counts.setdefault(topic, Counter())[str(partition)] += 1
        if end:
            self.end(counts, kind, now_us)
        self.flush()
        return self.commit_lsn

    def records(self, *changes: Change | list[Change]) -> list[Record]:
        """The records of a transaction, for a sink without Kafka; offsets are their ordinals."""
        self.commit_lsn += 1_000
        flat = [one for change in changes for one in (change if isinstance(change, list) else [change])]
        found = []
        for ordinal, change in enumerate(flat, 1):
            topic, partition, key, value, position = self._record(change, ordinal, 0)
            found.append(Record(topic, partition, ordinal, position, key, value))
        return found

    def counts(self, commit_lsn: int) -> dict[str, Counter[str]]:
        """Counts of the records that were sent for a commit, as its end tells them."""
        found: dict[str, Counter[str]] = {}
        for topic, partition, _, _, position in self.sent:
            if position.commit_lsn == commit_lsn:
                found.setdefault(topic, Counter())[str(partition)] += 1
        return found

    def end(self, counts: Mapping[str, Mapping[str, int]], kind: str = "tx", ts_us: int | None = None) -> None:
        finish = TransactionEnd.model_validate(
            {
                "kind": kind, "timeline": self.timeline, "commit_lsn": self.commit_lsn, "xid": 1, "epoch": self.epoch,
                "ts_us": time.time_ns() // 1_000 if ts_us is None else ts_us,
                "counts": {topic: dict(by) for topic, by in counts.items()},
            }
        )  # fmt: skip
        self._producer.produce(transactions_topic(self.source), finish.model_dump_json().encode(), b"", 0)

    def send(self, topic: str, partition: int, key: bytes, value: bytes, position: Position) -> None:
        headers: list[tuple[str, str | bytes | None]] = [
            ("position", position.to_header()),
            ("epoch", str(self.epoch).encode()),
        ]
        while True:
            try:
                self._producer.produce(topic, value, key, partition, headers=headers)
                break
            except BufferError:
                self._producer.poll(0.1)
        self._producer.poll(0)
        if len(self.sent) < 10_000:
            self.sent.append((topic, partition, key, value, position))

    def resend(self, start: int = 0) -> int:
        """Append again what was sent before, as a frozen capture does when it thaws; returns how many records."""
        again = self.sent[start:]
        for record in again:
            self.send(*record)
        self.flush()
        return len(again)

    def flush(self) -> None:
        assert self._producer.flush(30) == 0

    def _record(self, change: Change, ordinal: int, now_us: int) -> tuple[str, int, bytes, bytes, Position]:
        schema, table = change.table.split(".")
        topic = table_topic(self.source, schema, table)
        place = {"timeline": self.timeline, "commit_lsn": self.commit_lsn, "ordinal": ordinal, "ts_ms": now_us // 1_000}
        source = {"version": "0", "connector": "postgresql", "name": self.source, "schema": schema, "table": table}
        value = orjson.dumps({**change.content, "source": {**source, **place}, "ts_ms": 0, "transaction": None})
        partition = partition_of(change.key, PARTITIONS) if change.partition is None else change.partition
        return topic, partition, change.key, value, Position(self.timeline, self.commit_lsn, ordinal)


class World:
    """A source of a name of its own, and a target database with tables made by `ddl`."""

    def __init__(
        self, kafka: KafkaServer, target_url: str, ddl: str, tables: Mapping[str, dict[str, Any]],
        captured: Sequence[str] = (), masking: str | None = None, **options: Any,
    ) -> None:  # fmt: skip
        uid = uuid.uuid4().hex[:8]
        self.source, self.target, self.url = f"s{uid}", f"t{uid}", target_url
        self.settings = Settings(
            state=State.model_validate({"url": target_url}),
            kafka=Kafka(bootstrap_servers=kafka.bootstrap_servers, partitions=PARTITIONS),
            sources={self.source: Source.model_validate({"url": target_url, "tables": list(captured or tables)})},
            masking=Masking.model_validate({"key": masking}),
            targets={
                self.target: Target.model_validate(
                    {"url": target_url, "source": self.source, "tables": dict(tables), **options}
                )
            },
        )
        topics = {table_topic(self.source, *table.split(".")): PARTITIONS for table in captured or tables}
        spine = {transactions_topic(self.source): 1, requests_topic(self.source): 1}
        broker.ensure(
            broker.reach(self.settings.kafka), self.settings.kafka, {**topics, **spine, SCHEMA_CHANGES_TOPIC: 1}
        )
        self.stream = Stream(self.source, kafka.bootstrap_servers)
        with psycopg.connect(target_url) as connection:
            bookkeeping.install(connection)
            connection.execute(ddl.encode())

    def rows(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        return ask(self.url, query, parameters)

    def run_sql(self, statement: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement.encode())

    def applied_through(self, commit_lsn: int | None = None, seconds: float = 20) -> None:
        """Wait until the target has committed this commit (by default the newest) and all before it."""
        wanted = self.stream.timeline, self.stream.commit_lsn if commit_lsn is None else commit_lsn
        until(lambda: self._place() >= wanted, seconds, what=f"commit {wanted[1]} in the target")

    def parked(self) -> list[bookkeeping.ParkedKey]:
        return bookkeeping.list_parked(kept(self.url), self.source)

    def ask(self, request: bookkeeping.Request) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            bookkeeping.ask(
                connection, [key.id for key in bookkeeping.list_parked(connection, self.source)], request, "x"
            )

    def requested(self) -> list[dict[str, Any]]:
        """What the target has asked its source for, so far."""
        place = TopicPartition(requests_topic(self.source), 0, 0)
        consumer = Consumer({"bootstrap.servers": self.settings.kafka.bootstrap_servers, "group.id": "requested"})
        try:
            _, end = consumer.get_watermark_offsets(place, timeout=10)
            consumer.assign([place])
            return [orjson.loads(one.value() or b"") for one in (consumer.consume(end, 10) if end else [])]
        finally:
            consumer.close()

    def worker(self, instance: str = "one") -> ApplyWorker:
        return ApplyWorker(self.settings, self.target, PostgresSink, instance)

    def _place(self) -> tuple[int, int]:
        rows = self.rows("SELECT timeline, commit_lsn::bigint FROM placemat.lanes WHERE source = %s", self.source)
        return (int(rows[0][0]), int(rows[0][1])) if rows else (0, 0)


class Running:
    """A worker in a thread; `failure` is what it ended with."""

    def __init__(self, worker: ApplyWorker) -> None:
        self.states: list[WorkerState] = []
        self.failure: BaseException | None = None
        self._stop = Flag()
        self._worker = worker
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._worker.run(self._stop, lambda state, _: self.states.append(state))
        except BaseException as error:  # noqa: BLE001 the test looks at it
            self.failure = error

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(15)
        assert not self._thread.is_alive(), "the worker did not stop"


@contextmanager
def running(world: World, instance: str = "one") -> Iterator[Running]:
    """A worker while the block lasts; a failure that the test has not looked at fails the test."""
    found = Running(world.worker(instance))
    try:
        yield found
    finally:
        failed = found.failure
        found.stop()
    if failed is None and found.failure is not None:
        raise found.failure
