"""A site with a service among its targets, and the mirror of that service."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from daemon import wiring
from daemon.supervisor import Worker
from schemas import domain
from tests.fix_servers import Kafka, Postgres, databases
from tests.fix_site import PASSWORD, Site, made_site
from tests.streams import Stream, taken
from tests.supervised import Supervised
from tests.waiting import until

Connection = psycopg.Connection[Any]
WORKSPACE = uuid.UUID("5c1e6c1a-8c1c-4b7e-9f0e-0d5b8f1f7a11")
"""Is there."""
PROJECTS = {
    "table": "public.projects",
    "data_source": "projects",
    "both_ways": True,
    "updated_at": "updated_at",
    "defaults": {"workspace_id": str(WORKSPACE)},
    "fields": {
        "name": {"property": "title"},
        "status": {"property": "Status"},
        "budget": {"property": "Budget"},
        "starts_on": {"property": "Start"},
    },
}
STORIES = {
    "table": "public.stories",
    "data_source": "stories",
    "where": "privacy = 'public' AND storyteller.consent_given = true",
    "parents": {"storyteller": "public.storytellers"},
    "fields": {"title": {"property": "title"}, "content": {"property": "Text"}},
}


@dataclass
class Mirrored:
    """`hub` and `mirror` are superusers' connections."""

    site: Site
    url: str
    hub: Connection
    mirror: Connection

    @property
    def name(self) -> str:
        return f"n{self.site.uid}"

    @property
    def back(self) -> str:
        """The target that brings back to the hub."""
        return f"b{self.site.uid}"

    def entity(self, name: str, **values: Any) -> None:
        self.site.values["targets"][self.name]["entities"][name] = values
        self.site.write()

    def init(self) -> None:
        done = self.site.placemat("init")
        assert done.code == 0, done.err

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

    def settled(self, seconds: float = 30.0) -> bool:
        """Whether nothing waits in the mirror, also once all that was on its way was taken by it and by the hub."""
        source = self.site.source
        taken([Stream(source, self.hub, [self.mirror]), Stream(self.name, self.mirror, [self.hub])], seconds)
        taken([Stream(source, self.hub, [self.mirror])], seconds)
        left = "SELECT (SELECT count(*) FROM placemat.dirty) + (SELECT count(*) FROM placemat.queue)"
        return self.run(left) == [(0,)]

    def run(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """In the mirror."""
        cursor = self.mirror.execute(statement.encode(), values)
        return cursor.fetchall() if cursor.description else []

    def until(self, statement: str, expected: list[tuple[Any, ...]], seconds: float = 30.0) -> None:
        """The mirror answers so."""
        try:
            until(lambda: self.run(statement) == expected, seconds)
        except AssertionError:
            assert self.run(statement) == expected
            raise


@pytest.fixture
def mirrored(postgres_server: Postgres, kafka_server: Kafka, tmp_path: Path) -> Iterator[Mirrored]:
    """Projects go both ways, stories outward. Nothing is prepared."""
    with made_mirrored(postgres_server, kafka_server, tmp_path) as found:
        yield found


@contextmanager
def made_mirrored(postgres_server: Postgres, kafka_server: Kafka, directory: Path) -> Iterator[Mirrored]:
    """See `mirrored`."""
    with (
        databases(postgres_server) as make,
        made_site(postgres_server, kafka_server, make, directory / "placemat.toml") as site,
    ):
        url = make("mirror")
        site.values["targets"] = {
            f"n{site.uid}": {
                "kind": "notion", "url": url, "source": site.source, "auth": {"kind": "token", "token": "t"},
                "entities": {"projects": dict(PROJECTS), "stories": dict(STORIES)},
            },
            f"b{site.uid}": {
                "url": postgres_server.dsn(site.primary.rpartition("/")[2], domain.APPLY, PASSWORD),
                "source": f"n{site.uid}",
            },
        }  # fmt: skip
        site.write()
        with psycopg.connect(site.primary, autocommit=True) as hub, psycopg.connect(url, autocommit=True) as mirror:
            hub.execute("INSERT INTO workspaces (id, name, slug) VALUES (%s, 'Commons', 'commons')", [WORKSPACE])
            yield Mirrored(site, url, hub, mirror)
