"""Two databases of the domain that go both ways, with all their workers in threads of the test."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import psycopg
import pytest

from daemon import wiring
from daemon.errors import OperatorError
from daemon.observe.board import Board
from daemon.supervisor import Supervisor, Worker
from schemas import domain
from tests.fix_servers import Postgres
from tests.fix_site import PASSWORD, Site
from tests.waiting import until

Connection = psycopg.Connection[Any]
END_SECONDS = 20.0
OWN = {
    "workspaces": ("theme_colour",),
    "storytellers": ("preferred_contact",),
    "stories": ("featured", "reading_count"),
    "story_media": ("alt_text",),
}
"""Columns that only the Empathy Ledger has."""


class Running:
    """Workers under a supervisor."""

    def __init__(self, workers: list[Worker]) -> None:
        self.board = Board()
        self._supervisor = Supervisor(workers, self.board)
        self.error: OperatorError | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._supervisor.stop()
        self._thread.join(END_SECONDS)
        assert not self._thread.is_alive(), "the workers do not end"
        assert self.error is None, self.error

    def _run(self) -> None:
        try:
            self._supervisor.run()
        except OperatorError as error:
            self.error = error


@dataclass
class Linked:
    """A site whose tables go both ways. `hub` and `spoke` are superusers' connections, for people."""

    site: Site
    hub: Connection
    spoke: Connection

    @property
    def spoke_name(self) -> str:
        return f"e{self.site.uid}"

    @property
    def hub_target(self) -> str:
        return f"h{self.site.uid}"

    def route(self, table: str, **values: Any) -> None:
        """Set what the configuration says of a table's way out."""
        self.site.values["targets"][self.spoke_name]["tables"][f"public.{table}"].update(values)
        self.site.write()

    def workers(self, *names: str) -> list[Worker]:
        settings = self.site.settings
        return wiring.workers(settings, wiring.choose(settings, names))

    @contextmanager
    def running(self, *names: str) -> Iterator[Running]:
        with Running(self.workers(*names)) as running:
            yield running

    def init(self) -> None:
        done = self.site.placemat("init")
        assert done.code == 0, done.err

    def rows(self, connection: Connection, table: str, columns: str) -> list[Any]:
        return connection.execute(f"SELECT {columns} FROM {table} ORDER BY 1".encode()).fetchall()

    def equal(self, table: str, columns: str) -> bool:
        return self.rows(self.hub, table, columns) == self.rows(self.spoke, table, columns)

    def until_equal(self, table: str, columns: str, seconds: float = 20.0) -> None:
        try:
            until(lambda: self.equal(table, columns), seconds)
        except AssertionError:
            assert self.rows(self.hub, table, columns) == self.rows(self.spoke, table, columns)
            raise


@pytest.fixture
def linked(site: Site, postgres_server: Postgres) -> Iterator[Linked]:
    """Prepared, not running. All five tables go both ways, by the rule `latest`."""
    yield from _linked(site, postgres_server.dsn)


def _linked(site: Site, dsn: Callable[..., str]) -> Iterator[Linked]:
    spoke, hub = f"e{site.uid}", f"h{site.uid}"
    primary, ledger = (url.rpartition("/")[2] for url in (site.primary, site.ledger))
    targets = site.values["targets"]
    out = targets.pop("empathy_ledger")
    out["tables"] = {
        f"public.{table}": {"local": ["updated_at", *OWN.get(table, ())], "both_ways": True, "updated_at": "updated_at"}
        for table in domain.ROUTED_TABLES
    }
    targets[spoke] = out
    targets[hub] = {"url": dsn(primary, domain.APPLY, PASSWORD), "source": spoke}
    site.values["sources"][spoke] = {
        "url": dsn(ledger, domain.CAPTURE, PASSWORD),
        "slot": f"placemat_e_{site.uid}",
        "tables": [f"public.{table}" for table in domain.ROUTED_TABLES],
    }
    site.write()
    with (
        psycopg.connect(site.primary, autocommit=True) as hub_connection,
        psycopg.connect(site.ledger, autocommit=True) as spoke_connection,
    ):
        yield Linked(site, hub_connection, spoke_connection)
