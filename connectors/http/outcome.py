"""The table of outcomes: what was asked, and what came of it, decided by one pure function.

Nothing else says whether a request may be sent again. A write that may have been carried out is `Unknown`, whatever
came: the service is asked what it has before anything is sent anew.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from connectors.http.answer import GARBLED, OVERSIZE, Came, Dialect, Effect, Lost, Meaning, Received, Told

LONG_WAIT_SECONDS = 600.0
"""A service that asks for more than this has no quota left: that is waited for by parking, not by sleeping."""
LONGEST_WAIT_SECONDS = 366 * 86_400.0


@dataclass(frozen=True, slots=True)
class Ids:
    """Of one request, for the audit and for the service's support: `ours` stands in our log."""

    ours: str = ""
    theirs: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    ids: Ids = Ids()


@dataclass(frozen=True, slots=True)
class Answered(_Outcome):
    """Done, and this is the answer; `body` is NO_BODY where there was none. `headers` by name in lower case."""

    status: int
    body: Any = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class NotSent(_Outcome):
    """Nothing has left this host: the same may be sent after a while."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unanswered(_Outcome):
    """A read without a usable answer: the same may be sent after a while, `wait` seconds where it was told."""

    reason: str
    wait: float | None = None


@dataclass(frozen=True, slots=True)
class Unknown(_Outcome):
    """A write that may have been carried out, or may not: look before it is sent again."""

    reason: str
    wait: float | None = None


@dataclass(frozen=True, slots=True)
class Saved(_Outcome):
    """An error, and yet the write is done: the service says that it has committed these ids. Adopt and read them."""

    saved: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Throttled(_Outcome):
    """Too fast; nothing was done. The whole connection waits, `wait` seconds where it was told."""

    wait: float | None
    code: str = ""


@dataclass(frozen=True, slots=True)
class Exhausted(_Outcome):
    """The quota of the day, the month or the plan is used up; nothing was done. Known until when, or not."""

    until: datetime | None
    code: str = ""
    message: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Unauthorized(_Outcome):
    """The credentials were not taken; nothing was done."""

    code: str = ""


@dataclass(frozen=True, slots=True)
class Forbidden(_Outcome):
    """The connection may not do this; nothing was done, and a person has to act over there."""

    code: str = ""
    message: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Rejected(_Outcome):
    """Refused for what it holds; nothing was done, and the same is refused again. `message` is the service's own."""

    code: str
    message: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Gone(_Outcome):
    """What was to be read, changed or deleted is not there. `missing` are the ids that the service names: where they
    are others than the one that was asked for, something that the request refers to is not there."""

    code: str = ""
    message: str = field(default="", repr=False)
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Conflict(_Outcome):
    """It has changed meanwhile, or is there already; nothing was done. Read and decide again."""

    code: str = ""
    message: str = field(default="", repr=False)


Outcome = (
    Answered | NotSent | Unanswered | Unknown | Saved | Throttled | Exhausted | Unauthorized | Forbidden | Rejected
    | Gone | Conflict
)  # fmt: skip
Of = TypeVar("Of", bound=_Outcome)

_BY_STATUS: Mapping[int, Meaning] = {
    401: "unauthorized",
    402: "forbidden",
    403: "forbidden",
    404: "gone",
    407: "forbidden",
    409: "conflict",
    410: "gone",
    412: "conflict",
    425: "throttled",
    429: "throttled",
    451: "forbidden",
}
_MAY_BE_DONE = {408}
"""The one of 400 to 499 that says nothing of what was done: the service may have had enough of the request."""


def identified(outcome: Of, ids: Ids) -> Of:
    """The same outcome, of this request."""
    return replace(outcome, ids=ids)


def outcome(effect: Effect, came: Came, dialect: Dialect, now: datetime) -> Outcome:
    """What has come of a request; `now` is aware. Raises nothing."""
    if isinstance(came, Lost):
        if not came.sent:
            return NotSent(came.reason)
        return Unanswered(came.reason) if effect == "reads" else Unknown(came.reason)
    if 200 <= came.status < 300 or (came.status == 304 and effect == "reads"):
        return _success(effect, came)
    told = dialect.told(came)
    if told.saved and effect != "reads":
        return Saved(told.saved)
    wait = told.wait if told.wait is not None else retry_after(came.headers, now)
    if _refused(came.status) or (came.status in dialect.not_done and told.meaning is not None):
        return _refusal(effect, came.status, told, wait, now)
    reason = f"the service answered {came.status}"
    return Unanswered(reason, wait) if effect == "reads" else Unknown(reason, wait)


def _success(effect: Effect, came: Received) -> Outcome:
    if came.body is OVERSIZE:
        # The same read is as large the next time.
        return (
            Rejected("response_too_large", "The answer is larger than what is read of one.")
            if effect == "reads"
            else Unknown("the answer is larger than what is read of one")
        )
    if came.body is GARBLED:
        reason = "the answer cannot be read"
        return Unanswered(reason) if effect == "reads" else Unknown(reason)
    return Answered(came.status, came.body, came.headers)


def _refused(status: int) -> bool:
    return 400 <= status < 500 and status not in _MAY_BE_DONE


def _refusal(effect: Effect, status: int, told: Told, wait: float | None, now: datetime) -> Outcome:
    """Nothing was done, and this is why."""
    meaning = told.meaning or _BY_STATUS.get(status, "rejected")
    code = told.code or str(status)
    match meaning:
        case "exhausted":
            return Exhausted(_later(told.until, wait, now), code, told.message)
        case "throttled":
            if told.until is not None:
                wait = max(wait or 0.0, (told.until - now).total_seconds())
            if wait is not None and wait > LONG_WAIT_SECONDS:
                return Exhausted(_later(told.until, wait, now), code, told.message)
            return Throttled(wait, code)
        case "unauthorized":
            return Unauthorized(code)
        case "forbidden":
            return Forbidden(code, told.message)
        case "conflict":
            return Conflict(code, told.message)
        case "gone" if effect != "creates":
            return Gone(code, told.message, told.missing)
        case "gone" | "rejected":
            # What is to be made is not there yet: something that it refers to is missing.
            return Rejected(code, told.message)


def _later(until: datetime | None, wait: float | None, now: datetime) -> datetime | None:
    told = [time for time in (until, None if wait is None else now + timedelta(seconds=wait)) if time is not None]
    return max(told, default=None)


def seconds(text: object) -> float | None:
    """Seconds to wait, as a header or a body has them. None: it does not say."""
    try:
        found = (
            float(text) if isinstance(text, str | int | float | Decimal) and not isinstance(text, bool) else math.nan
        )
    except (ValueError, OverflowError):
        return None
    return None if math.isnan(found) else min(max(found, 0.0), LONGEST_WAIT_SECONDS)


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """The header of that name, in seconds: it is a number of them, or a date, which is compared with the answer's own,
    for the two clocks need not agree. None: there is none that can be read."""
    told = headers.get("retry-after")
    if told is None:
        return None
    if (found := seconds(told)) is not None:
        return found
    at = _date(told)
    return None if at is None else seconds((at - (_date(headers.get("date")) or now)).total_seconds())


def _date(text: str | None) -> datetime | None:
    try:
        found = parsedate_to_datetime(text or "")
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
