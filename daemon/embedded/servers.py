"""The servers of the demo and of `dev`: one PostgreSQL for primary and state, one for Empathy Ledger, one Kafka.

Empathy Ledger has a server of its own so that the target can be stopped alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
from psycopg import sql

from daemon.embedded.given import GivenKafka, GivenPostgres, Postgres
from daemon.embedded.kafka import KafkaServer
from daemon.embedded.postgres import PostgresServer
from daemon.embedded.server import Server

HUB_DATABASES = ("primary", "state")
LEDGER_DATABASES = ("empathy_ledger",)
DATABASES = (*HUB_DATABASES, *LEDGER_DATABASES)


class Servers:
    """All three, started side by side. `directory`, `settings` and `detached` are as for each of them.

    `postgres_url` (a superuser's) and `bootstrap_servers` name servers that are there already instead: in such a
    PostgreSQL the three databases are made if they are missing, and stay.
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        postgres_url: str | None = None,
        bootstrap_servers: str | None = None,
        settings: Mapping[str, str] | None = None,
        detached: bool = False,
    ) -> None:
        def postgres(name: str) -> GivenPostgres | PostgresServer:
            if postgres_url:
                return GivenPostgres(postgres_url)
            return PostgresServer(directory and directory / name, settings=settings, detached=detached)

        self.hub = postgres("hub")
        self.ledger = postgres("empathy_ledger")
        self.kafka = (
            GivenKafka(bootstrap_servers)
            if bootstrap_servers
            else KafkaServer(directory and directory / "kafka", detached=detached)
        )

    @property
    def embedded(self) -> list[Server]:
        """Those that are ours to start and stop."""
        return [server for server in (self.kafka, self.ledger, self.hub) if isinstance(server, Server)]

    @property
    def dsns(self) -> dict[str, str]:
        """Superuser's URL by name: primary, state, empathy_ledger. Each is also the name of the database."""
        owners = ((self.hub, HUB_DATABASES), (self.ledger, LEDGER_DATABASES))
        return {name: server.dsn(name) for server, names in owners for name in names}

    def start(self) -> None:
        """Start what does not run yet, and make the databases. Raises OperatorError; then all are stopped."""
        try:
            _side_by_side(lambda server: server.start(), self.embedded)
            _create_databases(self.hub, HUB_DATABASES)
            _create_databases(self.ledger, LEDGER_DATABASES)
        except BaseException:  # raised again, once all are stopped
            self.close()
            raise

    def close(self) -> None:
        """Stop all, and remove what was temporary."""
        _side_by_side(lambda server: server.close(), self.embedded)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _side_by_side(act: Callable[[Server], None], servers: Sequence[Server]) -> None:
    """Raises what the first of them raised, after all are through."""
    with ThreadPoolExecutor(max_workers=3) as pool:
        for outcome in [pool.submit(act, server) for server in servers]:
            outcome.result()


def _create_databases(server: Postgres, names: Iterable[str]) -> None:
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        present = {name for (name,) in connection.execute("SELECT datname FROM pg_database")}
        for name in names:
            if name not in present:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
