"""The window of the day in which tables are copied, and their rows per second."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from daemon.capture.pace import Pace
from daemon.config.source import Snapshot
from daemon.window import Window


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_a_window_wraps_around_midnight() -> None:
    window = Window.parse("22:00-05:00 Australia/Brisbane")
    opened = {hour for hour in range(24) if window.is_open(at(f"2026-07-01T{hour:02}:00"))}
    assert opened == set(range(12, 19))
    assert not window.is_open(at("2026-07-01T11:59:59"))
    assert window.is_open(at("2026-07-01T18:59:59"))


def test_a_window_follows_the_wall_clock_over_the_change_to_summer_time() -> None:
    window = Window.parse("01:30-04:00 Europe/Berlin")
    assert [window.is_open(at(f"2026-01-10T{hour}:00")) for hour in ("00", "01", "02", "03")] == [
        False,
        True,
        True,
        False,
    ]
    assert [window.is_open(at(f"2026-07-10T{hour}:00")) for hour in ("00", "01", "02")] == [True, True, False]
    # 29 March: 02:00 becomes 03:00; the window is an hour shorter.
    assert [window.is_open(at(f"2026-03-29T{time}")) for time in ("00:29", "00:30", "01:00", "01:59", "02:00")] == [
        *(False, True, True, True, False)
    ]


@pytest.mark.parametrize(
    "text",
    ["22:00", "22:00-05:00", "24:00-05:00 UTC", "5-6 UTC", "05:00-05:00 UTC", "1:00-2:00 X/Y", "01:00-02:00 ../x"],
)
def test_what_is_no_window_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"window|opens|zone"):
        Window.parse(text)


def test_rows_are_read_no_faster_than_the_rate() -> None:
    clock = 100.0
    pace = Pace(Snapshot(rows_per_second=50), clock=lambda: clock)
    assert pace.chunk_rows == 50
    read = 0
    while clock < 110.0:
        if pace.free:
            pace.spend(pace.chunk_rows)
            read += pace.chunk_rows
        clock += 0.25
    assert read == 500
    pace.spend(25)
    assert not pace.free


def test_without_a_window_and_a_rate_nothing_is_held() -> None:
    pace = Pace(Snapshot())
    pace.spend(10**9)
    assert pace.free
    assert pace.closed is None
