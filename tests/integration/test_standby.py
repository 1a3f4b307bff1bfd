"""A second capture waits, and takes over within five seconds of the first one's death, however that came."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from sqlalchemy import func

from daemon.capture.worker import CaptureWorker
from daemon.errors import Unavailable
from daemon.state.capture import CaptureState
from daemon.state.engine import opened
from schemas.tables import sources
from tests.fix_capture import Rig, as_sinks_take_them, assert_whole, replay
from tests.fix_proxy import Proxy
from tests.forked import Forked
from tests.supervised import Supervised
from tests.waiting import until

pytestmark = pytest.mark.crash

TAKE_OVER_SECONDS = 5.0


def write(rig: Rig, number: int) -> None:
    rig.sql(
        f"BEGIN; INSERT INTO items SELECT {number} * 100 + i FROM generate_series(1, 9) i;"
        f" UPDATE items SET version = 1 WHERE id = {number} * 100 + 1; COMMIT"
    )


def standby(rig: Rig) -> Supervised:
    """A capture that stands by for another one that runs."""
    found = Supervised(CaptureWorker(rig.site.settings, rig.site.source))
    rig.stack.callback(found.stop)
    until(lambda: found.state == "standby", what="a capture in standby")
    return found


def assert_takes_over(second: Supervised, since: float) -> None:
    until(lambda: second.running, TAKE_OVER_SECONDS + 3, what="the take-over")
    assert time.monotonic() - since <= TAKE_OVER_SECONDS


def spawned(rig: Rig) -> Forked:
    """`placemat run capture` in a process of its own, at work."""
    first = rig.spawn()
    write(rig, 1)
    rig.copied()
    rig.caught_up()
    return first


def test_a_killed_capture_is_replaced_within_five_seconds(capture: Rig) -> None:
    first = spawned(capture)
    second = standby(capture)
    write(capture, 2)
    first.kill()
    assert_takes_over(second, time.monotonic())
    write(capture, 3)
    capture.caught_up()
    second.stop()
    records = capture.records()
    assert_whole(records)
    assert replay(records, "items") == capture.rows("items")


def test_a_capture_whose_network_died_is_replaced_within_five_seconds(
    capture: Rig, proxy_factory: Callable[[str, int], Proxy]
) -> None:
    direct, source = capture.url, capture.site.source
    parts = urlsplit(direct)
    proxy = proxy_factory(parts.hostname or "", parts.port or 0)
    capture.site.set(f"sources.{source}.url", proxy.url(direct))
    with Supervised(CaptureWorker(capture.site.settings, source)) as first:
        until(lambda: first.running, what="the first capture at work")
        capture.copied()
        capture.site.set(f"sources.{source}.url", direct)
        second = standby(capture)
        proxy.stall()
        write(capture, 2)
        assert_takes_over(second, time.monotonic())
        capture.caught_up()
        proxy.resume()
        until(lambda: first.state == "standby", what="the first in standby")
        write(capture, 3)
        capture.caught_up()
        second.stop()
        until(lambda: first.running, what="the first at work again")
        write(capture, 4)
        capture.caught_up()
    taken, _ = as_sinks_take_them(capture.records())
    assert_whole(taken)
    assert replay(taken, "items") == capture.rows("items")


def test_a_frozen_capture_is_replaced_and_stands_by_when_it_thaws(capture: Rig) -> None:
    first = spawned(capture)
    second = standby(capture)
    capture.sql("INSERT INTO items SELECT i, 0, repeat('x', 2000) FROM generate_series(1000, 3000) i")
    slot = "SELECT active_pid FROM pg_replication_slots WHERE slot_name = %s"
    [(reader,)] = capture.sql(slot, [capture.site.slot])
    first.send_signal(signal.SIGSTOP)
    try:
        write(capture, 2)
        reads_the_slot = "SELECT 1 FROM pg_stat_activity WHERE pid = %s"
        until(lambda: not capture.sql(reads_the_slot, [reader]), what="the end of the frozen capture's connection")
        assert_takes_over(second, time.monotonic())
        write(capture, 3)
        capture.caught_up()
    finally:
        first.send_signal(signal.SIGCONT)
    write(capture, 4)
    capture.caught_up()
    assert second.running
    assert capture.state("SELECT epoch FROM placemat.sources") == [(2,)]
    state = f"SELECT state FROM placemat.workers WHERE instance LIKE '%:{first.pid}'"
    until(lambda: capture.state(state) == [("standby",)], what="the thawed capture in standby")
    first.terminate()
    assert first.wait(20) == 0
    second.stop()
    taken, late = as_sinks_take_them(capture.records())
    assert all(one.epoch == 1 for one in late)
    assert_whole(taken)
    assert replay(taken, "items") == capture.rows("items")


def test_a_capture_that_froze_within_a_transaction_of_its_state_is_replaced_too(capture: Rig) -> None:
    first = spawned(capture)
    second = standby(capture)
    lock = sources.update().values(updated_at=func.now())

    def freeze(state: CaptureState) -> None:
        with state.reading() as connection:
            connection.execute(lock)
            first.kill()
            assert_takes_over(second, time.monotonic())
            connection.execute(lock)

    with opened(capture.site.state) as engine, pytest.raises(Unavailable, match="stood still"):
        freeze(CaptureState(engine, capture.site.source))
    write(capture, 2)
    capture.caught_up()


def test_a_standby_leaves_alone_a_capture_that_only_has_nothing_to_do(capture: Rig) -> None:
    with Supervised(CaptureWorker(capture.site.settings, capture.site.source)) as first:
        until(lambda: first.running, what="the first capture at work")
        capture.copied()
        second = standby(capture)
        sender = capture.sql("SELECT active_pid FROM pg_replication_slots WHERE active")
        patience = capture.site.settings.sources[capture.site.source].session_timeout_seconds
        since = time.monotonic()
        until(lambda: time.monotonic() - since > patience * 1.5, what="more than the patience of a standby")
        assert (first.running, second.state) == (True, "standby")
        assert capture.sql("SELECT active_pid FROM pg_replication_slots WHERE active") == sender
