"""The worker that reads a service; of each target one at a time, others stand by."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import structlog

from connectors.contract import TryAgain
from connectors.fetching import Fetched
from connectors.mirroring import Mirrored
from connectors.service import Polled
from daemon.errors import Unavailable
from daemon.fetch.answers import NotAnswered
from daemon.fetch.fetcher import Fetcher
from daemon.fetch.listing import Listings
from daemon.fetch.strays import Sweeper
from daemon.push.request import Spent
from daemon.push.worker import rest
from daemon.supervisor import Report

STANDBY_SECONDS = 2.0
REPORT_SECONDS = 15.0
LOOK_SECONDS = 1.0
"""Between two looks whether to end, while nothing is to be read: polls may be an hour apart."""
PAUSE_SECONDS = 5.0
"""After an answer that did not come, where the service does not say how long to wait."""
BACKLOG_ROWS = 100
BACKLOG_POLL_SECONDS = 60.0
"""Between two polls while so many rows wait to be told."""

log = structlog.get_logger(__name__)
Opening = Callable[[threading.Event], AbstractContextManager[Polled]]


@dataclass(frozen=True, slots=True)
class Reader:
    """What a worker does in turn."""

    fetcher: Fetcher
    sweeper: Sweeper
    listings: Listings


class FetchWorker:
    """See `daemon.supervisor.Worker`."""

    def __init__(
        self, target: str, mirror: Callable[[], Fetched], opening: Opening, tables: Sequence[Mirrored],
        poll_seconds: float, sweep_seconds: float,
    ) -> None:  # fmt: skip
        self._target = target
        self._open_mirror = mirror
        self._opening = opening
        self._tables = tables
        self._poll_seconds = poll_seconds
        self._sweep_seconds = sweep_seconds
        self._polled_at = float("-inf")

    @property
    def name(self) -> str:
        return f"fetch:{self._target}"

    def run(self, stop: threading.Event, report: Report) -> None:
        """See `daemon.supervisor.Worker`."""
        mirror = self._open_mirror()
        try:
            mirror.open()
            while not mirror.alone():
                report("standby", None)
                if stop.wait(STANDBY_SECONDS):
                    return
            with self._opening(stop) as service:
                fetcher = Fetcher(mirror, service, self._target, self._tables)
                sweeper = Sweeper(mirror, service, self._target, fetcher.told)
                names = [one.table for one in self._tables]
                listings = Listings(mirror, service, self._target, names, self._sweep_seconds)
                self._work(Reader(fetcher, sweeper, listings), mirror, stop, report)
        except TryAgain as error:
            raise Unavailable(str(error)) from error
        finally:
            mirror.close()

    def _work(self, reader: Reader, mirror: Fetched, stop: threading.Event, report: Report) -> None:
        told = float("-inf")
        while not stop.is_set():
            if time.monotonic() - told > REPORT_SECONDS:
                told = time.monotonic()
                report("running", None)
            try:
                self._turn(reader, mirror)
            except NotAnswered as error:
                told = float("-inf")
                report("waiting", f"the service does not answer: {error}")
                stop.wait(error.seconds if error.seconds is not None else PAUSE_SECONDS)
            except Spent as error:
                told = float("-inf")
                rest(self._target, error, stop, report)

    def _turn(self, reader: Reader, mirror: Fetched) -> None:
        fetcher, polls = reader.fetcher, time.monotonic() - self._polled_at >= self._pause(mirror)
        if fetcher.look_through():
            mirror.notify_queue()
        if polls:
            fetcher.poll()
            self._polled_at = time.monotonic()
        if fetcher.read_dirty() + fetcher.claim() + reader.sweeper.sweep():
            return
        if not reader.listings.step(may_wait=not polls):
            left = self._polled_at + self._pause(mirror) - time.monotonic()
            mirror.wait(max(0.05, min(left, LOOK_SECONDS)))

    def _pause(self, mirror: Fetched) -> float:
        """Seconds between two polls. They tell our own writes too: where many rows wait, the quota is for those."""
        if mirror.waiting(BACKLOG_ROWS) < BACKLOG_ROWS:
            return self._poll_seconds
        return max(self._poll_seconds, BACKLOG_POLL_SECONDS)
