"""Two databases of the domain that go both ways, with all their workers in threads of the test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import psycopg
import pytest

from connectors.postgres.turns import LOCK_CLASS
from daemon import wiring
from daemon.supervisor import Worker
from schemas import domain
from schemas.topics import table_topic
from tests.asking import ask
from tests.fix_capture import read_topics
from tests.fix_servers import Kafka, Postgres, databases
from tests.fix_site import PASSWORD, Site, made_site
from tests.streams import Stream, taken
from tests.supervised import Supervised
from tests.waiting import until

Connection = psycopg.Connection[Any]
OWN = {
    "workspaces": ("theme_colour",),
    "storytellers": ("preferred_contact",),
    "stories": ("featured", "reading_count"),
    "story_media": ("alt_text",),
}
"""Columns that only the Empathy Ledger has."""


@dataclass
class Linked:
    """A site whose tables go both ways. `hub` and `spoke` are superusers' connections, for people."""

    site: Site
    hub: Connection
    spoke: Connection
    others: dict[str, Connection] = field(default_factory=dict)
    """Further spokes, by name."""

    @property
    def spoke_name(self) -> str:
        return f"e{self.site.uid}"

    @property
    def hub_target(self) -> str:
        return f"h{self.site.uid}"

    def route(self, table: str, /, **values: Any) -> None:
        """Set what the configuration says of a table's way out."""
        self.site.values["targets"][self.spoke_name]["tables"][f"public.{table}"].update(values)
        self.site.write()

    def workers(self, *names: str) -> list[Worker]:
        settings = self.site.settings
        return wiring.workers(settings, wiring.choose(settings, names))

    @contextmanager
    def running(self, *names: str) -> Iterator[None]:
        workers = Supervised(*self.workers(*names))
        try:
            yield
        finally:
            workers.stop()
            assert workers.error is None, workers.error

    def copied(self, seconds: float = 30.0) -> None:
        """Wait until the initial copies of all sources are done: a row that is made earlier may be told twice, by the
        copy and by the log."""
        tables = sum(len(source.tables) for source in self.site.settings.sources.values())
        done = "SELECT count(*) FROM placemat.snapshots WHERE kind = 'initial' AND done_at IS NOT NULL"
        until(lambda: ask(self.site.state, done) == [(tables,)], seconds, what="the end of the initial copies")

    def init(self) -> None:
        done = self.site.placemat("init")
        assert done.code == 0, done.err

    def rows(self, connection: Connection, table: str, columns: str) -> list[Any]:
        return connection.execute(f"SELECT {columns} FROM {table} ORDER BY 1".encode()).fetchall()

    def equal(self, table: str, columns: str) -> bool:
        return self.rows(self.hub, table, columns) == self.rows(self.spoke, table, columns)

    def rest(self, seconds: float = 20.0) -> None:
        """Wait until nothing is on its way: what each side has committed was taken by the other, and what that has led
        to, until nobody has anything to say any more."""
        until(lambda: self._rests(seconds), seconds, what="rest")

    def _rests(self, seconds: float) -> bool:
        """What each side's stream shows now was taken by all who follow it, and nothing came of that meanwhile."""
        before = self._written()
        spokes = {self.spoke_name: self.spoke, **self.others}
        back = [Stream(name, connection, [self.hub]) for name, connection in spokes.items()]
        taken([Stream(self.site.source, self.hub, [self.hub, *spokes.values()]), *back], seconds)
        return self._written() == before

    def _written(self) -> list[Any]:
        """What is kept of all rows, on both sides."""
        return [
            self.rows(connection, table, "md5(string_agg(state, ',' ORDER BY table_name, key))")
            for connection, table in (
                (self.hub, "placemat.hub_rows"), (self.hub, "placemat.links"), (self.hub, "placemat.conflicts"),
                *((connection, "placemat.sides") for connection in (self.spoke, *self.others.values())),
            )
        ]  # fmt: skip

    @contextmanager
    def held(self, side: Literal["spoke", "both"] = "both") -> Iterator[None]:
        """Nothing of what is done in the block is taken by another side, or by the spokes, before its end."""
        spokes = {self.spoke_name: self.spoke, **self.others}
        with ExitStack() as stack:
            hub = stack.enter_context(psycopg.connect(self.site.primary))
            locks = [(hub, name) for name in spokes] if side == "both" else []
            for spoke in spokes.values():
                url = f"{self.site.ledger.rpartition('/')[0]}/{spoke.info.dbname}"
                locks.append((stack.enter_context(psycopg.connect(url)), self.site.source))
            for connection, source in locks:
                connection.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [LOCK_CLASS, source])
            yield

    def discard(self, table: str, key: object) -> None:
        """What a person does with `placemat dlq discard` at the hub."""
        self.hub.execute(
            "UPDATE placemat.parked SET request = 'discard' WHERE table_name = %s AND key = %s",
            [f"public.{table}", f'{{"id":"{key}"}}'],
        )
        until(lambda: self.hub.execute("SELECT FROM placemat.parked WHERE request IS NOT NULL").fetchone() is None)

    def check_audited_once(self, seconds: float = 30.0) -> None:
        """Each record of a row has one entry in the audit log, at each target that it comes to."""
        for connection in (self.hub, self.spoke):
            until(lambda c=connection: c.execute("SELECT FROM placemat.outbox").fetchone() is None, seconds)  # type: ignore[misc]
        query = 'SELECT topic, partition, "offset" FROM placemat.audit_entries WHERE target = %s AND topic = ANY (%s)'
        for target, source in ((self.spoke_name, self.site.source), (self.hub_target, self.spoke_name)):
            topics = [table_topic(source, "public", table) for table in domain.ROUTED_TABLES]
            entered = ask(self.site.state, query, [target, topics])
            assert len(entered) == len(set(entered)), "none twice"
            published = read_topics(self.site.settings.kafka.bootstrap_servers, topics)
            assert set(entered) == {(one.topic, one.partition, one.offset) for one in published}, "and none left out"

    def until_equal(self, table: str, columns: str, seconds: float = 20.0) -> None:
        try:
            until(lambda: self.equal(table, columns), seconds)
        except AssertionError:
            assert self.rows(self.hub, table, columns) == self.rows(self.spoke, table, columns)
            raise


@pytest.fixture
def linked(postgres_server: Postgres, kafka_server: Kafka, tmp_path: Path) -> Iterator[Linked]:
    """Prepared, not running. All five tables go both ways, by the rule `latest`."""
    with made_linked(postgres_server, kafka_server, tmp_path) as found:
        yield found


@pytest.fixture
def ring(postgres_server: Postgres, kafka_server: Kafka, tmp_path: Path) -> Iterator[Linked]:
    """As `linked`, with a second spoke, the archive. Prepared, not running."""
    with databases(postgres_server) as make, made_linked(postgres_server, kafka_server, tmp_path) as linked:
        url = make("archive")
        with psycopg.connect(url) as connection:
            domain.install_empathy_ledger(connection, {domain.CAPTURE: PASSWORD, domain.APPLY: PASSWORD})
        name = f"a{linked.site.uid}"
        add_spoke(linked.site, postgres_server, name, f"b{linked.site.uid}", url)
        with psycopg.connect(url, autocommit=True) as archive:
            linked.others[name] = archive
            yield linked


@contextmanager
def made_linked(postgres_server: Postgres, kafka_server: Kafka, directory: Path) -> Iterator[Linked]:
    """See `linked`."""
    with (
        databases(postgres_server) as make,
        made_site(postgres_server, kafka_server, make, directory / "placemat.toml") as site,
    ):
        _go_both_ways(site, postgres_server)
        with (
            psycopg.connect(site.primary, autocommit=True) as hub,
            psycopg.connect(site.ledger, autocommit=True) as spoke,
        ):
            yield Linked(site, hub, spoke)


def _go_both_ways(site: Site, server: Postgres) -> None:
    site.values["targets"].pop("empathy_ledger")
    add_spoke(site, server, f"e{site.uid}", f"h{site.uid}", site.ledger)


def add_spoke(site: Site, server: Postgres, spoke: str, back: str, url: str) -> None:
    """A spoke, whose changes come back by the target `back`; `url` is a superuser's."""
    hub_database, database = (one.rpartition("/")[2] for one in (site.primary, url))
    tables = {
        f"public.{table}": {
            "local": ["updated_at", *OWN.get(table, ())],
            "both_ways": True,
            "updated_at": "updated_at",
        }
        for table in domain.ROUTED_TABLES
    }
    site.values["targets"] |= {
        spoke: {"url": server.dsn(database, domain.APPLY, PASSWORD), "source": site.source, "tables": tables},
        back: {"url": server.dsn(hub_database, domain.APPLY, PASSWORD), "source": spoke},
    }
    site.values["sources"][spoke] = {
        "url": server.dsn(database, domain.CAPTURE, PASSWORD),
        "slot": f"placemat_{spoke}",
        "tables": [f"public.{table}" for table in domain.ROUTED_TABLES],
    }
    site.write()
