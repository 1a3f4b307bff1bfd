"""What the worker `audit:<target>` says of itself: that it runs, and whether Kafka takes the heads of the log."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

import structlog

from daemon.audit.heads.kept import Heads
from daemon.broker import KafkaUnavailable
from daemon.observe import metrics
from daemon.supervisor import Report

REPORT_SECONDS = 15.0
log = structlog.get_logger(__name__)


class ReportedHeads:
    """Publishes heads. Where Kafka does not take them, that is told, and events are entered as before: their values
    would be lost with Kafka's retention. Raises psycopg.Error."""

    def __init__(self, heads: Heads, target: str, report: Report, clock: Callable[[], float] = time.monotonic) -> None:
        self._heads = heads
        self._target = target
        self._report = report
        self._clock = clock
        self._fault: str | None = None
        self._reported_at = float("-inf")

    def report(self) -> None:
        """A sign of life."""
        self._reported_at = self._clock()
        self._report("running", f"Heads are not published: {self._fault}" if self._fault is not None else None)

    def tick(self) -> None:
        """Publish if it is time, and report if it is time, or if there is news."""
        fault = self._fault
        try:
            if self._heads.tick():
                fault = None
                metrics.AUDIT_HEADS_FAILING.labels(self._target).set(0)
        except KafkaUnavailable as error:
            fault = str(error)
            metrics.AUDIT_HEADS_FAILING.labels(self._target).set(1)
        news, self._fault = fault != self._fault, fault
        if news or self._clock() - self._reported_at > REPORT_SECONDS:
            self.report()

    def finish(self) -> None:
        """Publish the last head, so that who stops the daemon leaves nothing untold; unless Kafka takes none."""
        if self._fault is None:
            try:
                self._heads.publish()
            except KafkaUnavailable as error:
                log.warning("last head of the audit log was not published", target=self._target, error=str(error))

    def close(self) -> None:
        self._heads.close()
        with suppress(KeyError):
            metrics.AUDIT_HEADS_FAILING.remove(self._target)
