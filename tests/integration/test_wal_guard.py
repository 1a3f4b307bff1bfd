"""The slot under a limit: an idle source never comes near it, and one that nobody captures is told in time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import pytest
import structlog

from daemon.capture.worker import CaptureWorker
from daemon.embedded.postgres import PostgresServer
from daemon.observe import wal_guard
from daemon.observe.measure import SourceMeasure
from daemon.observe.meter import Meters
from tests.fix_capture import Rig, RigFactory
from tests.supervised import Supervised
from tests.waiting import until

LIMIT = 48 * 1024 * 1024


@pytest.fixture
def limited(
    capture_factory: RigFactory, own_postgres: Callable[..., PostgresServer], monkeypatch: pytest.MonkeyPatch
) -> Rig:
    """A source whose server keeps 48 MB for a slot, and a rate that is believed at once."""
    monkeypatch.setattr(wal_guard, "SETTLED_SECONDS", 0.0)
    server = own_postgres(
        settings={"fsync": "off", "max_slot_wal_keep_size": "48MB", "max_wal_size": "32MB", "min_wal_size": "32MB"}
    )
    rig = capture_factory(postgres=server, wal_warning_minutes=1_000_000, wal_alert_minutes=0).init()
    rig.sql("CREATE TABLE unpublished (note text)")
    return rig


def write_unpublished(rig: Rig, megabytes: int) -> None:
    rig.sql("INSERT INTO unpublished SELECT repeat(md5(i::text), 32) FROM generate_series(1, %s) i", [megabytes * 960])
    rig.sql("TRUNCATE unpublished")
    rig.sql("CHECKPOINT")


def test_unpublished_changes_beyond_the_limit_cost_an_idle_source_nothing(limited: Rig) -> None:
    with Supervised(CaptureWorker(limited.site.settings, limited.site.source)) as worker:
        limited.copied()
        [(start,)] = limited.sql("SELECT pg_current_wal_lsn() - '0/0'")
        published = len(limited.records())
        for _ in range(8):
            write_unpublished(limited, 16)
            [(written,)] = limited.sql("SELECT pg_current_wal_lsn() - '0/0'")
            until(lambda lsn=written: limited.confirmed >= lsn, what="the confirmation of WAL without changes of ours")  # type: ignore[misc]
        assert written - start > 2 * LIMIT
        assert limited.sql("SELECT wal_status FROM pg_replication_slots") == [("reserved",)]
        assert len(limited.records()) == published, "a heartbeat was written"
    assert worker.error is None


def test_a_slot_that_nobody_reads_has_so_many_minutes_left(limited: Rig) -> None:
    with closing(SourceMeasure(limited.site.settings.sources[limited.site.source])) as measure:
        before = measure()
        assert (before.keep.limit_bytes, before.seconds_left) == (LIMIT, None)
        write_unpublished(limited, 16)
        after = measure()
    assert before.keep.safe_bytes is not None
    assert after.keep.safe_bytes is not None
    assert before.keep.safe_bytes - after.keep.safe_bytes > 12 * 1024 * 1024
    assert after.seconds_left is not None
    assert 0 < after.seconds_left < 3600
    lag = limited.site.placemat("lag")
    assert "keeps 48 MB of WAL for the slot" in lag.out
    assert "keeps 48 MB of WAL for the slot" in limited.site.placemat("status").out
    assert "keeps 48 MB of WAL for the slot" in limited.site.placemat("init").err


def test_a_slot_that_will_be_lost_is_told_once(limited: Rig) -> None:
    name = f"capture:{limited.site.source}"
    with (
        structlog.testing.capture_logs() as told,
        Meters(limited.site.settings, [name], lambda *_: pytest.fail("no target")),
    ):

        def warned() -> bool:
            write_unpublished(limited, 1)
            return any(one["event"] == "slot will be lost" for one in told)

        until(warned, what="the warning")
        [warning] = [one for one in told if one["event"] == "slot will be lost"]
    assert (warning["log_level"], warning["source"]) == ("warning", limited.site.source)
    assert warning["minutes_left"] is not None
