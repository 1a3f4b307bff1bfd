"""A standby is promoted: capture goes on with nothing lost, or stops and names what is missing."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from daemon.capture.worker import CaptureWorker
from daemon.embedded.postgres import PostgresServer
from daemon.embedded.postgres_install import Version
from daemon.errors import Gap
from tests.fix_capture import Rig, RigFactory, assert_whole, replay
from tests.fix_proxy import Proxy
from tests.fix_standby_server import PRIMARY, SYNCED, StandbyFactory, StandbyServer
from tests.supervised import Supervised
from tests.waiting import until

pytestmark = pytest.mark.crash

PLACE = "SELECT max(confirmed_flush_lsn) - '0/0' FROM pg_replication_slots"


class Pair:
    """A primary and its standby; the capture knows one address, which `fail_over` gives to the standby."""

    def __init__(self, rig: Rig, primary: PostgresServer, standby: StandbyServer, proxy: Proxy) -> None:
        self.rig, self.primary, self.standby, self.proxy = rig, primary, standby, proxy

    def capture(self) -> Supervised:
        return Supervised(CaptureWorker(self.rig.site.settings, self.rig.site.source))

    def write(self, number: int) -> None:
        self.rig.sql(
            f"BEGIN; INSERT INTO items SELECT {number} * 100 + i FROM generate_series(1, 9) i;"
            f" UPDATE items SET version = 1 WHERE id = {number} * 100 + 1; COMMIT"
        )

    def write_first(self) -> None:
        """Write while capture runs, and wait until its copies are done and all is confirmed."""
        self.write(1)
        self.rig.copied()
        self.rig.caught_up()

    def slot_synced(self) -> None:
        """Wait until the logical slot would survive, with all that was confirmed so far."""
        confirmed = self.rig.confirmed

        def survives() -> bool:
            with psycopg.connect(self.standby.dsn(), autocommit=True) as connection:
                ready = connection.execute(SYNCED.encode()).fetchone()
                place = connection.execute(PLACE).fetchone()
            return ready == (True,) and place is not None and place[0] is not None and place[0] >= confirmed

        until(survives, 40, what="a synchronised slot")

    def fail_over(self) -> None:
        """The primary dies, the standby is promoted, and the address is its own from then on."""
        self.primary.kill()
        self.rig.disconnect()
        self.standby.promote()
        self.proxy.redirect("127.0.0.1", self.standby.port)
        self.rig.url = self.standby.dsn(self.rig.url.rpartition("/")[2])


@pytest.fixture
def pair_factory(
    capture_factory: RigFactory,
    own_postgres: Callable[..., PostgresServer],
    standby_factory: StandbyFactory,
    proxy_factory: Callable[[str, int], Proxy],
) -> Callable[..., Pair]:
    """A function: version of PostgreSQL, settings of the standby → a pair that is set up by `init`."""

    def make(version: Version, **standby_settings: str) -> Pair:
        primary = own_postgres(version=version, settings=PRIMARY)
        rig = capture_factory(postgres=primary, check_interval_seconds=0.5).init()
        standby = standby_factory(primary, **standby_settings)
        proxy = proxy_factory("127.0.0.1", primary.port)
        rig.site.set(f"sources.{rig.site.source}.url", proxy.url(rig.url))
        return Pair(rig, primary, standby, proxy)

    return make


@pytest.fixture
def pair(pair_factory: Callable[..., Pair]) -> Pair:
    """The standby keeps the logical slot too."""
    return pair_factory(18, sync_replication_slots="on", hot_standby_feedback="on")


def test_a_promoted_standby_with_a_synchronised_slot_is_captured_on_with_nothing_lost(pair: Pair) -> None:
    rig = pair.rig
    rig.sql("ALTER SYSTEM SET synchronized_standby_slots = 'standby'")
    rig.sql("SELECT pg_reload_conf()")
    with pair.capture() as worker:
        pair.write_first()
        pair.slot_synced()
        pair.write(2)
        rig.caught_up()
        pair.standby.caught_up()
        pair.fail_over()
        pair.write(3)
        until(lambda: worker.running, 20, what="the capture at work on the promoted server")
        rig.caught_up()
        pair.write(4)
        rig.caught_up()
    assert worker.error is None
    records = rig.records()
    assert_whole(records)
    assert replay(records, "items") == rig.rows("items")
    assert {one.position.timeline for one in records} == {1, 2}


def test_a_promoted_standby_that_lacks_what_was_published_is_a_gap(pair: Pair) -> None:
    """Without `synchronized_standby_slots` the capture may be ahead of the standby."""
    with pair.capture() as worker:
        pair.write_first()
        pair.slot_synced()
        pair.standby.stop()
        pair.write(2)
        pair.rig.caught_up()
        pair.primary.kill()
        pair.standby.start()
        pair.fail_over()
        gap = worker.ended(30)
    assert isinstance(gap, Gap), gap
    assert (gap.reason, "which was published" in str(gap)) == ("other_timeline", True)


def test_below_17_a_promoted_standby_has_no_slot_which_is_a_gap(pair_factory: Callable[..., Pair]) -> None:
    pair = pair_factory(16)
    with pair.capture() as worker:
        pair.write_first()
        pair.standby.caught_up()
        pair.fail_over()
        gap = worker.ended(30)
    assert isinstance(gap, Gap), gap
    assert (gap.reason, "is missing" in str(gap)) == ("slot_missing", True)


def test_a_standby_is_waited_for_until_it_is_promoted(pair: Pair) -> None:
    rig = pair.rig
    with pair.capture():
        pair.write_first()
        pair.slot_synced()
    pair.proxy.redirect("127.0.0.1", pair.standby.port)
    with pair.capture() as worker:
        until(lambda: "is a standby: capture waits" in worker.details, what="a capture that waits")
        pair.fail_over()
        until(lambda: worker.running, 20, what="the capture at work on the promoted server")
        pair.write(2)
        rig.caught_up()
    assert worker.error is None
    assert replay(rig.records(), "items") == rig.rows("items")
