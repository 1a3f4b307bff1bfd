"""What is around the workers stops, is cut, or freezes, under load; the witness counts."""

from __future__ import annotations

import signal
import tomllib
from collections.abc import Callable, Iterator

import psycopg
import pytest

from tests.asking import ask
from tests.crash.stage import APPLY, CAPTURE, SERVER_SETTINGS, Stage, stage_at_work
from tests.fix_proxy import Proxy
from tests.waiting import until

pytestmark = [pytest.mark.crash, pytest.mark.timeout(240)]

CUTS = 5
_WALSENDER = """
SELECT pid, extract(epoch FROM clock_timestamp() - backend_start)::float8 FROM pg_stat_replication
WHERE application_name LIKE 'placemat capture%' AND state = 'streaming'
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Both workers, caught up; each test leaves it so."""
    with stage_at_work(tmp_path_factory.mktemp("outages")) as found:
        yield found


def walsender(found: Stage) -> tuple[int, float]:
    """Process and age of the capture's replication connection."""

    [(pid, age)] = until(lambda: ask(found.primary, _WALSENDER), seconds=30, what="a replication connection")
    return int(pid), float(age)


def check(found: Stage) -> None:
    found.settle()
    counted = found.count()
    assert found.parked() == []
    assert counted.ok, counted


def past_the_time_outs(found: Stage) -> None:
    """Wait until twice `wal_sender_timeout` has passed on the server's clock."""
    seconds = 2 * float(SERVER_SETTINGS["wal_sender_timeout"].removesuffix("s"))
    [(start,)] = ask(found.primary, "SELECT clock_timestamp()")
    over = "SELECT clock_timestamp() - %s > make_interval(secs => %s)"
    until(lambda: ask(found.primary, over, [start, seconds]) == [(True,)], seconds * 3)


def test_kafka_stopped_past_the_time_outs_costs_no_connection_and_no_event(running: Stage) -> None:
    before, _ = walsender(running)
    with running.load(1, rate=500, largest=200):
        running.servers.embedded[0].stop()
        past_the_time_outs(running)
        assert walsender(running)[0] == before
        assert running.in_flight() > 0
        running.servers.embedded[0].start()
    check(running)
    assert walsender(running)[0] == before


@pytest.mark.long
def test_a_capture_killed_while_kafka_is_down_loses_nothing(running: Stage) -> None:
    with running.load(6, rate=500, largest=50):
        running.servers.embedded[0].stop()
        until(lambda: running.in_flight() > 100)
        past_the_time_outs(running)
        running.kill(CAPTURE)
        running.servers.embedded[0].start()
        running.start(CAPTURE)
    check(running)


def test_a_stopped_target_costs_nothing_but_its_own_lag(running: Stage) -> None:
    before, _ = walsender(running)
    ledger = running.servers.embedded[1]
    with running.load(2):
        ledger.stop()
        past_the_time_outs(running)
        ledger.start()
        assert running.in_flight() > 0
    check(running)
    assert walsender(running)[0] == before


def test_a_replication_connection_cut_in_the_middle_loses_and_repeats_nothing(
    running: Stage, proxy_factory: Callable[[str, int], Proxy]
) -> None:
    url = tomllib.loads(running.config.read_text())["sources"]["primary"]["url"]
    parts = psycopg.conninfo.conninfo_to_dict(url)
    proxy = proxy_factory(str(parts["host"]), int(parts["port"] or 0))
    running.kill(CAPTURE)
    running.environment["PLACEMAT_SOURCES__PRIMARY__URL"] = proxy.url(url)
    running.start(CAPTURE)
    with running.load(3, rate=600, largest=300):
        for _ in range(CUTS):
            pid, _ = walsender(running)
            until(lambda: running.in_flight() > 0)
            proxy.cut()
            until(lambda before=pid: walsender(running)[0] != before, seconds=30)  # type: ignore[misc]
    check(running)
    running.kill(CAPTURE)
    del running.environment["PLACEMAT_SOURCES__PRIMARY__URL"]
    running.start(CAPTURE)


def test_a_frozen_replaced_and_thawed_capture_loses_and_repeats_nothing(running: Stage) -> None:
    frozen_pid, _ = walsender(running)
    with running.load(4, rate=500):
        until(lambda: running.in_flight() > 0)
        frozen = running.freeze(CAPTURE)
        try:
            running.start(CAPTURE)
            until(lambda: walsender(running)[0] != frozen_pid, seconds=30)
            running.settle()
        finally:
            frozen.send_signal(signal.SIGCONT)
        running.settle()
    check(running)
    frozen.kill()
    frozen.wait()


def test_a_frozen_replaced_and_thawed_apply_writes_nothing_twice(running: Stage) -> None:
    with running.load(5, rate=500):
        until(lambda: running.in_flight() > 0)
        frozen = running.freeze(APPLY)
        try:
            running.start(APPLY)
            running.settle()
        finally:
            frozen.send_signal(signal.SIGCONT)
        running.settle()
    check(running)
    frozen.kill()
    frozen.wait()
