"""The demo's simulated Notion: it runs while the block runs, takes requests over HTTP, and counts them."""

from __future__ import annotations

from collections import Counter
from types import TracebackType
from typing import Self

from connectors.notion.simulator import NotionSimulator, Settings
from connectors.notion.simulator.exchange import Exchange
from connectors.notion.simulator.store import Store
from daemon.embedded.notion.person import Person
from daemon.embedded.notion.site import REQUESTS_PER_MINUTE, Workspace

THROTTLED = 429


class Office:
    """`ada` works there; `token` is hers."""

    def __init__(self) -> None:
        self._simulator = NotionSimulator(Settings(connection_per_minute=REQUESTS_PER_MINUTE))
        self._simulator.observe(self._count)
        self.token = self.store.add_personal_token(self._simulator.people.first)
        self.counts: Counter[str] = Counter()
        """Of the daemon's connection: requests, those that came too fast (throttled), and pages that were created,
        updated, trashed and restored."""

    def __enter__(self) -> Self:
        self._simulator.start()
        self.ada = Person(self._simulator.url, self.token)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._simulator.stop()

    @property
    def store(self) -> Store:
        return self._simulator.store

    @property
    def workspace(self) -> Workspace:
        sources = {name: one.id for name, one in self._simulator.sources.items()}
        return Workspace(self._simulator.url, self._simulator.token, sources)

    def _count(self, exchange: Exchange) -> None:
        seen = exchange.seen
        if seen.connection != self._simulator.connection.bot.id:
            return
        self.counts["requests"] += 1
        self.counts["throttled"] += seen.status == THROTTLED
        if seen.done and (what := _done(exchange)) is not None:
            self.counts[what] += 1


def _done(exchange: Exchange) -> str | None:
    if exchange.seen.route == "create_page":
        return "created"
    if exchange.seen.route != "update_page":
        return None
    trash = exchange.request.get("in_trash") if isinstance(exchange.request, dict) else None
    return "updated" if trash is None else "trashed" if trash else "restored"
