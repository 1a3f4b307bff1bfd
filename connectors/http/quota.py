"""How many requests a connection may make, and when the next may go: decided from what was granted, without a clock.

A service counts a request at some moment between its grant and its answer. So each request counts from its grant, or
from its answer where that takes longer than the margin, until the limit's seconds are over: in no window of that length
does the service meet more than it allows, however slow the way there is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime

import msgspec

from connectors.http.answer import Left
from connectors.http.outcome import LONG_WAIT_SECONDS, Exhausted, NotSent, Outcome, Throttled, Unanswered, Unknown

DAY_SECONDS = 86_400.0
PROBE_SECONDS = 3_600.0
"""A quota that is used up for nobody knows how long is tried again after this."""
POLL_SECONDS = 0.05
"""Until somebody else's request may have ended."""
LONGEST_BACKOFF_SECONDS = 60.0
_BUCKETS = 300
"""Of a limit's span: what falls into one of them is kept as one number."""
_BEGUN_ANEW = 20
"""A day that has so many units less used than were known, and less than half of them, is a new one."""
_SET_BACK_SECONDS = 60.0
"""A clock that goes back by less stands still meanwhile."""
_MARGIN_SHARE = 1 / 40
"""A margin is never more than this share of its limit."""


@dataclass(frozen=True, slots=True)
class Limit:
    """At most so many units in any so many seconds."""

    units: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Quota:
    """What a connection may do: in any window of each of `limits`, in a `day` (fixed, 24 hours from its first request
    until the service tells when it ends), and at the same time. None: without limit."""

    limits: tuple[Limit, ...] = ()
    day: int | None = None
    concurrency: int | None = None
    margin_seconds: float = 1.0

    def __post_init__(self) -> None:
        if len({_name(limit) for limit in self.limits}) < len(self.limits):
            raise ValueError("two limits have the same seconds")

    def margin(self, limit: Limit) -> float:
        """Seconds that a request counts longer than its limit."""
        return min(self.margin_seconds, limit.seconds * _MARGIN_SHARE)


@dataclass(frozen=True, slots=True)
class Granted:
    """It may go now; `number` is for `Window.settle`."""

    number: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Not before so many seconds, and then it is asked again."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Parked:
    """Not before this time, by the store's clock: too long to wait for."""

    until: float


class _Open(msgspec.Struct):
    """A request that is on its way. Who never says how it has ended has died by `lease_until`."""

    at: float
    units: int
    lease_until: float
    owner: str = ""


class _Spent(msgspec.Struct):
    """Units that count until the limit's seconds after this time are over."""

    at: float
    units: int


class Window(msgspec.Struct):
    """What one connection has used, of all workers. Times are seconds of the store's clock; none of them goes back."""

    now: float = 0.0
    grants: int = 0
    open: dict[int, _Open] = msgspec.field(default_factory=dict)
    spent: dict[str, list[_Spent]] = msgspec.field(default_factory=dict)
    closed_until: float = 0.0
    strikes: int = 0
    struck_at: float = 0.0
    parked_until: float = 0.0
    day_ends: float = 0.0
    day_used: int = 0

    def take(
        self, quota: Quota, now: float, units: int, lease_seconds: float, owner: str = ""
    ) -> Granted | Wait | Parked:
        """Grant `units` now, or say when to ask again. Raises ValueError where no limit ever lets so many through."""
        if any(units > limit.units for limit in quota.limits) or units > (quota.day or units):
            raise ValueError(f"{units} units are more than the quota ever allows at once")
        now = self._advance(quota, now)
        if self.parked_until > now:
            return Parked(self.parked_until)
        if quota.day is not None and self.day_used + units > quota.day:
            return Parked(self.day_ends)
        wait = max([self.closed_until - now, *(self._wait(limit, units) for limit in quota.limits)])
        if wait > LONG_WAIT_SECONDS:
            return Parked(now + wait)
        if wait <= 0 and quota.concurrency is not None and len(self.open) >= quota.concurrency:
            wait = POLL_SECONDS
        if wait > 0:
            return Wait(wait)
        self.grants += 1
        self.open[self.grants] = _Open(now, units, now + lease_seconds, owner)
        if not self.day_used:
            self.day_ends = now + DAY_SECONDS
        self.day_used += units
        return Granted(self.grants)

    def settle(self, quota: Quota, now: float, number: int, outcome: Outcome, left: Left, chance: float) -> None:
        """A granted request has come to this. `chance` in [0, 1) spreads the waits of a service that tells none."""
        now = self._advance(quota, now)
        request = self.open.pop(number, None)
        if isinstance(outcome, NotSent):
            self.day_used = max(0, self.day_used - (0 if request is None else request.units))
            return
        began = now
        if request is not None:  # else its lease was over, and it was counted then
            began = request.at
            self._spend(quota, request, now)
        self._learn(quota, left)
        if isinstance(outcome, Throttled):
            self._close(quota, began, outcome.wait, chance)
        elif isinstance(outcome, Exhausted):
            self._park(outcome.until)
        elif isinstance(outcome, Unanswered | Unknown) and outcome.wait is not None:
            self.closed_until = max(self.closed_until, now + outcome.wait)
        elif began >= self.struck_at:
            self.strikes = 0

    def reclaim(self, quota: Quota, now: float, owner: str) -> None:
        """This owner has begun anew: whatever was granted to it has ended by now, whether or not that was told."""
        now = self._advance(quota, now)
        for number, request in list(self.open.items()):
            if request.owner == owner:
                del self.open[number]
                self._spend(quota, request, now)

    def _advance(self, quota: Quota, now: float) -> float:
        """Forget what counts no more."""
        if now < self.now - _SET_BACK_SECONDS:
            self._set_back(self.now - now)
        self.now = now = max(now, self.now)
        for number, request in list(self.open.items()):
            if request.lease_until <= now:
                del self.open[number]
                self._spend(quota, request, request.lease_until)
        names = {_name(limit): limit for limit in quota.limits}
        self.spent = {
            name: [one for one in spent if one.at + names[name].seconds > now]
            for name, spent in self.spent.items()
            if name in names
        }
        if now >= self.day_ends:
            self.day_used = 0
        return now

    def _set_back(self, seconds: float) -> None:
        """The store's clock is another one now, or was put right: nothing counts the longer for it."""
        self.now -= seconds
        self.closed_until -= seconds
        self.struck_at -= seconds
        for request in self.open.values():
            request.at -= seconds
            request.lease_until -= seconds
        for spent in self.spent.values():
            for one in spent:
                one.at -= seconds

    def _spend(self, quota: Quota, request: _Open, ended: float) -> None:
        for limit in quota.limits:
            self._count(limit, request.units, max(request.at + quota.margin(limit), ended))

    def _count(self, limit: Limit, units: int, at: float) -> None:
        width = limit.seconds / _BUCKETS
        at = max(at, math.ceil(at / width) * width)
        spent = self.spent.setdefault(_name(limit), [])
        if spent and at <= spent[-1].at:
            spent[-1].units += units
        else:
            spent.append(_Spent(at, units))

    def _used(self, limit: Limit) -> int:
        return sum(one.units for one in self.spent.get(_name(limit), ())) + sum(one.units for one in self.open.values())

    def _wait(self, limit: Limit, units: int) -> float:
        """Seconds until so many more fit into a limit; those on their way count from their end."""
        over = self._used(limit) + units - limit.units
        if over <= 0:
            return 0.0
        for one in self.spent.get(_name(limit), ()):
            over -= one.units
            if over <= 0:
                return one.at + limit.seconds - self.now
        return limit.seconds

    def _learn(self, quota: Quota, left: Left) -> None:
        """Somebody else uses the connection too, where less is left than we know of. More is never taken for true but
        for a day that has begun anew."""
        for limit in quota.limits:
            told = left.by_seconds.get(limit.seconds)
            if told is not None and (others := limit.units - told - self._used(limit)) > 0:
                self._count(limit, others, self.now + quota.margin(limit))
        if quota.day is None or left.day is None:
            return
        used = quota.day - left.day
        if used < self.day_used // 2 and self.day_used - used > _BEGUN_ANEW:
            self.day_ends, self.day_used = self.now + DAY_SECONDS, used + sum(one.units for one in self.open.values())
        else:
            self.day_used = max(self.day_used, used)
            self.day_ends = self.day_ends if self.day_ends > self.now else self.now + DAY_SECONDS

    def _close(self, quota: Quota, began: float, wait: float | None, chance: float) -> None:
        """The whole connection waits. Those that were under way together count as one failure."""
        if began >= self.struck_at:
            self.strikes += 1
            self.struck_at = self.now
        if wait is None:
            wait = min(2.0 ** min(self.strikes - 1, 9), LONGEST_BACKOFF_SECONDS) * (1 + chance) / 2
        self.closed_until = max(self.closed_until, self.now + wait + quota.margin_seconds)

    def _park(self, until: datetime | None) -> None:
        self.parked_until = self.now + PROBE_SECONDS if until is None else max(until.timestamp(), self.now)
        if until is not None:
            self.day_ends = self.parked_until


def _name(limit: Limit) -> str:
    return f"{limit.seconds:g}"
