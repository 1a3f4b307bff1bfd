"""A source and a target of our own for `verify`, and an apply worker played by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from threading import Event, Thread
from typing import Any

import psycopg
from pydantic import SecretStr

from daemon.config.kafka import Kafka
from daemon.config.route import Route
from daemon.config.settings import Settings
from daemon.config.source import Source
from daemon.config.state import State
from daemon.config.target import Target
from daemon.reconcile import Progress, VerifyReport, verify
from daemon.reconcile.lane import Place
from schemas.position import in_era, parse_lsn

Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True)
class Pair:
    """Two databases: `source` is read by the source `primary`, `target` by the target `empathy_ledger`."""

    source_url: str
    target_url: str
    source: Connection
    target: Connection

    def both(self, statement: str) -> None:
        self.source.execute(statement.encode())
        self.target.execute(statement.encode())

    def settings(self, *tables: str, local: tuple[str, ...] = ()) -> Settings:
        names = tuple(f"public.{table}" for table in tables)
        return Settings(
            state=State(url=SecretStr("postgresql://127.0.0.1/state")),
            kafka=Kafka(bootstrap_servers="127.0.0.1:9092"),
            sources={"primary": Source(url=SecretStr(self.source_url), tables=names)},
            targets={
                "empathy_ledger": Target(
                    url=SecretStr(self.target_url), tables={name: Route(local=local) for name in names}
                )
            },
        )

    def verify(
        self,
        *tables: str,
        local: tuple[str, ...] = (),
        sample: int | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        show_values: bool = False,
        stall_seconds: float = 30,
        era: int = 0,
    ) -> VerifyReport:
        return verify(
            self.settings(*tables, local=local),
            (),
            eras={"primary": era},
            sample=sample,
            on_progress=on_progress,
            show_values=show_values,
            stall_seconds=stall_seconds,
        )

    def keep_books(self) -> None:
        """Give the target the sink's tables, with the lane at the source's present position."""
        self.target.execute("CREATE SCHEMA placemat")
        self.target.execute(resources.files("connectors.postgres").joinpath("bookkeeping.sql").read_text().encode())
        self.target.execute("INSERT INTO placemat.lanes (source) VALUES ('primary')")
        self.move_lane(source_place(self.source))

    def move_lane(self, place: Place) -> None:
        self.target.execute("UPDATE placemat.lanes SET (timeline, commit_lsn) = (%s, %s)", place)


@contextmanager
def pair_of(database_factory: Callable[[str], str]) -> Iterator[Pair]:
    urls = database_factory("verify_source"), database_factory("verify_target")
    with psycopg.connect(urls[0], autocommit=True) as source, psycopg.connect(urls[1], autocommit=True) as target:
        yield Pair(*urls, source, target)


def source_place(source: Connection, era: int = 0) -> Place:
    """A position above every commit that is visible now."""
    lsn = "SELECT left(pg_walfile_name(lsn), 8), lsn::text FROM pg_current_wal_insert_lsn() lsn"
    row = source.execute(lsn.encode()).fetchone()
    assert row
    return Place(in_era(era, int(row[0], 16)), parse_lsn(row[1]))


@contextmanager
def applying(pair: Pair, apply: Callable[[Connection, Connection], None] | None = None, era: int = 0) -> Iterator[None]:
    """A thread that brings over what `apply` brings over and then moves the lane, again and again.

    `apply` gets connections to source and target; what it brings over must cover all that is visible when it begins.
    """
    stop = Event()
    failures: list[BaseException] = []

    def work() -> None:
        try:
            with (
                psycopg.connect(pair.source_url, autocommit=True) as source,
                psycopg.connect(pair.target_url) as target,
            ):
                while not stop.wait(0.01):
                    through = source_place(source, era)
                    if apply:
                        apply(source, target)
                    target.execute("UPDATE placemat.lanes SET (timeline, commit_lsn) = (%s, %s)", through)
                    target.commit()
        except BaseException as error:
            failures.append(error)
            raise

    thread = Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)
    assert not failures


def only_table(report: VerifyReport) -> dict[str, Any]:
    """The JSON of the one table of a report."""
    (target,) = report.to_json()["targets"]
    (table,) = target["tables"]
    assert isinstance(table, dict)
    return table
