"""The worker that hears services; several may run, each on an address of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, closing

import structlog

from connectors.contract import TryAgain
from daemon.errors import OperatorError, Unavailable
from daemon.supervisor import Report
from daemon.webhooks.listener import USUAL, Bounds, Listener
from daemon.webhooks.receiver import Receiver, Way

REPORT_SECONDS = 15.0
FORGET_SECONDS = 3_600.0
NAME = "webhooks"

log = structlog.get_logger(__name__)
Opening = Callable[[], AbstractContextManager[Mapping[str, Way]]]


class WebhooksWorker:
    """See `daemon.supervisor.Worker`. `port` is the one that it listens on, while it does."""

    def __init__(self, opening: Opening, host: str, port: int, bounds: Bounds = USUAL) -> None:
        self._opening = opening
        self._address = host, port
        self._bounds = bounds
        self.port: int | None = None

    @property
    def name(self) -> str:
        return NAME

    def run(self, stop: threading.Event, report: Report) -> None:
        """See `daemon.supervisor.Worker`."""
        with self._opening() as ways:
            receiver = Receiver(ways)
            with closing(Listener(*self._address, receiver, self._bounds)) as listener:
                self.port = listener.port
                log.info("webhooks are received", host=self._address[0], port=listener.port, targets=sorted(ways))
                self._work(receiver, ways, listener, stop, report)
            receiver.tell()

    def _work(
        self, receiver: Receiver, ways: Mapping[str, Way], listener: Listener, stop: threading.Event, report: Report
    ) -> None:
        forgot = float("-inf")
        while not stop.is_set():
            if not listener.alive:
                raise Unavailable("nobody listens any more")
            report("running", None)
            receiver.tell()
            if time.monotonic() - forgot > FORGET_SECONDS:
                forgot = time.monotonic()
                _forget(ways)
            stop.wait(REPORT_SECONDS)


def _forget(ways: Mapping[str, Way]) -> None:
    for target, way in ways.items():
        try:
            way.marks.forget_old()
        except (Unavailable, TryAgain, OperatorError) as error:
            log.warning("old webhooks could not be forgotten", target=target, error=str(error))
