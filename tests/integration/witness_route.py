"""A primary, topics and an Empathy Ledger with a witness between them, and hands that do a daemon's work on demand."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson
import psycopg
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from psycopg import sql

from daemon.embedded import witness
from schemas.domain import ROUTED_TABLES, install_empathy_ledger, install_primary

PARTITIONS = 2
JOURNAL = """
SELECT seq, xid, "table", key, op::text, old_key FROM witness.journal WHERE op <> 'B' AND seq > %s ORDER BY seq
"""
OPS = {"I": "c", "U": "u", "D": "d"}
LOCAL_COLUMNS = {"updated_at"}


@dataclass(slots=True)
class Record:
    """One record of a topic, to be sent as it is."""

    table: str
    key: str
    op: str
    xid: int | None
    position: str
    epoch: int = 1
    partition: int = 0


@dataclass(slots=True)
class Route:
    primary: psycopg.Connection[Any]
    target: psycopg.Connection[Any]
    bootstrap_servers: str
    prefix: str = field(default_factory=lambda: f"placemat.{uuid.uuid4().hex[:8]}")
    positions: Iterator[int] = field(default_factory=lambda: iter(range(1, 10**9)))
    published: int = 0

    @property
    def topics(self) -> list[str]:
        return [f"{self.prefix}.public.{table}" for table in ROUTED_TABLES]

    def create_topics(self) -> None:
        admin = AdminClient({"bootstrap.servers": self.bootstrap_servers})
        created = admin.create_topics([NewTopic(topic, PARTITIONS, 1) for topic in self.topics])
        for future in created.values():
            future.result(30)

    def unpublished(self) -> list[Record]:
        """What a capture would send for the changes since the last call."""
        records: list[Record] = []
        for seq, xid, table, key, op, old_key in self.primary.execute(JOURNAL, (self.published,)):
            self.published = seq
            if op == "T":
                records += [self.record(table, "", "t", xid, partition) for partition in range(PARTITIONS)]
            elif old_key is not None:
                records += [self.record(table, old_key, "d", xid), self.record(table, key, "c", xid)]
            else:
                records.append(self.record(table, key, OPS[op], xid))
        return records

    def record(self, table: str, key: str, op: str, xid: int | None, partition: int | None = None) -> Record:
        position = f"{1:08x}-{next(self.positions):016x}-{1:016x}"
        place = sum(key.encode()) % PARTITIONS if partition is None else partition
        return Record(table, key, op, xid, position, partition=place)

    def send(self, records: list[Record]) -> None:
        producer = Producer({"bootstrap.servers": self.bootstrap_servers, "linger.ms": 20})
        for record in records:
            value = {"before": None, "after": None, "op": record.op, "source": {"txId": record.xid}}
            producer.produce(
                f"{self.prefix}.{record.table}",
                value=orjson.dumps(value),
                key=orjson.dumps({"id": record.key}) if record.key else None,
                partition=record.partition,
                headers={"position": record.position, "epoch": str(record.epoch)},
            )
            producer.poll(0)
        assert producer.flush(30) == 0

    def publish(self) -> None:
        self.send(self.unpublished())

    def apply(self, table: str, key: object) -> None:
        """Make the target's row what the primary's is now, in a transaction of its own."""
        with self.target.transaction():
            self.upsert(table, key)

    def upsert(self, table: str, key: object) -> None:
        row = self.primary.execute(
            sql.SQL("SELECT to_jsonb(present)::text FROM {} AS present WHERE id = %s").format(sql.Identifier(table)),
            (key,),
        ).fetchone()
        if row is None:
            self.target.execute(sql.SQL("DELETE FROM {} WHERE id = %s").format(sql.Identifier(table)), (key,))
            return
        columns = list(orjson.loads(row[0]))
        names = sql.SQL(", ").join(map(sql.Identifier, columns))
        news = sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(sql.Identifier(column)) for column in columns)
        statement = sql.SQL(
            "INSERT INTO {table} ({names}) SELECT {names} FROM jsonb_populate_record(NULL::{table}, %s::jsonb)"
            " ON CONFLICT (id) DO UPDATE SET {news}"
        )
        self.target.execute(statement.format(table=sql.Identifier(table), names=names, news=news), (row[0],))

    def install_witness(self) -> None:
        """From here on everything is witnessed; what is there now is the state to start from."""
        witness.install(dsn_of(self.primary), dsn_of(self.target), compared_columns(self.primary))
        self.published = 0

    def count(self) -> witness.WitnessReport:
        return witness.count(dsn_of(self.primary), dsn_of(self.target), self.bootstrap_servers, self.topics)


def dsn_of(conn: psycopg.Connection[Any]) -> str:
    return psycopg.conninfo.make_conninfo(conn.info.dsn, password=conn.info.password)


def compared_columns(conn: psycopg.Connection[Any]) -> dict[str, list[str]]:
    """All columns of the routed tables but those that each database keeps for itself."""
    statement = "SELECT column_name FROM information_schema.columns WHERE table_schema = 'public' AND table_name = %s"
    return {
        table: [column for (column,) in conn.execute(statement, (table,)) if column not in LOCAL_COLUMNS]
        for table in ROUTED_TABLES
    }


def open_route(database_factory: Callable[[str], str], bootstrap_servers: str) -> Route:
    """Two empty databases of the domain with the witness in them, and topics. Both connections are superusers'."""
    primary_dsn, target_dsn = database_factory("witness_primary"), database_factory("witness_target")
    primary = psycopg.connect(primary_dsn, autocommit=True)
    target = psycopg.connect(target_dsn, autocommit=True)
    install_primary(primary)
    install_empathy_ledger(target)
    route = Route(primary, target, bootstrap_servers)
    route.install_witness()
    route.create_topics()
    return route
