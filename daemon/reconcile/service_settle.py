"""Rows of a service that do not match, looked at one by one.

What waits in the queue, or was edited there and not read yet, is in flight, and waited for as long as anything moves.
It is a difference once two looks in a row have met the same row and the same record.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Protocol

import orjson

from connectors.mirroring import Mirrored
from connectors.pushing import Due, Key, Lease, Mirror
from connectors.service import Done, Exhausted, Found, NotDone, Polled, Read, Remote, Search, Service
from daemon.errors import OperatorError
from daemon.progress import Tracker
from daemon.push.forms import Forms
from daemon.push.request import key_value
from daemon.reconcile.report import Difference, TableReport, Values, Waits
from schemas.resolution import Fields

LOOKS = 20
PAUSE_SECONDS = 0.5


class Both(Service, Polled, Protocol):
    """Told, and asked."""


@dataclass(frozen=True, slots=True)
class ServiceSide:
    """A service and its mirror; `tables` are by the hub's names."""

    mirror: Mirror
    service: Both
    tables: Mapping[str, Mirrored]


Services = Callable[[str], AbstractContextManager[ServiceSide]]
"""By the target's name. Raises OperatorError where one cannot be reached."""
WaitsOf = Callable[[str, str], Waits | None]
"""Of a table and the value of a key, what a person has yet to decide."""
OnDifference = Callable[[Key, Difference], None]
Round = Callable[[], bool]
"""Wait until what was seen there so far has come to the source, and what that led to has come back to the mirror;
whether it has."""


@dataclass(frozen=True, slots=True)
class Look:
    """At one key. `flight`: something of it is on its way. `sign` is equal where nothing has changed since."""

    difference: Difference | None
    flight: bool = False
    sign: object = None


FLIGHT = Look(None, flight=True)


class ServiceSettler:
    """Of one service."""

    def __init__(
        self, name: str, side: ServiceSide, forms: Forms, tracker: Tracker, waits: WaitsOf, round_: Round, *,
        stall_seconds: float, show_values: bool, on_difference: OnDifference | None = None,
    ) -> None:  # fmt: skip
        """`on_difference` is told every difference, listed or not."""
        self._name = name
        self._side = side
        self._forms = forms
        self._tracker = tracker
        self._waits = waits
        self._round = round_
        self._stall_seconds = stall_seconds
        self._show_values = show_values
        self._on_difference = on_difference
        self.stalled = False
        """Whether what was in flight has stood still: nobody tells the service, or reads it."""

    def settle(self, report: TableReport, keys: Iterable[Key], several: Collection[Key] = ()) -> None:
        """Enter those that differ into the report; `several` are keys that more than one record was seen to hold.

        Raises OperatorError where the service does not answer.
        """
        self._several = several
        left = list(keys)
        signs: dict[Key, list[object]] = {key: [] for key in left}
        flying: set[Key] = set()
        moved_at = time.monotonic()
        while left:
            looks = self._looks(left)
            if (now := {key for key, look in looks.items() if look.flight}) != flying:
                flying, moved_at = now, time.monotonic()
            self.stalled = self.stalled or time.monotonic() - moved_at > self._stall_seconds
            left = [key for key in left if self._goes_on(report, key, looks[key], signs[key])]
            if not left:
                return
            if flying and not self.stalled:
                self._tracker.wait()
                time.sleep(PAUSE_SECONDS)
            self.stalled = not self._round() or self.stalled

    def _goes_on(self, report: TableReport, key: Key, look: Look, signs: list[object]) -> bool:
        """Whether nobody can tell yet."""
        if look.flight:
            return True
        if look.difference is None:
            return False
        signs.append(look.sign)
        if len(signs) > 1 and signs[-2] == signs[-1]:
            self._add(report, key, look.difference)
            return False
        if len(signs) == LOOKS:
            report.add_changing(_named(key))
            return False
        return True

    def _add(self, report: TableReport, key: Key, difference: Difference) -> None:
        [value] = difference.key.values()
        found = replace(difference, waits=self._waits(report.table, value))
        report.add(found)
        if self._on_difference is not None:
            self._on_difference(key, found)

    def _looks(self, keys: Sequence[Key]) -> dict[Key, Look]:
        queued = self._side.mirror.queued(keys)
        dues = self._side.mirror.load([Lease(key, 0, 0) for key in keys])
        return {due.lease.key: self._look(due, queued) for due in dues}

    def _look(self, due: Due, queued: Mapping[Key, int | None]) -> Look:
        key, moves = due.lease.key, not self.stalled
        parked = queued.get(key)
        if moves and key in queued and parked is None:
            return FLIGHT
        remotes = self._found(due)
        remote = remotes[0] if remotes else None
        current = None if remote is None else self._forms.current(key, remote)
        if moves and self._is_unread(due, current, remotes):
            return FLIGHT
        shown = None
        if due.wanted is not None:
            shown = self._forms.shown(key, due.wanted, self._forms.rows(key.table, [due.wanted]))
        found = _difference(key, shown, current, twice=len(remotes) > 1)
        if found is None:
            return Look(None)
        sign = found.kind, found.values, [(one.id, one.version) for one in remotes]
        values = found.values if self._show_values else None
        ids = tuple(one.id for one in remotes)
        return Look(replace(found, values=values, parked_id=parked, records=ids), sign=sign)

    def _is_unread(self, due: Due, current: Fields | None, remotes: Sequence[Remote]) -> bool:
        """Whether people have changed it since it was read, or made another of it."""
        table = due.lease.key.table
        if not self._side.tables[table].seen:
            return False
        if len(remotes) > len(self._side.mirror.keys_of(table, [one.id for one in remotes])):
            return True
        if current is None or due.seen is None:
            return current is not due.seen
        return any(due.seen.get(name) != value for name, value in current.items())

    def _found(self, due: Due) -> Sequence[Remote]:
        """Records that are there."""
        key, service, remote_id = due.lease.key, self._side.service, due.linked.remote_id
        answer: Read | Search
        if due.linked.alive and remote_id is not None and key not in self._several:
            answer = service.read(key.table, remote_id)
        else:
            answer = service.find(key.table, key_value(due))
        match answer:
            case Done(remote):
                return [] if remote is None or remote.gone else [remote]
            case Found(remotes):
                return [one for one in remotes if not one.gone]
            case _:
                raise away(self._name, answer)


def away(name: str, answer: NotDone | Exhausted) -> OperatorError:
    """Of a target whose service has not told."""
    return OperatorError(
        f"The service of target {name} does not answer: {answer.why}.", "Run the same again when it does."
    )


def _difference(key: Key, shown: Fields | None, current: Fields | None, *, twice: bool) -> Difference | None:
    if twice:
        return Difference(_named(key), "twice")
    if shown is None or current is None:
        if shown is current:
            return None
        return Difference(_named(key), "only_in_source" if current is None else "only_in_target")
    values = {
        name: Values(_text(value), _text(current.get(name)))
        for name, value in shown.items()
        if current.get(name) != value
    }
    return Difference(_named(key), "differs", tuple(values), values) if values else None


def _text(value: str | None) -> str | None:
    """As a database has it; a value of several parts stays JSON."""
    return str(orjson.loads(value)) if value is not None and value.startswith('"') else value


def _named(key: Key) -> dict[str, str]:
    return {name: str(value) for name, value in orjson.loads(key.text).items()}
