"""Minutes until a slot is lost: from what is left and how fast it goes."""

from __future__ import annotations

import pytest

from daemon.observe.wal_guard import Keep, Level, Rate, in_units, level, seconds_left

GB = 1024**3


def test_the_rate_is_that_of_the_last_minute() -> None:
    rate = Rate()
    assert rate.feed(0, 0) is None
    assert [rate.feed(second, 1_000 * second) for second in range(1, 61)] == [None] * 9 + [1_000.0] * 51
    found = [rate.feed(60 + second, 60_000 + 5_000 * second) for second in range(1, 61)]
    assert found == sorted(found, key=lambda one: one or 0)
    assert found[-1] == 5_000.0


@pytest.mark.parametrize(
    ("safe", "rate", "expected"),
    [(600, 10.0, 60.0), (-5, 10.0, 0.0), (None, 10.0, None), (600, 0.0, None), (600, None, None)],
)
def test_what_is_left_lasts(safe: int | None, rate: float | None, expected: float | None) -> None:
    assert seconds_left(safe, rate) == expected


@pytest.mark.parametrize(
    ("status", "seconds", "expected"),
    [
        ("reserved", None, Level.FINE),
        ("extended", 3_601.0, Level.FINE),
        ("extended", 3_599.0, Level.WARNING),
        ("extended", 899.0, Level.ALERT),
        ("unreserved", None, Level.ALERT),
        ("lost", None, Level.ALERT),
    ],
)
def test_it_warns_and_then_alerts(status: str, seconds: float | None, expected: Level) -> None:
    assert level(Keep(GB, GB, status), seconds, warning_minutes=60, alert_minutes=15) is expected


def test_what_the_server_keeps_is_told() -> None:
    assert "without a limit (max_slot_wal_keep_size = -1)" in str(Keep(None, None, "reserved"))
    assert str(Keep(4 * GB, 3 * GB // 2, "extended")) == (
        "the server keeps 4 GB of WAL for the slot (max_slot_wal_keep_size), 1.5 GB of it left"
    )
    assert str(Keep(GB, -1, "lost")) == "the slot is lost"


def test_sizes_are_written_as_postgresql_counts_them() -> None:
    assert [in_units(size) for size in (0, 1023, 1536, 64 * 1024**2, 5 * 1024**4)] == [
        "0 bytes", "1023 bytes", "1.5 kB", "64 MB", "5 TB",
    ]  # fmt: skip
