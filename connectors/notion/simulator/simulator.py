"""The whole: a workspace, its API over HTTP, its people, its webhooks and what goes wrong."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Self

from connectors.notion.simulator.answering import Answering
from connectors.notion.simulator.exchange import Exchange, Seen
from connectors.notion.simulator.faults import Faults
from connectors.notion.simulator.oauth import OAuth
from connectors.notion.simulator.people import People
from connectors.notion.simulator.rates import Rates
from connectors.notion.simulator.server import Server
from connectors.notion.simulator.settings import Clock, Settings, machine_clock
from connectors.notion.simulator.store import Store
from connectors.notion.simulator.webhooks import Webhooks
from connectors.notion.simulator.workspace import furnish

TOKEN = "ntn_simulator"
EVERY = 0.2
"""Seconds between two looks for webhooks that are due."""


class NotionSimulator:
    """A context manager: the server runs inside. `token` is that of `connection`, a bot that sees everything.

    `furnished`: with the eight databases of the community platform. `delivers`: webhooks are sent as they come due;
    otherwise `webhooks.deliver_due()` sends them. `port` 0 takes a free one.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        clock: Clock = machine_clock,
        *,
        furnished: bool = True,
        delivers: bool = False,
        token: str = TOKEN,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        settings = settings or Settings()
        self.token = token
        self.store = Store(settings, clock)
        self.connection = self.store.add_connection("Placemat", token)
        self.people = People(self.store)
        self.rates = Rates(settings)
        self.faults = Faults(settings.seed)
        self.oauth = OAuth(self.store)
        self.webhooks = Webhooks(self.store, settings.seed)
        self.sources = furnish(self.store) if furnished else {}
        self.answering = Answering(self.store, self.oauth, self.rates, self.faults)
        self._delivers = delivers
        self._delivering: threading.Thread | None = None
        self._address = (host, port)
        self._server: Server | None = None

    def start(self) -> Self:
        """Raises OSError when the port cannot be had."""
        self.answering.stopping.clear()
        self._server = Server(*self._address, self.answering.answer, self.store.clock, self.answering.stopping)
        self._address = (self._address[0], self._server.server_address[1])
        if self._delivers:
            self._delivering = threading.Thread(target=self._deliver, name="notion-webhooks", daemon=True)
            self._delivering.start()
        return self

    def stop(self) -> None:
        """Started again, it has the same address and all that it held. Raises what went wrong in it, if anything."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        if self._delivering is not None:
            self._delivering.join()
        if server.failures:
            raise ExceptionGroup("the simulator failed", [one for one in server.failures if isinstance(one, Exception)])

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _deliver(self) -> None:
        while not self.answering.stopping.wait(EVERY):
            self.webhooks.deliver_due()

    @property
    def url(self) -> str:
        """Without the `/v1`."""
        host, port = self._address
        return f"http://{host}:{port}"

    @property
    def log(self) -> list[Seen]:
        with self.store.lock:
            return list(self.answering.log)

    def observe(self, observer: Callable[[Exchange], None]) -> None:
        """`observer` is told each request with its answer before the answer goes out."""
        self.answering.observers.append(observer)

    def counts(self) -> Counter[str]:
        """How many requests of each route came in."""
        return Counter(seen.route for seen in self.log)

    def statuses(self) -> Counter[int | None]:
        """How many got which status, None for those without a whole answer."""
        return Counter(seen.status for seen in self.log)

    def done(self, route: str) -> int:
        """How many requests of a route were carried out, whatever was answered."""
        return sum(seen.done for seen in self.log if seen.route == route)
