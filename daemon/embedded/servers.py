"""The servers of the demo and of `dev`: one PostgreSQL for primary and state, one for Empathy Ledger, one Kafka.

Empathy Ledger has a server of its own so that the target can be stopped alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
from psycopg import sql

from daemon.embedded.kafka import KafkaServer
from daemon.embedded.postgres import PostgresServer
from daemon.embedded.server import Server

HUB_DATABASES = ("primary", "state")
LEDGER_DATABASES = ("empathy_ledger",)
DATABASES = (*HUB_DATABASES, *LEDGER_DATABASES)


class Servers:
    """All three, started side by side. `directory` and `detached` are as for each of them."""

    def __init__(
        self, directory: Path | None = None, *, settings: Mapping[str, str] | None = None, detached: bool = False
    ) -> None:
        def place(name: str) -> Path | None:
            return directory / name if directory else None

        self.hub = PostgresServer(place("hub"), settings=settings, detached=detached)
        self.ledger = PostgresServer(place("empathy_ledger"), settings=settings, detached=detached)
        self.kafka = KafkaServer(place("kafka"), detached=detached)

    @property
    def all(self) -> tuple[Server, ...]:
        return self.kafka, self.ledger, self.hub

    @property
    def dsns(self) -> dict[str, str]:
        """Superuser's URL by name: primary, state, empathy_ledger. Each is also the name of the database."""
        owners = ((self.hub, HUB_DATABASES), (self.ledger, LEDGER_DATABASES))
        return {name: server.dsn(name) for server, names in owners for name in names}

    def start(self) -> None:
        """Start what does not run yet, and make the databases. Raises OperatorError; then all are stopped."""
        try:
            with ThreadPoolExecutor(len(self.all)) as pool:
                list(pool.map(lambda server: server.start(), self.all))
            _create_databases(self.hub, HUB_DATABASES)
            _create_databases(self.ledger, LEDGER_DATABASES)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Stop all, and remove what was temporary."""
        with ThreadPoolExecutor(len(self.all)) as pool:
            list(pool.map(lambda server: server.close(), self.all))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _create_databases(server: PostgresServer, names: Iterable[str]) -> None:
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        present = {name for (name,) in connection.execute("SELECT datname FROM pg_database")}
        for name in names:
            if name not in present:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
