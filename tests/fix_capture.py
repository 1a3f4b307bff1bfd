"""A captured database with tables of the test's own: set up by `placemat init`, run in a thread or as a process."""

from __future__ import annotations

import json
import os
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import psycopg
import pytest
from confluent_kafka import Consumer, TopicPartition
from psycopg import sql

from daemon.capture.worker import CaptureWorker
from daemon.seams import VARIABLE
from schemas.position import Position
from schemas.topics import EPOCH_HEADER, POSITION_HEADER, table_topic, transactions_topic
from tests import forked
from tests.asking import ask
from tests.fix_servers import Kafka, Postgres
from tests.fix_site import Site
from tests.waiting import until

DDL = """
CREATE TABLE items (id bigint PRIMARY KEY, version bigint NOT NULL DEFAULT 0, note text);
CREATE TABLE parts (id bigint PRIMARY KEY, item_id bigint NOT NULL REFERENCES items, note text);
CREATE TABLE beat (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY);
"""
TABLES = ("parts", "items", "beat")


@dataclass(frozen=True, slots=True)
class Read:
    """A record as a consumer without any knowledge of ours reads it."""

    topic: str
    partition: int
    offset: int
    key: bytes
    value: dict[str, Any]
    position: Position
    epoch: int

    @property
    def place(self) -> tuple[str, int]:
        return (self.topic, self.partition)

    @property
    def table(self) -> str:
        return self.topic.rpartition(".")[2]

    @property
    def row_key(self) -> dict[str, Any]:
        return dict(json.loads(self.key))


class Life:
    """One run of the worker in a thread, without a supervisor: `error` is how it ended."""

    def __init__(self, worker: CaptureWorker) -> None:
        self.states: list[str] = []
        self.error: BaseException | None = None
        self._stop = threading.Event()
        self._worker = worker
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        return "running" in self.states and self._thread.is_alive()

    def stop(self) -> None:
        """Ask it to end, and wait until it has."""
        self._stop.set()
        self.ended()

    def ended(self, seconds: float = 20.0) -> BaseException | None:
        """Wait for its end; what it ended with."""
        self._thread.join(seconds)
        assert not self._thread.is_alive(), "the capture does not end"
        return self.error

    def _run(self) -> None:
        try:
            self._worker.run(self._stop, lambda state, _: self.states.append(state))
        except BaseException as error:  # noqa: BLE001 whatever ends it is what the test asks for
            self.error = error


@dataclass(slots=True)
class Rig:
    """`url` is the superuser's for the captured database, `tables` its captured tables in schema public."""

    site: Site
    url: str
    tables: tuple[str, ...]
    stack: ExitStack = field(default_factory=ExitStack)
    _connection: psycopg.Connection[Any] | None = None

    def init(self) -> Self:
        ended = self.site.placemat("init")
        assert ended.code == 0, ended.err
        return self

    def start(self) -> Life:
        life = Life(CaptureWorker(self.site.settings, self.site.source))
        self.stack.callback(life.stop)
        return life

    def spawn(self, seam: str = "") -> forked.Forked:
        """The command as a process, which kills itself at the seam if one is named."""
        words = ["--config", str(self.site.config), "run", "capture"]
        with Path(os.devnull).open("wb") as nowhere:
            environment = {**os.environ, VARIABLE: seam}
            process = forked.spawn(words, environment, nowhere.fileno(), nowhere.fileno())

        def end() -> None:
            process.kill()
            process.wait()

        self.stack.callback(end)
        return process

    def sql(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run as the superuser, each statement its own transaction; the rows, if there are any."""
        if self._connection is None or self._connection.closed:
            self._connection = self.stack.enter_context(psycopg.connect(self.url, autocommit=True))
        found = self._connection.execute(statement.encode(), values or None)
        return found.fetchall() if found.description else []

    def disconnect(self) -> None:
        """Before the server goes away: the next statement connects anew."""
        if self._connection is not None:
            self._connection.close()

    def state(self, statement: str) -> list[tuple[Any, ...]]:
        return ask(self.site.state, statement)

    @property
    def confirmed(self) -> int:
        """What the slot has been told, in bytes."""
        [(lsn,)] = self.sql(
            "SELECT confirmed_flush_lsn - '0/0' FROM pg_replication_slots WHERE slot_name = %s", [self.site.slot]
        )
        return int(lsn)

    @property
    def flush(self) -> int:
        """What the state has stored, in bytes."""
        [(lsn,)] = self.state("SELECT flush_lsn FROM placemat.sources")
        return int(lsn)

    def caught_up(self, seconds: float = 30.0) -> None:
        """Wait until all that has been committed so far is acknowledged, stored and told."""
        [(lsn,)] = self.sql("SELECT pg_current_wal_insert_lsn() - '0/0'")
        self.sql("INSERT INTO beat DEFAULT VALUES")
        until(lambda: self.confirmed >= lsn, seconds, what="the confirmation of what was committed")

    def copied(self, seconds: float = 30.0) -> None:
        """Wait until every table's initial copy is stored as done."""
        self.copied_but("", seconds)

    def copied_but(self, table: str, seconds: float = 30.0) -> None:
        """As `copied`, but for one table."""
        open_ = f"SELECT 1 FROM placemat.snapshots WHERE done_at IS NULL AND table_name <> '{table}'"
        until(lambda: not self.state(open_), seconds, what="the end of the initial copy")

    def records(self, *tables: str) -> list[Read]:
        """All records of these tables, or of all tables and the transactions, by partition in order of offsets."""
        names = [table_topic(self.site.source, "public", table) for table in tables or self.tables]
        if not tables:
            names.append(transactions_topic(self.site.source))
        return read_topics(self.site.settings.kafka.bootstrap_servers, names)

    def ends(self) -> list[Read]:
        return read_topics(self.site.settings.kafka.bootstrap_servers, [transactions_topic(self.site.source)])

    def rows(self, table: str) -> dict[int, dict[str, Any]]:
        """The table as it is, by id."""
        return {row["id"]: row for (row,) in self.sql(f"SELECT to_jsonb(t) FROM {table} t")}


def read_topics(bootstrap_servers: str, topics: Iterable[str]) -> list[Read]:
    """Every record up to the present end, by partition in order of offsets."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": f"test-{uuid.uuid4().hex}",
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "fetch.wait.max.ms": 10,
        }
    )
    try:
        present = consumer.list_topics(timeout=10).topics
        places = [(topic, number) for topic in topics for number in present[topic].partitions]
        marks = {place: consumer.get_watermark_offsets(TopicPartition(*place), timeout=10) for place in places}
        left = {place: high for place, (low, high) in marks.items() if high > low}
        consumer.assign([TopicPartition(*place, marks[place][0]) for place in left])
        found: list[Read] = []

        def drained() -> bool:
            first = consumer.poll(0.2)
            for message in [first, *consumer.consume(500, 0)] if first else []:
                assert message.error() is None, message.error()
                read = _read(message)
                if read.offset >= left.get(read.place, 0) - 1:
                    left.pop(read.place, None)
                found.append(read)
            return not left

        until(drained, 30, what="the end of the topics")
    finally:
        consumer.close()
    return sorted(found, key=lambda read: (read.topic, read.partition, read.offset))


def _read(message: Any) -> Read:
    headers = dict(message.headers())
    return Read(
        message.topic(),
        message.partition(),
        message.offset(),
        message.key() or b"",
        json.loads(message.value()),
        Position.from_header(headers[POSITION_HEADER]),
        int(headers[EPOCH_HEADER]),
    )


def as_sinks_take_them(records: Iterable[Read]) -> tuple[list[Read], list[Read]]:
    """What is above the highest position of its partition so far, and what is not."""
    highest: dict[tuple[str, int], Position] = {}
    taken, dropped = [], []
    for read in records:
        if read.place in highest and read.position <= highest[read.place]:
            dropped.append(read)
        else:
            highest[read.place] = read.position
            taken.append(read)
    return taken, dropped


def assert_whole(records: Sequence[Read]) -> None:
    """Positions rise in every partition, and the transaction ends count every record, no more and no less."""
    _, repeated = as_sinks_take_them(records)
    assert [(read.place, read.offset, str(read.position)) for read in repeated] == []
    rows = [read for read in records if not read.topic.endswith(".transactions")]
    ends = {read.position.commit_lsn: read.value for read in records if read.topic.endswith(".transactions")}
    found: dict[int, Counter[tuple[str, int]]] = {}
    for read in rows:
        found.setdefault(read.position.commit_lsn, Counter())[read.place] += 1
    for lsn, end in ends.items():
        counted = Counter(
            {(topic, int(part)): many for topic, parts in end["counts"].items() for part, many in parts.items()}
        )
        if end["kind"] == "tx" or counted:
            assert found.get(lsn, Counter()) == counted, f"the end at {lsn} counts otherwise"
    left_over = {read.position.commit_lsn for read in rows if read.value["op"] != "r"} - set(ends)
    assert not left_over, "records without a transaction end"


def replay(records: Iterable[Read], table: str) -> dict[int, dict[str, Any]]:
    """The rows of one table after all of its records, applied in the order of each partition; keys are `id`."""
    rows: dict[int, dict[str, Any]] = {}
    for read in records:
        if read.table != table:
            continue
        value = read.value
        if value["op"] == "t":
            gone = [key for key, row in rows.items() if row["_place"] == read.partition]
            for key in gone:
                del rows[key]
        elif value["after"] is None:
            rows.pop(read.row_key["id"], None)
        else:
            before = rows.get(read.row_key["id"], {}) if value["op"] == "u" else {}
            rows[read.row_key["id"]] = {**before, **value["after"], "_place": read.partition}
    return {key: {name: value for name, value in row.items() if name != "_place"} for key, row in rows.items()}


RigFactory = Callable[..., Rig]


@pytest.fixture
def capture_factory(
    postgres_server: Postgres,
    kafka_server: Kafka,
    database_factory: Callable[..., str],
    state_template: str,
    tmp_path: Path,
) -> Iterator[RigFactory]:
    """A function that makes a `Rig`; its state is always in the common PostgreSQL. Not yet set up by `init`."""
    with ExitStack() as stack:

        def make(
            *,
            ddl: str = DDL,
            tables: Sequence[str] = TABLES,
            postgres: Postgres | None = None,
            kafka: Kafka | None = None,
            partitions: int = 3,
            chunk_rows: int = 1000,
            snapshot: Mapping[str, Any] | None = None,
            **source: Any,
        ) -> Rig:
            uid = uuid.uuid4().hex[:8]
            url = database_factory("source") if postgres is None else _database(postgres, f"source_{uid}")
            state = database_factory("state", state_template)
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(ddl.encode())
            values = {
                "state": {"url": state},
                "kafka": {"bootstrap_servers": (kafka or kafka_server).bootstrap_servers, "partitions": partitions},
                "audit": {"topic": f"placemat.audit.{uid}"},
                "sources": {
                    f"p{uid}": {
                        "url": url,
                        "slot": f"placemat_{uid}",
                        "tables": [f"public.{table}" for table in tables],
                        "flush_interval_seconds": 0.05,
                        "idle_flush_interval_seconds": 0.1,
                        "snapshot": {"chunk_rows": chunk_rows, **(snapshot or {})},
                        **source,
                    }
                },
                "http": {"port": 0},
            }
            site = Site(uid, url, "", state, tmp_path / f"{uid}.toml", values)
            site.write()
            rig = Rig(site, url, tuple(tables))
            stack.enter_context(rig.stack)
            return rig

        yield make


@pytest.fixture
def capture(capture_factory: RigFactory) -> Rig:
    """Tables items, parts and beat, set up and not yet run."""
    return capture_factory().init()


def _database(server: Postgres, name: str) -> str:
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return server.dsn(name)
