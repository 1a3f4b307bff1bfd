"""Requests go when the connection's quota lets them, whichever worker or process they come from."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol, TypeVar

import structlog

from connectors.errors import Unavailable
from connectors.http.answer import Left
from connectors.http.outcome import NotSent, Outcome
from connectors.http.quota import Granted, Parked, Quota, Wait, Window

LEASE_SECONDS = 300.0
"""More than any request takes. Who has not said by then how it has ended has died."""
LONGEST_SLEEP_SECONDS = 1.0
"""Then it is asked again: others may have given back what they did not use."""

T = TypeVar("T")
log = structlog.get_logger(__name__)


class QuotaExhausted(Exception):
    """The connection has no quota left until then: its work is parked, and nothing is asked before."""

    def __init__(self, connection: str, until: datetime) -> None:
        super().__init__(f"The quota of {connection} is used up until {until:%Y-%m-%d %H:%M:%S} UTC.")
        self.until = until


class Interrupted(Exception):
    """The worker is to end, and waits no more. Nothing was sent."""


class QuotaStore(Protocol):
    """Where the windows of connections are kept for all who share them."""

    def change(self, connection: str, change: Callable[[Window, float], T]) -> T:
        """Let `change` alter the connection's window while nobody else does, with the store's time in seconds since
        1970. What it did is kept when this returns. Raises Unavailable."""


class Pacing:
    """The quota of one connection, from any number of threads. `stop` ends every wait. `owner` is the worker, by the
    name that it has again after a restart: no two of that name make requests at the same time."""

    def __init__(
        self, store: QuotaStore, connection: str, quota: Quota, stop: threading.Event,
        *, owner: str = "", wait: Callable[[float], bool] | None = None,
    ) -> None:  # fmt: skip
        self._store = store
        self._connection = connection
        self._quota = quota
        self._owner = owner
        self._wait = wait or stop.wait
        self._stop = stop

    def begin(self) -> None:
        """The worker starts, and nobody else of its name is at work: requests under way when it died are over. Without
        this they hold their places until their leases are over. Raises Unavailable."""
        self._store.change(self._connection, lambda window, now: window.reclaim(self._quota, now, self._owner))

    def await_room(self) -> None:
        """Wait until a request may go at once, and take nothing; others may be faster. Raises as `take` does."""
        self.settle(self.take(), NotSent("nothing was to be sent yet"), Left())

    def take(self, units: int = 1) -> int:
        """Wait until so many units may go; the number of the grant.

        Raises QuotaExhausted when that is longer than one waits for, Interrupted, and Unavailable.
        """
        while True:
            if self._stop.is_set():
                raise Interrupted
            match self._store.change(
                self._connection,
                lambda window, now: window.take(self._quota, now, units, LEASE_SECONDS, self._owner),
            ):
                case Granted(number):
                    return number
                case Parked(until):
                    raise QuotaExhausted(self._connection, datetime.fromtimestamp(until, UTC))
                case Wait(seconds):
                    self._wait(min(seconds, LONGEST_SLEEP_SECONDS))

    def settle(self, number: int, outcome: Outcome, left: Left) -> None:
        """What a granted request has come to. That is known, whether or not it can be told: where the store does not
        answer, the grant counts until its lease is over."""
        chance = random.random()
        try:
            self._store.change(
                self._connection,
                lambda window, now: window.settle(self._quota, now, number, outcome, left, chance),
            )
        except Unavailable as error:
            log.warning("quota not told", connection=self._connection, error=str(error))
