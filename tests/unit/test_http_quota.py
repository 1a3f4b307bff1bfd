"""What a connection's window remembers, and what it learns from the service."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from connectors.http.answer import Left
from connectors.http.outcome import Answered, Exhausted, NotSent, Outcome, Throttled, Unanswered, Unknown
from connectors.http.quota import DAY_SECONDS, PROBE_SECONDS, Granted, Limit, Parked, Quota, Wait, Window

BEGIN = 1_795_000_000.0
MINUTE = Quota((Limit(3, 60.0),))
DONE = Answered(200, {})


class Connection:
    """A window and its time, in seconds since the beginning."""

    def __init__(self, quota: Quota, lease_seconds: float = 300) -> None:
        self.quota = quota
        self.window = Window()
        self.at = 0.0
        self._lease_seconds = lease_seconds

    def take(self, units: int = 1) -> Granted | Wait | Parked:
        return self.window.take(self.quota, BEGIN + self.at, units, self._lease_seconds)

    def granted(self, units: int = 1) -> int:
        found = self.take(units)
        assert isinstance(found, Granted), found
        return found.number

    def waits(self) -> float:
        found = self.take()
        assert isinstance(found, Wait), found
        return found.seconds

    def parked(self) -> float:
        found = self.take()
        assert isinstance(found, Parked), found
        return found.until - BEGIN

    def settle(self, number: int, outcome: Outcome = DONE, left: Left = Left()) -> None:  # noqa: B008 it is frozen
        self.window.settle(self.quota, BEGIN + self.at, number, outcome, left, chance=0.5)


def test_a_request_counts_until_the_window_after_its_answer_is_over() -> None:
    connection = Connection(MINUTE)
    for number in [connection.granted() for _ in range(3)]:
        connection.at += 2
        connection.settle(number)
    assert connection.waits() == pytest.approx(56, abs=0.2)
    connection.at = 62.2
    connection.granted()
    assert isinstance(connection.take(), Wait)


def test_a_quick_request_counts_from_its_grant_and_the_margin() -> None:
    connection = Connection(Quota((Limit(1, 60.0),), margin_seconds=1.0))
    connection.settle(connection.granted())
    assert connection.waits() == pytest.approx(61, abs=0.2)


def test_what_was_never_sent_is_given_back() -> None:
    connection = Connection(Quota((Limit(1, 60.0),), day=1))
    connection.settle(connection.granted(), NotSent("ConnectError"))
    connection.granted()


def test_a_worker_that_dies_gives_its_place_back_when_its_lease_is_over() -> None:
    connection = Connection(Quota((Limit(2, 60.0),), concurrency=1), lease_seconds=100)
    number = connection.granted()
    assert connection.waits() < 1
    connection.at = 100
    connection.granted()
    assert connection.waits() == pytest.approx(60, abs=0.2), "it still counts in the window"
    connection.settle(number)


def test_a_worker_that_begins_anew_has_its_places_back_at_once_and_no_other_s() -> None:
    connection = Connection(Quota((Limit(2, 60.0),), concurrency=2))
    for owner in ("push", "fetch"):
        assert isinstance(connection.window.take(connection.quota, BEGIN, 1, 300, owner), Granted)
    connection.at = 5
    connection.window.reclaim(connection.quota, BEGIN + 5, "push")
    assert [request.owner for request in connection.window.open.values()] == ["fetch"]
    assert connection.waits() == pytest.approx(60, abs=0.3), "what it has sent still counts, from now"


def test_requests_may_cost_more_than_one() -> None:
    connection = Connection(MINUTE)
    connection.granted(2)
    assert isinstance(connection.take(2), Wait)
    connection.granted(1)
    with pytest.raises(ValueError, match="ever"):
        connection.take(4)


def test_a_service_that_says_how_long_closes_the_connection_for_that_time() -> None:
    connection = Connection(Quota())
    connection.settle(connection.granted(), Throttled(30))
    assert connection.waits() == pytest.approx(31)
    connection.at = 31
    connection.granted()


@pytest.mark.parametrize("outcome", [Unanswered("503", 20), Unknown("503", 20)])
def test_a_service_that_is_away_and_says_until_when_is_left_alone(outcome: Outcome) -> None:
    connection = Connection(Quota())
    connection.settle(connection.granted(), outcome)
    assert connection.waits() == pytest.approx(20)


def test_a_service_is_heeded_also_when_its_answer_comes_after_the_lease() -> None:
    connection = Connection(Quota(), lease_seconds=10)
    number = connection.granted()
    connection.at = 20
    connection.settle(number, Throttled(30))
    assert connection.waits() == pytest.approx(31)


def test_two_limits_of_the_same_length_are_refused() -> None:
    with pytest.raises(ValueError, match="same seconds"):
        Quota((Limit(180, 60.0), Limit(600, 60.0)))


def test_a_service_that_says_nothing_is_asked_ever_more_rarely_until_it_answers() -> None:
    connection = Connection(Quota(margin_seconds=0))
    waits = []
    for _ in range(9):
        connection.settle(connection.granted(), Throttled(None))
        waits.append(connection.waits())
        connection.at += waits[-1]
    assert waits == pytest.approx([0.75 * seconds for seconds in (1, 2, 4, 8, 16, 32, 60, 60, 60)])
    connection.settle(connection.granted())
    connection.settle(connection.granted(), Throttled(None))
    assert connection.waits() == pytest.approx(0.75)


def test_requests_that_were_refused_together_count_as_one_refusal() -> None:
    connection = Connection(Quota(margin_seconds=0))
    together = [connection.granted() for _ in range(5)]
    connection.at = 1
    for number in together:
        connection.settle(number, Throttled(None))
    assert connection.waits() == pytest.approx(0.75)


def test_a_used_up_quota_parks_the_connection_until_it_is_told() -> None:
    connection = Connection(Quota(day=10))
    until = datetime.fromtimestamp(BEGIN + 5_000, UTC)
    connection.settle(connection.granted(), Exhausted(until))
    assert connection.parked() == 5_000
    connection.at = 5_000
    connection.granted()


def test_a_used_up_quota_is_tried_again_after_an_hour_when_nobody_knows() -> None:
    connection = Connection(Quota())
    connection.settle(connection.granted(), Exhausted(None))
    assert connection.parked() == PROBE_SECONDS


def test_a_wait_of_an_hour_parks_and_does_not_sleep() -> None:
    connection = Connection(Quota((Limit(1, 3_600.0),)))
    connection.settle(connection.granted())
    assert connection.parked() == pytest.approx(3_601, abs=10)


def test_what_others_use_of_the_minute_is_learnt() -> None:
    connection = Connection(MINUTE)
    connection.settle(connection.granted(), left=Left({60.0: 1}))
    connection.granted()
    assert connection.waits() > 59


def test_more_than_is_known_of_the_minute_is_not_believed() -> None:
    connection = Connection(MINUTE)
    for number in [connection.granted() for _ in range(3)]:
        connection.settle(number, left=Left({60.0: 3}))
    assert connection.waits() > 59


def test_what_others_use_of_the_day_is_learnt() -> None:
    connection = Connection(Quota(day=100))
    connection.settle(connection.granted(), left=Left(day=1))
    connection.granted()
    assert connection.parked() == DAY_SECONDS


def test_a_day_that_begins_anew_is_seen_by_what_is_left() -> None:
    connection = Connection(Quota(day=100))
    for number in [connection.granted() for _ in range(60)]:
        connection.settle(number)
    connection.at = 1_000
    connection.settle(connection.granted(), left=Left(day=99))
    for number in [connection.granted() for _ in range(99)]:
        connection.settle(number)
    assert connection.parked() == 1_000 + DAY_SECONDS


def test_a_clock_that_is_set_back_keeps_nobody_waiting_the_longer() -> None:
    connection = Connection(Quota((Limit(1, 60.0),), margin_seconds=0))
    connection.settle(connection.granted())
    connection.at = -7_200
    assert connection.waits() == pytest.approx(60, abs=0.2)
    connection.at = -7_200 + 60.2
    connection.granted()


def test_a_limit_that_is_taken_out_of_the_configuration_is_forgotten() -> None:
    connection = Connection(MINUTE)
    connection.settle(connection.granted(3))
    connection.quota = Quota((Limit(1, 1.0),))
    connection.granted()
    assert set(connection.window.spent) <= {"1"}


def test_a_window_stays_small_under_a_large_limit() -> None:
    connection = Connection(Quota((Limit(10_000, 60.0),)))
    for step in range(5_000):
        connection.at = step / 80
        connection.settle(connection.granted())
    assert len(connection.window.spent["60"]) <= 620
