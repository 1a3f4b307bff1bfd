"""The table of outcomes: what was asked and what came, to what may be done."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest

from connectors.http.answer import GARBLED, NO_BODY, OVERSIZE, Effect, Lost, Received
from connectors.http.outcome import (
    Answered,
    Conflict,
    Exhausted,
    Forbidden,
    Gone,
    Ids,
    NotSent,
    Outcome,
    Rejected,
    Saved,
    Throttled,
    Unanswered,
    Unauthorized,
    Unknown,
    identified,
    outcome,
    retry_after,
)
from tests.plain_dialect import PlainDialect

NOW = datetime(2026, 11, 22, 19, 0, tzinfo=UTC)
EFFECTS: tuple[Effect, ...] = get_args(Effect)
WRITES: tuple[Effect, ...] = ("creates", "changes", "deletes")


def came_to(
    effect: Effect, status: int, code: str = "", headers: dict[str, str] | None = None, **more: object
) -> Outcome:
    body = {"error": {"code": code, "message": "m", **more}} if code or more else NO_BODY
    return outcome(effect, Received(status, headers or {}, body), PlainDialect(), NOW)


@pytest.mark.parametrize("effect", EFFECTS)
def test_what_never_left_this_host_may_be_sent_again(effect: Effect) -> None:
    assert outcome(effect, Lost(False, "ConnectError"), PlainDialect(), NOW) == NotSent("ConnectError")


def test_a_lost_answer_leaves_a_write_unknown_and_a_read_to_be_asked_again() -> None:
    lost = Lost(True, "ReadTimeout")
    assert outcome("reads", lost, PlainDialect(), NOW) == Unanswered("ReadTimeout")
    for effect in WRITES:
        assert outcome(effect, lost, PlainDialect(), NOW) == Unknown("ReadTimeout")


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
@pytest.mark.parametrize("effect", EFFECTS)
def test_a_success_is_an_answer(effect: Effect, status: int) -> None:
    received = Received(status, {"etag": "1"}, {"id": 1})
    assert outcome(effect, received, PlainDialect(), NOW) == Answered(status, {"id": 1}, {"etag": "1"})


def test_a_success_without_a_body_is_an_answer() -> None:
    assert outcome("deletes", Received(204), PlainDialect(), NOW) == Answered(204, NO_BODY)


def test_a_success_that_cannot_be_read_leaves_a_write_unknown() -> None:
    garbled, large = Received(200, body=GARBLED), Received(200, body=OVERSIZE)
    assert isinstance(outcome("reads", garbled, PlainDialect(), NOW), Unanswered)
    assert isinstance(outcome("reads", large, PlainDialect(), NOW), Rejected)
    for effect in WRITES:
        assert isinstance(outcome(effect, garbled, PlainDialect(), NOW), Unknown)
        assert isinstance(outcome(effect, large, PlainDialect(), NOW), Unknown)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 408, 500, 502, 503, 504, 520, 529, 599, 999, 0, -1, 100])
def test_a_status_that_tells_nothing_of_what_was_done_leaves_a_write_unknown(status: int) -> None:
    assert isinstance(came_to("reads", status), Unanswered)
    for effect in WRITES:
        assert isinstance(came_to(effect, status), Unknown)


def test_not_modified_is_an_answer_to_a_read_alone() -> None:
    assert came_to("reads", 304) == Answered(304, NO_BODY)
    assert isinstance(came_to("changes", 304), Unknown)


@pytest.mark.parametrize("status", [500, 503, 400, 409])
def test_what_the_service_says_it_has_committed_is_saved_whatever_the_status(status: int) -> None:
    for effect in WRITES:
        assert came_to(effect, status, "x", saved=["p1", "p2"]) == Saved(("p1", "p2"))
    assert not isinstance(came_to("reads", status, "x", saved=["p1"]), Saved)


@pytest.mark.parametrize("effect", EFFECTS)
def test_too_fast_says_how_long_to_wait(effect: Effect) -> None:
    assert came_to(effect, 429) == Throttled(None, "429")
    assert came_to(effect, 429, headers={"retry-after": "7"}) == Throttled(7.0, "429")
    assert came_to(effect, 429, "too_fast", {"retry-after": "7"}, wait=9) == Throttled(9.0, "too_fast")
    assert came_to(effect, 403, "too_fast") == Throttled(None, "too_fast")
    later = (NOW + timedelta(seconds=30)).isoformat()
    assert came_to(effect, 429, "too_fast", until=later) == Throttled(30.0, "too_fast")


@pytest.mark.parametrize("effect", EFFECTS)
def test_an_overload_that_did_nothing_is_throttled_only_when_the_service_itself_says_so(effect: Effect) -> None:
    assert came_to(effect, 529, "too_fast", {"retry-after": "3"}) == Throttled(3.0, "too_fast")
    assert not isinstance(came_to(effect, 529, "else"), Throttled)
    assert not isinstance(came_to(effect, 503, "too_fast"), Throttled)


@pytest.mark.parametrize("effect", EFFECTS)
def test_a_quota_that_is_used_up_is_known_until_when_or_not(effect: Effect) -> None:
    tomorrow = NOW + timedelta(days=1)
    assert came_to(effect, 429, "per_day") == Exhausted(None, "per_day", "m")
    assert came_to(effect, 429, "per_day", {"retry-after": "86400"}) == Exhausted(tomorrow, "per_day", "m")
    assert came_to(effect, 403, "per_day", until=tomorrow.isoformat()) == Exhausted(tomorrow, "per_day", "m")


def test_a_wait_of_hours_is_a_quota_that_is_used_up() -> None:
    assert came_to("reads", 429, headers={"retry-after": "600"}) == Throttled(600.0, "429")
    later = NOW + timedelta(seconds=67_000)
    assert came_to("reads", 429, headers={"retry-after": "67000"}) == Exhausted(later, "429")
    assert came_to("reads", 429, "too_fast", until=later.isoformat()) == Exhausted(later, "too_fast", "m")


@pytest.mark.parametrize("effect", EFFECTS)
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, Unauthorized), (402, Forbidden), (403, Forbidden), (407, Forbidden), (451, Forbidden), (409, Conflict),
        (412, Conflict), (400, Rejected), (405, Rejected), (413, Rejected), (422, Rejected), (418, Rejected),
        (425, Throttled),
    ],
)  # fmt: skip
def test_a_refusal_is_what_its_status_says(effect: Effect, status: int, kind: type[Outcome]) -> None:
    assert isinstance(came_to(effect, status), kind)
    assert isinstance(came_to(effect, status, "something"), kind)


def test_the_service_s_word_goes_before_the_status() -> None:
    assert came_to("changes", 400, "changed") == Conflict("changed", "m")
    assert came_to("changes", 400, "was_deleted") == Gone("was_deleted", "m")


@pytest.mark.parametrize("status", [404, 410])
def test_what_is_not_there_is_gone_and_what_is_to_be_made_is_rejected(status: int) -> None:
    for effect in ("reads", "changes", "deletes"):
        assert came_to(effect, status, "x", missing=["p1"]) == Gone("x", "m", ("p1",))
    assert came_to("creates", status, "x") == Rejected("x", "m")


def test_a_refusal_keeps_the_service_s_own_words_and_shows_them_to_no_log() -> None:
    found = came_to("changes", 422, "invalid")
    assert found == Rejected("invalid", "m")
    assert "'m'" not in repr(found)


def test_an_outcome_keeps_the_ids_of_its_request() -> None:
    ids = Ids("ours", "theirs")
    assert identified(Throttled(1.0), ids) == Throttled(1.0, ids=ids)


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ("12", 12.0), ("1.5", 1.5), ("-4", 0.0), ("1e400", 366 * 86_400.0), ("nan", None), ("soon", None), ("", None),
        ("Sun, 22 Nov 2026 19:01:30 GMT", 90.0), ("Sun, 22 Nov 2026 18:00:00 GMT", 0.0),
        ("Sun, 99 Nov 2026 18:00:00 GMT", None), ("Sun Nov 22 19:00:20 2026", 20.0),
    ],
)  # fmt: skip
def test_retry_after_is_seconds_or_a_date(told: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": told}, NOW) == seconds


def test_a_date_to_wait_for_is_compared_with_the_service_s_own_clock() -> None:
    headers = {"retry-after": "Sun, 22 Nov 2026 12:00:10 GMT", "date": "Sun, 22 Nov 2026 12:00:00 GMT"}
    assert retry_after(headers, NOW) == 10.0
