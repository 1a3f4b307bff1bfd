"""The receiver of webhooks over a real mirror, and whoever sends it requests."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.client import HTTPConnection
from typing import Any

import psycopg
import pytest

from connectors.hooks import Hooks
from connectors.notion.hooks import NotionHooks
from connectors.notion.simulator.webhooks import sign
from connectors.postgres import bookkeeping
from connectors.postgres.mirror.hook_store import HookStore
from connectors.postgres.mirror.tables import install
from daemon.webhooks.bucket import Bucket
from daemon.webhooks.listener import USUAL, Listener
from daemon.webhooks.receiver import Receiver, Way
from daemon.webhooks.verification import Configured, Verification
from schemas import domain

SECRET = "secret_only_notion_knows_this"
SOURCE = "2f26ee68-df30-4251-aad4-8ddc420cba3d"
PROJECTS = "public.projects"
SECONDS = 20.0


def event(page: str, **changes: Any) -> bytes:
    told = {
        "id": str(uuid.uuid4()), "timestamp": datetime.now(UTC).isoformat(), "type": "page.properties_updated",
        "entity": {"id": page, "type": "page"}, "data": {"parent": {"data_source_id": SOURCE}},
    }  # fmt: skip
    return json.dumps(told | changes).encode()


def post(port: int, body: bytes, headers: Mapping[str, str], path: str = "/webhooks/notion") -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    with closing(connection):
        connection.request("POST", path, body, dict(headers))
        answer = connection.getresponse()
        assert answer.read() == b""
        return answer.status


@dataclass
class Heard:
    """`url` is that of the mirror; every target has the same."""

    url: str
    mirror: psycopg.Connection[Any]
    stack: ExitStack
    ways: dict[str, Way] = field(default_factory=dict)
    listener: Listener | None = None

    def way(self, name: str, hooks: Hooks, verification: Verification, rate: float = 1_000, url: str = "") -> None:
        marks = self.stack.enter_context(closing(HookStore(url or self.url, name, [PROJECTS])))
        self.ways[name] = Way(hooks, verification, marks, Bucket(rate))

    @property
    def port(self) -> int:
        """Listens from now on."""
        if self.listener is None:
            self.listener = self.stack.enter_context(closing(Listener("127.0.0.1", 0, Receiver(self.ways), USUAL)))
        return self.listener.port

    def notion(self, body: bytes, signature: str | None = None, path: str = "/webhooks/notion") -> int:
        signature = sign(SECRET, body) if signature is None else signature
        return post(self.port, body, {"X-Notion-Signature": signature}, path)

    def run(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        cursor = self.mirror.execute(statement.encode(), values)
        return cursor.fetchall() if cursor.description else []

    @property
    def dirty(self) -> list[tuple[Any, ...]]:
        """Table, record, and how often it was marked."""
        return self.run("SELECT table_name, remote_id, changes FROM placemat.dirty ORDER BY 1, 2")

    @property
    def deliveries(self) -> int:
        [(found,)] = self.run("SELECT count(*) FROM placemat.deliveries")
        return int(found)


@pytest.fixture
def bare(database_factory: Callable[[str], str]) -> Iterator[Heard]:
    """Nobody is heard yet."""
    from tests.integration.test_fetch import PROJECTS as TABLE

    url = database_factory("mirror")
    with ExitStack() as stack:
        hub = stack.enter_context(psycopg.connect(database_factory("hub"), autocommit=True))
        mirror = stack.enter_context(psycopg.connect(url, autocommit=True))
        domain.install_primary(hub)
        with mirror.transaction():
            bookkeeping.install(mirror)
            assert list(install(mirror, hub, "notion", [TABLE])) == []
        yield Heard(url, mirror, stack)


@pytest.fixture
def heard(bare: Heard) -> Heard:
    """Notion is, by a secret that is configured."""
    bare.way("notion", NotionHooks({PROJECTS: SOURCE}), Configured(SECRET))
    return bare
