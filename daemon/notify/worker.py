"""The worker that looks for what waits and nobody was told of: conflicts, and what the hub refuses. It reads and marks:
nothing ever waits for it."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta

import structlog
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential
from tenacity.nap import sleep_using_event

from connectors.conflicts import Filter, Refusal, Rulings, Waiting, Waitlist
from connectors.contract import TryAgain
from daemon.config.settings import Settings
from daemon.conflicts.desk import Desk
from daemon.errors import OperatorError, Unavailable
from daemon.notify.channels import Channel, NotTold, channels
from daemon.notify.message import compose, first
from daemon.observe import metrics
from daemon.supervisor import Report

LOOK_SECONDS = 5.0
APART_SECONDS = 60.0
"""Least time between two messages."""
ATTEMPTS = 4
ANY = Filter()

Opening = Callable[[Settings, str], AbstractContextManager[tuple[Rulings, Waitlist]]]
log = structlog.get_logger(__name__)


class NotifyWorker:
    """See `daemon.supervisor.Worker`. `opening` connects to a hub, `clock` tells the time of day."""

    def __init__(
        self, settings: Settings, hub: str, opening: Opening, *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        look_seconds: float = LOOK_SECONDS, apart_seconds: float = APART_SECONDS, longest_delay_seconds: float = 10,
    ) -> None:  # fmt: skip
        self._settings = settings
        self._hub = hub
        self._opening = opening
        self._clock = clock
        self._look_seconds = look_seconds
        self._apart = timedelta(seconds=apart_seconds)
        self._longest_delay_seconds = longest_delay_seconds
        self._channels: Sequence[Channel] = tuple(channels(settings.notify))
        self._again = timedelta(hours=settings.notify.again_hours)

    @property
    def name(self) -> str:
        return f"notify:{self._hub}"

    def run(self, stop: threading.Event, report: Report) -> None:
        try:
            with self._opening(self._settings, self._hub) as (rulings, waitlist):
                desk = Desk(self._settings, self._hub, rulings, waitlist)
                while not waitlist.alone(self.name):
                    report("standby", None)
                    if stop.wait(self._look_seconds):
                        return
                self._look(desk, stop, report)
        except (OperatorError, TryAgain) as error:
            # The hub may come back, tables may be made and locks end: nobody has to start this again.
            raise Unavailable(str(error)) from error

    def _look(self, desk: Desk, stop: threading.Event, report: Report) -> None:
        fault: str | None = None
        told_at: datetime | None = None
        while not stop.is_set():
            report("running", fault)
            now = self._clock()
            metrics.CONFLICTS_WAITING.labels(self._hub).set(
                desk.waitlist.count(ANY) + desk.waitlist.refusals.count(ANY)
            )
            if told_at is None or not timedelta(0) <= now - told_at < self._apart:
                due = self._due(desk, now - self._again)
                if due:
                    fault, told_at = self._tell(desk, due, stop, report), now
            stop.wait(self._look_seconds)

    def _due(self, desk: Desk, told_before: datetime) -> list[Waiting | Refusal]:
        """What the hub refuses may be taken a moment later: it is told of once it has waited for a whole look."""
        waitlist = desk.waitlist
        return [*waitlist.untold(told_before), *waitlist.refusals.untold(told_before, self._look_seconds)]

    def _tell(self, desk: Desk, due: Sequence[Waiting | Refusal], stop: threading.Event, report: Report) -> str | None:
        """Returns what went wrong, a sentence; who was told by one way is not told again because another has failed."""
        find = desk.waitlist.refusals.find
        named = [find(one.number) or one if isinstance(one, Refusal) else one for one in first(due)]
        message = compose(self._hub, due, desk.titles(named, of_routes=True))
        message_id = uuid.uuid4().hex
        faults: list[str] = []
        for channel in self._channels:
            try:
                self._attempts(stop, report)(channel.send, message, message_id)
            except NotTold as error:
                metrics.NOTIFICATION_FAILURES.labels(self._hub, channel.name).inc()
                log.warning("nobody could be told of conflicts", hub=self._hub, channel=channel.name, error=str(error))
                faults.append(str(error))
            else:
                metrics.NOTIFICATIONS.labels(self._hub, channel.name).inc()
        if len(faults) < len(self._channels):
            now = self._clock()
            desk.waitlist.told([one for one in due if isinstance(one, Waiting)], now)
            desk.waitlist.refusals.told([one for one in due if isinstance(one, Refusal)], now)
        return f"The last message of waiting conflicts did not arrive: {'; '.join(faults)}." if faults else None

    def _attempts(self, stop: threading.Event, report: Report) -> Retrying:
        return Retrying(
            retry=retry_if_exception(lambda error: isinstance(error, NotTold) and error.passing and not stop.is_set()),
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_random_exponential(0.5, max=self._longest_delay_seconds),
            sleep=sleep_using_event(stop),
            before_sleep=lambda _: report("running", "Somebody is being told of waiting conflicts."),
            reraise=True,
        )
