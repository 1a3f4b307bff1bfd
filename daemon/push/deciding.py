"""From a leased key to the request that is made for it: what was seen of it, a plan, and its intent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from connectors.pushing import Due, Intent, Key, Mirror, Told
from connectors.service import Done, Exhausted, Found, NotDone, Remote
from daemon.push import plan, request
from daemon.push.forms import Forms
from daemon.push.looking import Look
from daemon.push.outcomes import Outcomes
from daemon.push.recovery import Anew, Later, Was, recovered
from daemon.push.request import Spent, Task, details
from daemon.resolve.rules import Rules
from schemas.outbox import DISCARDED
from schemas.resolution import Fields

LOOK_AGAIN_SECONDS = 8.0


class Deciding:
    """One worker's. `rules` are of the tables that go both ways."""

    def __init__(
        self, mirror: Mirror, spoke: str, forms: Forms, rules: Mapping[str, Rules], outcomes: Outcomes,
    ) -> None:  # fmt: skip
        self._mirror = mirror
        self._spoke = spoke
        self._forms = forms
        self._rules = rules
        self._outcomes = outcomes

    def decide(self, due: Due, look: Look) -> Task | None:
        """What is to be asked for, with its intent stored. None: nothing, and that is stored. Raises Spent."""
        remote: Remote | None = None
        match look:
            case NotDone() as not_done:
                self._outcomes.failed(due, not_done)
                return None
            case Exhausted(why, until):
                raise Spent(why, until)
            case Done(found):
                remote = found
            case Found(several):
                remote = self._own(due.lease.key, several)
            case None:
                pass
        trashed: str | None = None
        if remote is not None and remote.gone:
            trashed, remote = remote.id, None
        current = None if remote is None else self._forms.current(due.lease.key, remote)
        if due.intent is not None:
            return self._recover(due, recovered(due, due.intent, remote, current, trashed), remote, current)
        return self.plan(due, remote, current)

    def _own(self, key: Key, several: Sequence[Remote]) -> Remote | None:
        """The first of these that is not another row's: people can give a record any key."""
        others = self._mirror.keys_of(key.table, [one.id for one in several])
        return next((one for one in several if others.get(one.id, key.text) == key.text), None)

    def plan(self, due: Due, remote: Remote | None, current: Fields | None) -> Task | None:
        """As `decide`, by the record as it is now."""
        table = due.lease.key.table
        wanted = [] if due.wanted is None else [due.wanted]
        rows = self._forms.rows(table, wanted)
        shown = None if due.wanted is None else self._forms.shown(due.lease.key, due.wanted, rows)
        if table in self._rules:
            step = plan.both_ways(self._spoke, due, shown, current, self._rules[table])
        else:
            step = plan.outward(due, shown)
        if step.operation is None:
            self._outcomes.nothing(due, step, remote, current)
            return None
        latest = request.latest()  # not of when it is known to be stored: who stands still may learn that late
        self._mirror.intend(due.lease, Intent(step.operation, due.linked.remote_id, step.content))
        return Task(due, step, rows, latest)

    def _recover(
        self, due: Due, found: Later | Anew | Was, remote: Remote | None, current: Fields | None
    ) -> Task | None:
        """By what the service has now: whether that was carried out which somebody was about to ask for."""
        match found:
            case Later():
                self._mirror.postpone([due.lease], LOOK_AGAIN_SECONDS, tried=False)
                return None
            case Was(other, step, unsure):
                self._outcomes.done(other, step, remote, details(step, None), unsure)
                return None
            case Anew(other, unsure):
                # With what was found: whoever dies here leaves no record behind that nobody knows of.
                self._mirror.withdraw(due.lease, other.linked)
                if unsure:
                    self._outcomes.report(due, remote, current, unsure, unsure)
                if due.lease.request == "discard":
                    self._mirror.record(Told(other, other.linked, DISCARDED))
                    return None
                return self.plan(other, remote, current)
