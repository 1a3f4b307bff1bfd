"""The dialect of a service of no particular kind: `{"error": {"code", "message", …}}`, and headers of what is left."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from connectors.http.answer import Left, Received, Told
from connectors.http.outcome import seconds

MEANINGS = {"per_day": "exhausted", "too_fast": "throttled", "changed": "conflict", "was_deleted": "gone"}


class PlainDialect:
    """A `Dialect`. An error may say all that one can: `saved`, `wait`, `until`, `missing` and `request`."""

    not_done = frozenset({529})

    def told(self, answer: Received) -> Told:
        error: Any = answer.body.get("error") if isinstance(answer.body, dict) else None
        if not isinstance(error, dict):
            return Told(request_id=answer.headers.get("x-request-id"))
        code, until = str(error.get("code", "")), error.get("until")
        return Told(
            code,
            str(error.get("message", "")),
            MEANINGS.get(code),  # type: ignore[arg-type]
            saved=tuple(str(one) for one in error.get("saved") or ()),
            wait=seconds(error.get("wait")),
            until=datetime.fromisoformat(until) if until else None,
            missing=tuple(str(one) for one in error.get("missing") or ()),
            request_id=answer.headers.get("x-request-id"),
        )

    def left(self, answer: Received) -> Left:
        minute, day = answer.headers.get("x-minute-left"), answer.headers.get("x-day-left")
        return Left({} if minute is None else {60.0: int(minute)}, None if day is None else int(day))
