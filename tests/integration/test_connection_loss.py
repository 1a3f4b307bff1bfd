"""The network is lost at every phase of the replication protocol: capture connects again, and nothing is twice."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from daemon.capture import stream
from daemon.capture.worker import CaptureWorker
from daemon.embedded.postgres import PostgresServer
from tests.fix_capture import Rig, RigFactory, assert_whole, replay
from tests.fix_proxy import How, Proxy
from tests.supervised import Supervised
from tests.waiting import until

pytestmark = pytest.mark.crash

BEFORE = {
    "connect": b"replication\x00database",
    "IDENTIFY_SYSTEM": b"IDENTIFY_SYSTEM",
    "START_REPLICATION": b"START_REPLICATION",
}
STATUS = b"d\x00\x00\x00\x26r"
"""CopyData of 34 bytes, of which the first is that of a standby status update."""
WITHIN = {
    "within a transaction": b"in the middle",
    "at a status": STATUS,
    "at a confirmation of what came": b"d\x00\x00",
}
HOWS: tuple[How, ...] = ("cut", "black hole")


@pytest.fixture
def route(
    capture: Rig, proxy_factory: Callable[[str, int], Proxy], monkeypatch: pytest.MonkeyPatch
) -> tuple[Rig, Proxy]:
    """A capture by way of a proxy, with short time-outs."""
    parts = urlsplit(capture.url)
    proxy = proxy_factory(parts.hostname or "", parts.port or 0)
    capture.site.set(f"sources.{capture.site.source}.url", proxy.url(capture.url))
    capture.sql(f"ALTER DATABASE {parts.path[1:]} SET wal_sender_timeout = '1500ms'")
    monkeypatch.setattr(stream, "ANSWER_SECONDS", 1.0)
    monkeypatch.setattr(stream, "CONNECT_TIMEOUT_SECONDS", 2)
    return capture, proxy


def write(rig: Rig, number: int) -> None:
    rig.sql(
        f"""
        BEGIN;
        INSERT INTO items SELECT {number} * 1000 + i, 0, repeat('x', 100) FROM generate_series(1, 900) i;
        INSERT INTO items VALUES ({number} * 1000 + 950, 0, 'in the middle');
        UPDATE items SET version = 1 WHERE id > {number} * 1000 + 890;
        COMMIT
        """
    )


def assert_nothing_missing_nothing_twice(rig: Rig) -> None:
    records = rig.records()
    assert_whole(records)
    assert replay(records, "items") == rig.rows("items")


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("phase", BEFORE)
def test_before_the_stream_flows(route: tuple[Rig, Proxy], phase: str, how: How) -> None:
    rig, proxy = route
    write(rig, 1)
    proxy.set_trap(BEFORE[phase], how)
    with Supervised(CaptureWorker(rig.site.settings, rig.site.source)) as worker:
        assert proxy.sprung.wait(10)
        until(lambda: worker.running, what="the capture at work")
        write(rig, 2)
        rig.copied()
        rig.caught_up()
        assert worker.count("starting") == 2
    assert worker.error is None
    assert_nothing_missing_nothing_twice(rig)


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("phase", WITHIN)
def test_while_the_stream_flows(route: tuple[Rig, Proxy], phase: str, how: How) -> None:
    rig, proxy = route
    with Supervised(CaptureWorker(rig.site.settings, rig.site.source)) as worker:
        until(lambda: worker.running, what="the capture at work")
        rig.copied()
        proxy.set_trap(WITHIN[phase], how)
        write(rig, 1)
        assert proxy.sprung.wait(10)
        until(lambda: worker.count("waiting") and worker.running, what="the capture at work again")
        write(rig, 2)
        rig.caught_up()
    assert worker.error is None
    assert_nothing_missing_nothing_twice(rig)


@pytest.mark.parametrize("how", HOWS)
def test_while_nothing_happens(route: tuple[Rig, Proxy], how: How) -> None:
    rig, proxy = route
    with Supervised(CaptureWorker(rig.site.settings, rig.site.source)) as worker:
        until(lambda: worker.running, what="the capture at work")
        rig.copied()
        rig.caught_up()
        proxy.cut() if how == "cut" else proxy.stall()
        until(lambda: worker.count("waiting"), what="a capture that has noticed")
        if how == "black hole":
            assert "has sent nothing for 1.5 seconds" in worker.details
            proxy.stop()
            proxy.start()
        until(lambda: worker.running, what="the capture at work again")
        write(rig, 1)
        rig.caught_up()
    assert worker.error is None
    assert_nothing_missing_nothing_twice(rig)


def test_an_idle_source_is_not_taken_for_lost(
    capture_factory: RigFactory, own_postgres: Callable[..., PostgresServer]
) -> None:
    """A server of its own: what others write makes a server say something."""
    server = own_postgres(settings={"fsync": "off", "wal_sender_timeout": "1500ms", "autovacuum": "off"})
    rig = capture_factory(postgres=server).init()
    with Supervised(CaptureWorker(rig.site.settings, rig.site.source)) as worker:
        until(lambda: worker.running, what="the capture at work")
        rig.copied()
        [(before,)] = rig.sql("SELECT clock_timestamp()")
        over = "SELECT clock_timestamp() - %s > interval '3 seconds'"
        until(lambda: rig.sql(over, [before]) == [(True,)], what="twice the time-out without a change")
        assert (worker.count("waiting"), worker.running) == (0, True)
