"""Tells a service what waits in its mirror: looks, decides, stores what it is about to ask for, asks, and stores what
has come of it. Whatever dies in between, the next one finds the intent, and looks before it asks again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import replace

import structlog

from connectors.mirroring import Mirrored
from connectors.pushing import Due, LeaseLost, Mirror, Overtaken, Told
from connectors.service import Done, Exhausted, Gone, InTheTrash, Moved, NotDone, Refused, Service, Unknown, Written
from daemon.push import plan
from daemon.push.deciding import LOOK_AGAIN_SECONDS, Deciding
from daemon.push.forms import Forms
from daemon.push.looking import Looks
from daemon.push.outcomes import Outcomes
from daemon.push.plan import Step
from daemon.push.request import Spent, Task, ask, details
from daemon.resolve.rules import Rules
from schemas.outbox import DISCARDED

LEASE_SECONDS = 300.0
MOST_KEYS = 50
PARENT_SECONDS = 2.0
PATIENCE_SECONDS = 60.0
STAYS_IN_THE_TRASH = "its record, or what that is in, is in the trash, and does not come out of it"

log = structlog.get_logger(__name__)


class Pusher:
    """One worker's. `tables` are in the order in which rows refer to each other, parents first; `rules` are of those
    that go both ways."""

    def __init__(
        self, mirror: Mirror, service: Service, spoke: str, tables: Sequence[Mirrored], rules: Mapping[str, Rules],
        pool: Executor, concurrency: int, now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._mirror = mirror
        self._service = service
        self._spoke = spoke
        self._order = [one.table for one in tables]
        self._rules = rules
        self._forms = Forms(mirror, service, {one.table: one for one in tables})
        self._pool = pool
        self._concurrency = concurrency
        self._outcomes = Outcomes(mirror, self._forms, spoke, rules, now)
        self._deciding = Deciding(mirror, spoke, self._forms, rules, self._outcomes)
        self._looks = Looks(service, self._forms, rules, clock)

    @property
    def failures(self) -> int:
        """Requests in a row that have not come through."""
        return self._outcomes.failures

    def turn(self, most: int = MOST_KEYS) -> int:
        """Tell what is due, at most so many keys; how many there were. Ends early where the service does not answer.

        Raises Spent, with everything given back, and what mirror and service raise.
        """
        leases = self._mirror.lease(self._order, most, LEASE_SECONDS)
        left = {lease.key: lease for lease in leases}
        dues = self._mirror.load(leases)
        self._looks.begin(dues)
        try:
            for group in _groups(self._welcome(dues), self._concurrency):
                if not self._room():
                    break
                self._tell(group)
                for due in group:
                    left.pop(due.lease.key, None)
                if self.failures >= self._concurrency:
                    break
        except Spent:
            self._mirror.postpone(list(left.values()), 0.0, tried=False)
            raise
        self._mirror.postpone(list(left.values()), 0.0, tried=False)
        return len(leases)

    def _room(self) -> bool:
        """Wait until requests may be made: what is stored as intended is to be asked for at once."""
        match self._service.room():
            case Exhausted(why, until):
                raise Spent(why, until)
            case NotDone(paced=paced):
                self._outcomes.failures += 0 if paced else self._concurrency
                return False
            case None:
                return True

    # Which of them can be told now

    def _welcome(self, dues: Iterable[Due]) -> Iterator[Due]:
        """Without those that an operator has given up, and those whose parents have to be made before them."""
        for due in dues:
            if due.lease.request == "discard" and due.intent is None:
                with self._storing(due):
                    self._mirror.record(Told(due, due.linked, DISCARDED))
            elif due.intent is None and self._waits_for_parents(due):
                self._mirror.postpone([due.lease], PARENT_SECONDS, tried=False)
            else:
                yield due

    def _waits_for_parents(self, due: Due) -> bool:
        table = due.lease.key.table
        if due.wanted is None:
            return False
        missing = self._forms.missing(table, due.wanted, self._forms.rows(table, [due.wanted]))
        # Rows that name each other in a circle would wait for ever; one goes without, and is told again.
        return due.lease.age < PATIENCE_SECONDS and any([self._mirror.hurry(key) for key in missing])

    # One group, whose requests are made at the same time

    def _tell(self, group: Sequence[Due]) -> None:
        tasks: list[Task] = []
        spent: list[Spent] = []
        if self._looks.ahead:
            group = self._mirror.load([due.lease for due in group])
        self._looks.prepare(group)
        for due, look in zip(group, self._pool.map(self._looks.of, group), strict=True):
            with self._storing(due), _keeping(spent):
                if (task := self._deciding.decide(due, look)) is not None:
                    tasks.append(task)
        for task, answer in zip(tasks, self._pool.map(self._ask, tasks), strict=True):
            with self._storing(task.due), _keeping(spent):
                self._settle(task, answer)
        if spent:
            raise spent[0]

    @contextmanager
    def _storing(self, due: Due) -> Iterator[None]:
        """A key that another worker has by now is that one's to tell; one of which somebody has seen another state is
        looked at again."""
        try:
            yield
        except LeaseLost:
            log.info("another worker has the key by now", table=due.lease.key.table)
        except Overtaken:
            self._mirror.postpone([due.lease], 0.0, tried=False)

    def _ask(self, task: Task) -> Written:
        """In a thread of its own, as is a look."""
        return ask(self._service, task)

    def _settle(self, task: Task, answer: Written) -> None:
        due, step = task.due, task.step
        match answer:
            case Done(remote, request):
                self._outcomes.done(due, step, remote, details(step, request))
            case Gone() | InTheTrash() if step.operation == "delete":
                self._outcomes.done(due, step, None, details(step, None))
            case Gone() if step.operation == "create":
                self._forget(due)
            case InTheTrash() if step.operation == "create":
                self._mirror.refuse(due, "in_trash", STAYS_IN_THE_TRASH, details(step, None), linked=due.linked)
            case Gone() | InTheTrash():
                self._lost(due)
            case Moved():
                self._mirror.withdraw(due.lease)
                self._mirror.postpone([due.lease], 0.0, tried=True)
            case NotDone() as not_done:
                self._mirror.withdraw(due.lease)
                self._outcomes.failed(due, not_done)
            case Unknown(why, remote_id):
                self._unknown(due, step, why, remote_id)
            case Refused(code, reason, request):
                self._outcomes.failures = 0
                self._mirror.refuse(due, code, reason, details(step, request), linked=due.linked)
            case Exhausted(why, until):
                self._mirror.withdraw(due.lease)
                raise Spent(why, until)

    def _lost(self, due: Due) -> None:
        """Somebody has deleted the record, or put it into the trash. Of a row that goes both ways the hub hears of it;
        any other is made again."""
        if due.lease.key.table in self._rules:
            self._mirror.withdraw(due.lease)
            self._outcomes.report(due, None, None, ())
            self._mirror.postpone([due.lease], PARENT_SECONDS, tried=True)
            return
        self._mirror.withdraw(due.lease, plan.taken_away(due.linked))
        self._mirror.postpone([due.lease], 0.0, tried=True)

    def _forget(self, due: Due) -> None:
        """What was to be taken out of the trash is not there any more: the row gets another record."""
        self._mirror.withdraw(due.lease, replace(due.linked, remote_id=None, version=None, alive=False))
        self._mirror.postpone([due.lease], 0.0, tried=True)

    def _unknown(self, due: Due, step: Step, why: str, remote_id: str | None) -> None:
        """The intent stays. Where the service has named the record, that tells; else it is looked for before long."""
        if remote_id is not None and due.linked.remote_id is None:
            found = self._service.read(due.lease.key.table, remote_id)
            if isinstance(found, Done) and found.remote is not None:
                self._outcomes.done(due, step, found.remote, details(step, found.request))
                return
        self._outcomes.failed(due, NotDone(why, LOOK_AGAIN_SECONDS))


@contextmanager
def _keeping(spent: list[Spent]) -> Iterator[None]:
    """What others of the group have come to is stored all the same."""
    try:
        yield
    except Spent as error:
        spent.append(error)


def _groups(dues: Iterable[Due], size: int) -> Iterator[list[Due]]:
    group: list[Due] = []
    for due in dues:
        group.append(due)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
