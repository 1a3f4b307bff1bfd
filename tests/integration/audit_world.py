"""A target whose events are audited: a stream made by hand, a state database, and a relay."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event as Flag
from threading import Thread
from typing import Any

import psycopg
from psycopg.rows import dict_row

from daemon import broker
from daemon.audit.worker import AuditWorker
from daemon.config.settings import Settings
from daemon.wiring import outbox
from schemas.outbox import Outbox, decode
from schemas.topics import messages_topic
from tests.asking import ask
from tests.integration.apply_stream import World
from tests.waiting import until

DDL = """
CREATE TABLE parents (id bigint PRIMARY KEY, name text NOT NULL, note text, secret text, updated_by text);
CREATE TABLE children (id bigint PRIMARY KEY, parent bigint REFERENCES parents, note text);
"""
PARENTS, CHILDREN = "public.parents", "public.children"


@dataclass
class Audited:
    """`state` is the superuser's URL of the state database."""

    world: World
    settings: Settings
    state: str

    def outbox(self) -> list[Outbox]:
        """What waits for the relay."""
        return [decode(text) for (text,) in self.world.rows("SELECT events FROM placemat.outbox ORDER BY id")]

    def entries(self, where: str = "true") -> list[dict[str, Any]]:
        """The log with its values, oldest first; JSON is read."""
        query = f"""
            SELECT entry.*, content FROM placemat.audit_entries AS entry
            LEFT JOIN placemat.audit_values AS kept USING (sequence, month) WHERE {where} ORDER BY sequence
        """
        with psycopg.connect(self.state, row_factory=dict_row) as connection:
            rows = connection.execute(query.encode()).fetchall()
        for row in rows:
            row |= {name: json.loads(row[name]) for name in ("fields", "masked", "details")}
            row["content"] = json.loads(row["content"]) if row["content"] is not None else None
        return rows

    def relayed(self, seconds: float = 30) -> None:
        """Wait until nothing is left in the outbox."""
        until(lambda: not self.world.rows("SELECT 1 FROM placemat.outbox"), seconds, what="the outbox relayed")

    def sql(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """In the state database, as a superuser."""
        return ask(self.state, statement, values)


class Relaying:
    """A relay in a thread; `failure` is what it ended with."""

    def __init__(self, audited: Audited) -> None:
        settings, target = audited.settings, audited.world.target
        self.states: list[str] = []
        self.details: list[str | None] = []
        self.failure: BaseException | None = None
        self._stop = Flag()
        self._worker = AuditWorker(settings, target, lambda: outbox(settings, target))
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(15)
        assert not self._thread.is_alive(), "the relay did not stop"

    def _run(self) -> None:
        try:
            self._worker.run(self._stop, self._report)
        except BaseException as error:  # noqa: BLE001 the test looks at it
            self.failure = error

    def _report(self, state: str, detail: str | None) -> None:
        self.states.append(state)
        self.details.append(detail)


@contextmanager
def relaying(audited: Audited) -> Iterator[Relaying]:
    """A relay while the block lasts; a failure that the test has not looked at fails the test."""
    found = Relaying(audited)
    try:
        yield found
    except AssertionError as error:
        error.add_note(f"the relay: {found.states}, {found.failure!r}")
        raise
    finally:
        failed = found.failure
        found.stop()
    if failed is None and found.failure is not None:
        raise found.failure


def audited(world: World, state: str, **audit: Any) -> Audited:
    """The world with a state database of its own."""
    values = {
        "state": world.settings.state.model_validate({"url": state}),
        "audit": world.settings.audit.model_validate({"topic": f"audit-{world.source}", **audit}),
    }
    world.settings = world.settings.model_copy(update=values)
    kafka = world.settings.kafka
    broker.ensure(broker.reach(kafka), kafka, {world.settings.audit.topic: 1, messages_topic(world.source): 1})
    return Audited(world, world.settings, state)
