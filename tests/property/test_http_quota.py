"""No window of a limit ever sees more than it allows, whatever the requests take; and little of it is left unused."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.http.answer import Left
from connectors.http.outcome import Answered
from connectors.http.quota import Granted, Limit, Parked, Quota, Wait
from tests.windows import Windows

BEGIN = 1_795_000_000.0
DONE = Answered(200, {})


class Race:
    """Workers with one connection, on a clock of their own: each asks, is on its way, is met by the service at some
    moment of it, comes back and asks again."""

    def __init__(self, quota: Quota, workers: int, takes: Callable[[], tuple[float, float]]) -> None:
        self._quota = quota
        self._takes = takes
        self._now = BEGIN
        self._store = Windows(lambda: self._now)
        self.met: list[float] = []
        self.at_once = 0
        self.days: list[Parked] = []
        self._events: list[tuple[float, int, int | None]] = [(BEGIN, worker, None) for worker in range(workers)]

    def run(self, seconds: float) -> None:
        on_their_way = 0
        while self._events[0][0] < BEGIN + seconds:
            self._now, worker, granted = heapq.heappop(self._events)
            if granted is not None:
                on_their_way -= 1
                self._store.change("c", lambda window, now: window.settle(self._quota, now, granted, DONE, Left(), 0))  # noqa: B023
            match self._store.change("c", lambda window, now: window.take(self._quota, now, 1, 300)):
                case Granted(number):
                    on_their_way += 1
                    self.at_once = max(self.at_once, on_their_way)
                    there, back = self._takes()
                    self.met.append(self._now + there)
                    heapq.heappush(self._events, (self._now + there + back, worker, number))
                case Wait(wait):
                    heapq.heappush(self._events, (self._now + wait, worker, None))
                case Parked(until) as parked:
                    self.days.append(parked)
                    heapq.heappush(self._events, (until, worker, None))
        self.met.sort()


def most_within(times: list[float], seconds: float) -> int:
    """The most of them in any window of that length, its end left out."""
    most = first = 0
    for last, time in enumerate(times):
        while time - times[first] >= seconds:
            first += 1
        most = max(most, last - first + 1)
    return most


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.tuples(st.integers(1, 40), st.sampled_from([1.0, 7.5, 60.0])), min_size=1, unique_by=lambda one: one[1]
    ),
    st.integers(1, 5),
    st.none() | st.integers(1, 4),
    st.floats(0, 20),
    st.integers(),
)
def test_no_window_sees_more_than_its_limit(
    limits: list[tuple[int, float]], workers: int, concurrency: int | None, slowest: float, seed: int
) -> None:
    chance = random.Random(seed)
    quota = Quota(tuple(Limit(*limit) for limit in limits), concurrency=concurrency)
    race = Race(quota, workers, lambda: (chance.uniform(0, slowest), chance.uniform(0, slowest)))
    race.run(200)
    assert race.met
    for limit in quota.limits:
        assert most_within(race.met, limit.seconds) <= limit.units
    if concurrency is not None:
        assert race.at_once <= concurrency


@settings(deadline=None, max_examples=5)
@given(st.floats(0.02, 0.4), st.integers())
def test_two_workers_with_a_backlog_use_95_percent_of_what_is_allowed(slowest: float, seed: int) -> None:
    chance = random.Random(seed)
    race = Race(Quota((Limit(180, 60.0),)), 2, lambda: (chance.uniform(0, slowest), chance.uniform(0, slowest)))
    race.run(600)
    assert most_within(race.met, 60.0) <= 180
    for minutes in (5, 10):
        within = sum(time < BEGIN + minutes * 60 for time in race.met)
        assert within >= 0.95 * minutes * 180


def test_a_day_takes_no_more_than_its_number_and_the_next_one_as_many_again() -> None:
    race = Race(Quota(day=50), 2, lambda: (1.0, 1.0))
    race.run(2 * 86_400)
    assert len(race.met) == 100
    assert {parked.until for parked in race.days} >= {BEGIN + 86_400}
    assert most_within(race.met, 80_000) == 50
