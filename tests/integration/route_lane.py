"""A sink with routes, fed transactions by hand. One database is both sides: schema `hub` stands for the source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg

from connectors.contract import Destination, Progress, Wanted
from connectors.postgres import conditions
from connectors.postgres.pauses import Pauses
from connectors.postgres.sink import PostgresSink
from daemon.routes import routings
from tests.fix_servers import Kafka
from tests.integration.apply_stream import Change, World

KEY = "a key that only tests have"
Routes = Mapping[str, dict[str, Any]]


class RouteLane:
    """`apply` writes one source transaction; `world.rows` looks at the target."""

    def __init__(self, kafka: Kafka, url: str, ddl: str, routes: Routes, more: tuple[str, ...] = ()) -> None:
        self.world = World(kafka, url, ddl, routes, captured=(*routes, *more), masking=KEY)
        settings = self.world.settings
        found = routings(settings, self.world.target)
        with psycopg.connect(url) as source, psycopg.connect(url) as target:
            conditions.remember(source, target, self.world.source, found)
        self.sink = PostgresSink(Destination(self.world.target, url, self.world.source, found))
        self.sink.claim()
        self._committed = 0

    def apply(self, *changes: Change | list[Change]) -> None:
        self.write(*changes)
        self.commit()

    def write(self, *changes: Change | list[Change]) -> None:
        self.sink.write(self.world.stream.records(*changes))

    def commit(self, table: str | None = None) -> None:
        self._committed += table is None
        self.sink.commit(Progress(self._committed, (1, self.world.stream.commit_lsn), {}), table)

    def resume(self, table: str) -> None:
        """A paused table, of which nothing waits, catches up and rejoins."""
        with psycopg.connect(self.world.url, autocommit=True) as connection:
            Pauses(connection, self.world.target, self.world.source).resume(table)
        self.sink.claim()
        self.commit(table)
        self.sink.rejoin(table)
        self.sink.claim()

    def wanted(self) -> list[Wanted]:
        return self.sink.wanted()


@contextmanager
def route_lane(kafka: Kafka, url: str, ddl: str, routes: Routes, more: tuple[str, ...] = ()) -> Iterator[RouteLane]:
    found = RouteLane(kafka, url, ddl, routes, more)
    try:
        yield found
    finally:
        found.sink.close()
