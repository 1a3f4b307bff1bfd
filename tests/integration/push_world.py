"""Rows of a mirror, a service in memory that they are told to, and what may come of its writes."""

from __future__ import annotations

import json
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest

from connectors.contract import Destination, Routing
from connectors.mirroring import Mirrored
from connectors.postgres import bookkeeping
from connectors.postgres.bookkeeping import Request
from connectors.postgres.mirror.dead_letters import MirrorDeadLetters
from connectors.postgres.mirror.store import MirrorStore
from connectors.postgres.mirror.tables import install
from connectors.pushing import Key
from connectors.service import (
    Done,
    Exhausted,
    Found,
    Gone,
    InTheTrash,
    NotDone,
    Read,
    Refused,
    Remote,
    Rows,
    Search,
    Unknown,
    Written,
)  # fmt: skip
from daemon.push.pusher import Pusher
from daemon.push.recovery import LANDED_SECONDS
from schemas import domain, outbox
from schemas.resolution import Fields

STORYTELLERS = Mirrored("public.storytellers", "id", ["name"], seen=False)
STORIES = Mirrored(
    "public.stories",
    "id",
    ["title", "storyteller_id"],
    seen=False,
    references={"storyteller_id": "public.storytellers"},
)


@dataclass
class Records:
    """A service in memory: it stores texts of at most 20 characters, and answers as it is told to."""

    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    tables: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    trash: set[str] = field(default_factory=set)
    asked: list[tuple[str, str]] = field(default_factory=list)
    script: list[Callable[[Callable[[], Written]], Written]] = field(default_factory=list)
    """What comes of the next writes, each given what carries it out."""
    moment: int = 1

    def room(self) -> None:
        return None

    def references(self, table: str, rows: Iterable[Fields]) -> set[tuple[str, str]]:
        return {
            ("public.storytellers", value)
            for row in rows
            if table == "public.stories" and (value := row.get("storyteller_id")) is not None
        }

    def shown(self, table: str, row: Fields, rows: Rows) -> Mapping[str, Any]:
        shown = {name: None if value is None else json.loads(value) for name, value in row.items() if name != "id"}
        if table == "public.stories" and ("public.storytellers", row.get("storyteller_id")) not in rows:
            shown.pop("storyteller_id", None)
        return {name: value[:20] if isinstance(value, str) and name != "storyteller_id" else value
                for name, value in shown.items()}  # fmt: skip

    def read(self, table: str, remote_id: str) -> Read:
        self.asked.append(("read", remote_id))
        return Done(self._remote(remote_id) if remote_id in self.tables[table] else None)

    def several(self, table: str, records: Mapping[str, str]) -> Search:
        found = [self._remote(one) for one in records if one in self.tables[table]]
        return Found([one for one in found if one is not None])

    def find(self, table: str, key: str) -> Search:
        self.asked.append(("find", key))
        found = [self._remote(one) for one in self.tables[table] if self.records[one]["key"] == key]
        return Found([one for one in found if one is not None])

    def create(self, table: str, key: str, row: Fields, rows: Rows, latest: float) -> Written:
        def carry_out() -> Written:
            remote_id = f"r{len(self.records) + 1}"
            self.records[remote_id] = {"key": key, **self.shown(table, row, rows)}
            self.tables[table].add(remote_id)
            return Done(self._remote(remote_id), "q")

        return self._write("create", key, carry_out, latest)

    def update(
        self, table: str, remote_id: str, row: Fields, rows: Rows, version: str | None, latest: float
    ) -> Written:
        def carry_out() -> Written:
            assert version is None or int(version) <= self.moment
            if remote_id not in self.records:
                return Gone()
            if remote_id in self.trash:
                return InTheTrash()
            self.records[remote_id] |= self.shown(table, row, rows)
            return Done(self._remote(remote_id), "q")

        return self._write("update", remote_id, carry_out, latest)

    def delete(self, table: str, remote_id: str, version: str | None, latest: float) -> Written:
        def carry_out() -> Written:
            assert remote_id in self.tables[table]
            assert version is not None, "it was read or written before"
            self.trash.add(remote_id)
            return Done(None, "q")

        return self._write("delete", remote_id, carry_out, latest)

    def restore(self, table: str, remote_id: str, latest: float) -> Written:
        def carry_out() -> Written:
            assert remote_id in self.tables[table]
            self.trash.discard(remote_id)
            return Done(self._remote(remote_id), "q") if remote_id in self.records else Gone()

        return self._write("restore", remote_id, carry_out, latest)

    def _write(self, verb: str, name: str, carry_out: Callable[[], Written], latest: float) -> Written:
        assert 0 < latest - time.monotonic() < LANDED_SECONDS, "nothing is on its way when somebody looks"
        self.asked.append((verb, name))
        return self.script.pop(0)(carry_out) if self.script else carry_out()

    def _remote(self, remote_id: str) -> Remote | None:
        if remote_id not in self.records:
            return None
        self.moment += 1
        record = dict(self.records[remote_id])
        return Remote(remote_id, str(self.moment), record, record.pop("key"), self.moment, remote_id in self.trash)


@dataclass
class World:
    service: Records
    connection: psycopg.Connection[Any]
    pusher: Callable[[], Pusher]
    stores: list[MirrorStore] = field(default_factory=list)

    def run(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        cursor = self.connection.execute(statement.encode(), values)
        return cursor.fetchall() if cursor.description else []

    def teller(self, name: str) -> uuid.UUID:
        key = uuid.uuid4()
        self.run("INSERT INTO wanted.storytellers (id, name) VALUES (%s, %s)", [key, name])
        self.run(
            "INSERT INTO placemat.queue_events VALUES ('t', 0, (SELECT count(*) FROM placemat.queue_events), %s, %s)",
            [*row_key("public.storytellers", key)],
        )
        return key

    def push(self, turns: int = 1) -> None:
        for _ in range(turns):
            self.pusher().turn()

    def due_now(self) -> None:
        """Time passes."""
        self.run("UPDATE placemat.queue SET due = clock_timestamp(), leased_until = NULL")
        self.run("UPDATE placemat.intents SET at = at - interval '2 min'")

    def ask(self, request: Request) -> None:
        """As an operator does of all that is refused."""
        tables = [STORYTELLERS, STORIES]
        dead_letters = MirrorDeadLetters(self.connection, "notion", "primary", tables)
        numbers = [number for (number,) in self.run("SELECT number FROM placemat.queue WHERE refused_at IS NOT NULL")]
        assert dead_letters.ask(numbers, request) == numbers != []

    def queue(self) -> int:
        return int(self.run("SELECT count(*) FROM placemat.queue")[0][0])

    def outcomes(self) -> list[tuple[str, Mapping[str, Any]]]:
        found = [outbox.decode(events) for (events,) in self.run("SELECT events FROM placemat.outbox ORDER BY id")]
        self.run("DELETE FROM placemat.outbox")
        return [(change.outcome, change.details) for one in found for change in one.changes]

    def names(self) -> list[Any]:
        service = self.service
        return sorted(
            one.get("name", one.get("title")) for id_, one in service.records.items() if id_ not in service.trash
        )


def row_key(table: str, key: uuid.UUID) -> Key:
    return Key(table, f'{{"id":"{key}"}}')


@pytest.fixture
def world(database_factory: Callable[[str], str]) -> Iterator[World]:
    url, service = database_factory("mirror"), Records()
    tables = [STORYTELLERS, STORIES]
    routes = {one.table: Routing(table=one.wanted, only=frozenset(["id", *one.columns])) for one in tables}
    stores: list[MirrorStore] = []
    with (
        psycopg.connect(database_factory("hub"), autocommit=True) as hub,
        psycopg.connect(url, autocommit=True) as mirror,
        ThreadPoolExecutor(3) as pool,
    ):
        domain.install_primary(hub)
        with mirror.transaction():
            bookkeeping.install(mirror)
            assert list(install(mirror, hub, "notion", tables)) == []
            mirror.execute(
                "INSERT INTO placemat.cursors (name, state) SELECT 'poll:' || t, '{}' FROM unnest(%s::text[]) t",
                [[one.table for one in tables]],
            )

        def pusher() -> Pusher:
            store = MirrorStore(Destination("notion", url, "primary", routes, audited=True), tables)
            store.open()
            stores.append(store)
            return Pusher(store, service, "notion", tables, {}, pool, 3)

        yield World(service, mirror, pusher)
        for store in stores:
            store.close()


def lost(carry_out: Callable[[], Written]) -> Written:
    """Carried out, and the answer is lost."""
    carry_out()
    return Unknown("the reply was lost")


def not_sent(_: Callable[[], Written]) -> Written:
    return NotDone("nobody answers")


def on_its_way(_: Callable[[], Written]) -> Written:
    return Unknown("it may arrive later")


def refused(_: Callable[[], Written]) -> Written:
    return Refused("validation_error", "name should be good", "q7")


def spent(_: Callable[[], Written]) -> Written:
    return Exhausted("5,000 calls a day", 99.0)


class Killed(BaseException):
    """What kills the process where nothing can be done about it."""


def killed(_: Callable[[], Written]) -> Written:
    raise Killed


def killed_after(carry_out: Callable[[], Written]) -> Written:
    carry_out()
    raise Killed
