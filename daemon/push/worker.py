"""The worker that tells a service what waits in its mirror. Several of them share the work, key by key."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta

import pybreaker
import structlog

from connectors.contract import TryAgain
from connectors.mirroring import Mirrored
from connectors.pushing import Mirror
from connectors.service import Service
from daemon.errors import Unavailable
from daemon.push.pusher import MOST_KEYS, Pusher
from daemon.push.request import Spent
from daemon.resolve.rules import Rules
from daemon.supervisor import Report

REPORT_SECONDS = 15.0
LOOK_SECONDS = 5.0
PROBE_SECONDS = 5.0
FAILURES_UNTIL_OPEN = 3
UNKNOWN_END_SECONDS = 3_600.0
"""A service that lets nothing through, nobody knows until when, is asked again after this."""

log = structlog.get_logger(__name__)

Opening = Callable[[threading.Event], AbstractContextManager[Service]]
"""The connection to the service; the event ends what it waits for."""


class NotAnswering(Exception):
    """The service has not answered any request of a turn."""


class _Opened(pybreaker.CircuitMemoryStorage):
    """When the breaker has opened, by a clock of ours: pybreaker compares it with that of the machine."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__(pybreaker.STATE_CLOSED)
        self._clock = clock
        self._at: float | None = None

    @property
    def opened_at(self) -> datetime | None:
        return None if self._at is None else datetime.now(UTC) - timedelta(seconds=self._clock() - self._at)

    @opened_at.setter
    def opened_at(self, _: datetime) -> None:
        self._at = self._clock()


class PushWorker:
    """See `daemon.supervisor.Worker`."""

    def __init__(
        self, target: str, mirror: Callable[[], Mirror], opening: Opening, tables: Sequence[Mirrored],
        rules: Mapping[str, Rules], concurrency: int, clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """`clock` is that of the breaker and of looks, in seconds."""
        self._target = target
        self._open_mirror = mirror
        self._opening = opening
        self._tables = tables
        self._rules = rules
        self._concurrency = concurrency
        self._clock = clock
        self._breaker = pybreaker.CircuitBreaker(
            fail_max=FAILURES_UNTIL_OPEN, reset_timeout=PROBE_SECONDS, state_storage=_Opened(clock)
        )

    @property
    def name(self) -> str:
        return f"push:{self._target}"

    def run(self, stop: threading.Event, report: Report) -> None:
        """See `daemon.supervisor.Worker`."""
        mirror = self._open_mirror()
        try:
            mirror.open()
            with self._opening(stop) as service, ThreadPoolExecutor(self._concurrency, self.name) as pool:
                pusher = Pusher(
                    mirror, service, self._target, self._tables, self._rules, pool, self._concurrency,
                    clock=self._clock,
                )  # fmt: skip
                self._work(pusher, mirror, stop, report)
        except TryAgain as error:
            raise Unavailable(str(error)) from error
        finally:
            mirror.close()

    def _work(self, pusher: Pusher, mirror: Mirror, stop: threading.Event, report: Report) -> None:
        told = float("-inf")
        while not stop.is_set():
            if time.monotonic() - told > REPORT_SECONDS:
                told = time.monotonic()
                report("running", None)
            try:
                if not self._breaker.call(self._turn, pusher):
                    mirror.wait(LOOK_SECONDS)
            except NotAnswering:
                pass  # counted
            except pybreaker.CircuitBreakerError:
                told = float("-inf")
                report("waiting", "the service does not answer")
                stop.wait(1.0)
            except Spent as error:
                told = float("-inf")
                rest(self._target, error, stop, report)

    def _turn(self, pusher: Pusher) -> int:
        """Only one key where nobody knows whether the service is back."""
        probing = self._breaker.current_state != pybreaker.STATE_CLOSED
        done = pusher.turn(1 if probing else MOST_KEYS)
        if done and pusher.failures >= min(done, self._concurrency):
            raise NotAnswering
        return done


def rest(target: str, spent: Spent, stop: threading.Event, report: Report) -> None:
    """Until the quota is there again; nothing is asked before."""
    until = time.time() + UNKNOWN_END_SECONDS if spent.until is None else spent.until
    log.warning("service lets nothing through", target=target, why=str(spent))
    at = datetime.fromtimestamp(until, UTC)
    while not stop.is_set() and (left := until - time.time()) > 0:
        report("waiting", f"{spent}; asked again at {at:%Y-%m-%d %H:%M:%S} UTC")
        stop.wait(min(left, REPORT_SECONDS))
