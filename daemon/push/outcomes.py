"""What has come of a key, stored in the mirror."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

import structlog

from connectors.pushing import Due, Mirror, Over
from connectors.service import NotDone, Remote
from daemon.push import settling
from daemon.push.forms import Forms
from daemon.push.plan import Step
from daemon.resolve.rules import Rules
from schemas.resolution import Fields

LONGEST_BACKOFF_SECONDS = 300.0

log = structlog.get_logger(__name__)


class Outcomes:
    """One worker's. `rules` are of the tables that go both ways."""

    def __init__(
        self, mirror: Mirror, forms: Forms, spoke: str, rules: Mapping[str, Rules],
        now: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self._mirror = mirror
        self._forms = forms
        self._spoke = spoke
        self._rules = rules
        self._now = now
        self.failures = 0
        """Requests in a row that have not come through."""

    def done(
        self, due: Due, step: Step, remote: Remote | None, details: Mapping[str, Any], unsure: Iterable[str] = ()
    ) -> None:
        """It was carried out."""
        self.failures = 0
        table = due.lease.key.table
        if remote is not None and (remote.gone or step.operation == "delete"):
            remote = None  # a service that has a trash answers with what is in it
        if table not in self._rules:
            self._mirror.record(settling.one_way(due, step, remote, details))
            return
        response = None if remote is None else self._forms.current(due.lease.key, remote)
        told = settling.both_ways(self._spoke, due, step, remote, response, details, sorted(unsure))
        self._mirror.record(told)

    def nothing(self, due: Due, step: Step, remote: Remote | None, current: Fields | None) -> None:
        """Nothing is asked for; what is held back is reported, and the hub will answer."""
        if step.two_way is None:
            one_way = due.lease.key.table not in self._rules
            told = (
                settling.one_way(due, step, None, {})
                if one_way
                else settling.both_ways(self._spoke, due, step, None, None, {})
            )
            self._mirror.record(told)
            return
        planned, over = step.two_way.plan, Over(due.seen)
        if planned.held or planned.action in ("hold", "born"):
            self.report(due, remote, current, planned.held)
            over = Over(current)
        told = settling.both_ways(self._spoke, due, step, remote, current, {})
        self._mirror.record(replace(told, over=over))

    def report(
        self, due: Due, remote: Remote | None, row: Fields | None, held: Collection[str], unsure: Collection[str] = ()
    ) -> None:
        """The hub is told of the row as it was read, while it stays leased."""
        moment = round(self._now() * 1_000_000)
        self._mirror.saw(due.lease, settling.report(due, remote, row, moment, held, unsure), Over(due.seen))

    def failed(self, due: Due, what: NotDone) -> None:
        """Nothing is known to be carried out; it is tried again later."""
        self.failures += not what.paced
        wait = what.seconds if what.seconds is not None else min(2.0**due.lease.attempts, LONGEST_BACKOFF_SECONDS)
        log.warning("service did not answer as it should", target=self._spoke, table=due.lease.key.table, why=what.why)
        self._mirror.postpone([due.lease], 0.0 if what.paced and what.seconds is None else wait, tried=not what.paced)
