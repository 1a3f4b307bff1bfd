"""How many requests a target may get in a second."""

from __future__ import annotations

from daemon.webhooks.bucket import Bucket


def test_a_flood_gets_what_the_rate_allows_and_a_quiet_target_gets_its_burst() -> None:
    now = 100.0
    bucket = Bucket(5, lambda: now)
    assert [bucket.take() for _ in range(12)] == [True] * 10 + [False] * 2
    for _ in range(100):
        now += 0.1
        bucket.take()
    assert not bucket.take()
    now += 3_600
    assert sum(bucket.take() for _ in range(50)) == 10, "two seconds' worth, however long it was quiet"


def test_a_slow_rate_lets_one_through_at_a_time() -> None:
    now = 0.0
    bucket = Bucket(0.1, lambda: now)
    assert [bucket.take(), bucket.take()] == [True, False]
    now = 9.9
    assert not bucket.take()
    now = 10.1
    assert bucket.take()
