"""Quotas in the state database: whoever shares a connection never exceeds them together."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import psycopg
import pytest
import sqlalchemy

from connectors.errors import Unavailable
from connectors.http.answer import Left
from connectors.http.outcome import Answered, Exhausted, Throttled
from connectors.http.pacing import Interrupted, Pacing, QuotaExhausted
from connectors.http.quota import Granted, Limit, Quota, Window
from daemon.state import engine as state
from daemon.state.quotas import Quotas
from tests.waiting import until

DONE = Answered(200, {})


@pytest.fixture
def url(database_factory: Callable[..., str], state_template: str) -> str:
    return database_factory("state", state_template)


@pytest.fixture
def engine(url: str) -> Iterator[Callable[[], sqlalchemy.Engine]]:
    """A function: the state as a further process sees it."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(state.opened(url))


def test_a_window_is_kept_with_all_that_it_has(engine: Callable[[], sqlalchemy.Engine]) -> None:
    quota = Quota((Limit(5, 60.0), Limit(3, 1.5)), day=100, concurrency=4)
    first = Pacing(Quotas(engine()), "crm", quota, threading.Event())
    numbers = [first.take(), first.take()]
    first.settle(numbers[0], Throttled(20), Left({60.0: 2}, day=50))
    kept = Quotas(engine()).change("crm", lambda window, _: window)
    assert list(kept.open) == [numbers[1]]
    assert sum(one.units for one in kept.spent["60"]) + 1 == 3
    assert kept.closed_until > kept.now + 20
    assert kept.day_used == 50
    assert Quotas(engine()).change("other", lambda window, _: window) == Window()


def test_the_time_is_that_of_the_database_and_of_after_the_wait_for_the_row(
    engine: Callable[[], sqlalchemy.Engine], url: str
) -> None:
    quotas, times = Quotas(engine()), []
    held, end = threading.Event(), threading.Event()

    def holds(_window: Window, now: float) -> None:
        times.append(now)
        held.set()
        end.wait()

    first = threading.Thread(target=quotas.change, args=("crm", holds))
    first.start()
    held.wait()
    second = threading.Thread(target=quotas.change, args=("crm", lambda _, now: times.append(now)))
    second.start()
    with psycopg.connect(url, autocommit=True) as connection:
        waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        until(lambda: connection.execute(waits).fetchone() == (1,), what="a second process at the row")
        released = connection.execute("SELECT extract(epoch FROM clock_timestamp())").fetchone()
    end.set()
    first.join()
    second.join()
    assert released is not None
    assert times[0] < released[0] < times[1]


def test_what_fails_leaves_the_window_as_it_was(engine: Callable[[], sqlalchemy.Engine]) -> None:
    quotas = Quotas(engine())

    def fails(window: Window, _now: float) -> None:
        window.grants = 7
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        quotas.change("crm", fails)
    assert quotas.change("crm", lambda window, _: window.grants) == 0


def test_two_processes_together_never_exceed_the_quota(engine: Callable[[], sqlalchemy.Engine]) -> None:
    quota = Quota((Limit(10, 0.5),), concurrency=3)
    stop, lock = threading.Event(), threading.Lock()
    met: list[float] = []
    on_their_way = most = 0

    def works(pacing: Pacing) -> None:
        nonlocal on_their_way, most
        with suppress(Interrupted):
            while len(met) < 60:
                number = pacing.take()
                with lock:
                    on_their_way += 1
                    most = max(most, on_their_way)
                    met.append(time.monotonic())
                    on_their_way -= 1
                pacing.settle(number, DONE, Left())

    processes = [Pacing(Quotas(engine()), "crm", quota, stop) for _ in range(2)]
    threads = [threading.Thread(target=works, args=(pacing,)) for pacing in processes for _ in range(2)]
    too_long = threading.Timer(30, stop.set)
    too_long.start()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    too_long.cancel()
    met.sort()
    assert len(met) >= 60
    assert all(later - earlier >= 0.5 for earlier, later in zip(met, met[10:], strict=False))
    assert most <= 3


def test_one_process_that_is_told_to_wait_stops_them_all(engine: Callable[[], sqlalchemy.Engine]) -> None:
    first, second = (Pacing(Quotas(engine()), "crm", Quota(), threading.Event()) for _ in range(2))
    first.settle(first.take(), Exhausted(None), Left())
    with pytest.raises(QuotaExhausted, match="quota of crm is used up until"):
        second.take()


def test_a_worker_that_died_and_begins_anew_goes_on_at_once(engine: Callable[[], sqlalchemy.Engine]) -> None:
    def push() -> Pacing:
        return Pacing(Quotas(engine()), "crm", Quota(concurrency=2), threading.Event(), owner="push:crm")

    died = push()
    died.take()
    died.take()
    anew = push()
    anew.begin()
    anew.take()


def test_a_worker_that_waits_ends_when_it_is_told_to(engine: Callable[[], sqlalchemy.Engine]) -> None:
    stop = threading.Event()
    pacing = Pacing(Quotas(engine()), "crm", Quota((Limit(1, 300.0),)), stop)
    pacing.take()
    threading.Timer(0.1, stop.set).start()
    with pytest.raises(Interrupted):
        pacing.take()


def test_a_quota_that_cannot_be_asked_for_lets_nothing_go() -> None:
    with state.opened("postgresql://nobody@127.0.0.1:1/none") as engine:
        pacing = Pacing(Quotas(engine), "crm", Quota(), threading.Event())
        with pytest.raises(Unavailable):
            pacing.take()
        pacing.settle(1, DONE, Left())


def test_a_window_of_an_older_daemon_is_read(engine: Callable[[], sqlalchemy.Engine], url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("INSERT INTO placemat.quotas (connection, used) VALUES ('crm', '{\"was\": 1}')")
    found = Quotas(engine()).change("crm", lambda window, now: window.take(Quota(), now, 1, 10))
    assert isinstance(found, Granted)
