"""How Notion says that something is wrong: status, code and what its errors carry besides."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from connectors.http.answer import Left, Meaning, Received, Told
from connectors.http.outcome import seconds

OVERLOADED = 529
BLOCKED = "public_api_request_blocked"
ARCHIVED = "archived"
"""The code that we give to a page in the trash that was to be edited: Notion calls it a `validation_error`."""

_MEANINGS: Mapping[tuple[int, str], Meaning] = {
    (OVERLOADED, "service_overload"): "throttled",
    (409, "row_limit_exceeded"): "forbidden",
    (400, "missing_version"): "forbidden",
}
_ARCHIVED = re.compile(r"Can't edit .*\barchived\b", re.DOTALL)
_ID = re.compile(r"\bID: ([0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12})\b")


class NotionDialect:
    """A `Dialect`. A 503 may come after the write is done: then it names what it has committed, or says nothing. A 529
    says that nothing was done, and when to ask again, as a 429 does."""

    not_done = frozenset({OVERLOADED})

    def told(self, answer: Received) -> Told:
        body = answer.body if isinstance(answer.body, dict) else {}
        request_id = _text(body.get("request_id")) or answer.headers.get("x-notion-request-id")
        if body.get("object") != "error":
            return Told(request_id=request_id)
        code, message = _text(body.get("code")), _text(body.get("message"))
        more = body.get("additional_data")
        more = more if isinstance(more, dict) else {}
        if answer.status == 400 and code == "validation_error" and _ARCHIVED.match(message):
            return Told(ARCHIVED, message, "gone", request_id=request_id)
        return Told(
            code,
            message,
            _meaning(answer.status, code, more),
            saved=_committed(more),
            wait=seconds(more.get("retry_after")),
            missing=tuple(_ID.findall(message)) if code == "object_not_found" else (),
            request_id=request_id,
        )

    def left(self, _answer: Received) -> Left:
        """Notion tells nothing of what is left."""
        return Left()


def _meaning(status: int, code: str, more: Mapping[str, Any]) -> Meaning | None:
    if status == 429 and more.get("rate_limit_reason") == BLOCKED:
        return "exhausted"
    if status == 403 and more.get("block_limit") is not None:
        return "exhausted"
    return _MEANINGS.get((status, code))


def _committed(more: Mapping[str, Any]) -> tuple[str, ...]:
    children = more.get("committed_child_ids")
    found = [more.get("committed_resource_id"), *(children if isinstance(children, list) else ())]
    return tuple(one for one in found if isinstance(one, str) and one)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
