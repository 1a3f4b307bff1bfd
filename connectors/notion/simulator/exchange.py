"""One request and its answer: route, token, limits, version, faults, and then the endpoint."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal
from urllib.parse import parse_qs, unquote, urlsplit

from connectors.notion.simulator.errors import invalid_json, validation
from connectors.notion.simulator.reading import MISSING, Given

ROUTES: Sequence[tuple[str, re.Pattern[str], str]] = [
    (method, re.compile(f"/v1/{path}"), name)
    for method, path, name in (
        ("GET", "users/me", "get_me"),
        ("GET", "users/(?P<id>[^/]+)", "get_user"),
        ("GET", "databases/(?P<id>[^/]+)", "get_database"),
        ("GET", "data_sources/(?P<id>[^/]+)", "get_data_source"),
        ("PATCH", "data_sources/(?P<id>[^/]+)", "update_data_source"),
        ("POST", "data_sources/(?P<id>[^/]+)/query", "query_data_source"),
        ("POST", "pages", "create_page"),
        ("GET", "pages/(?P<id>[^/]+)", "get_page"),
        ("PATCH", "pages/(?P<id>[^/]+)", "update_page"),
        ("GET", "pages/(?P<id>[^/]+)/properties/(?P<property>[^/]+)", "get_property"),
        ("GET", "blocks/(?P<id>[^/]+)/children", "get_children"),
        ("PATCH", "blocks/(?P<id>[^/]+)/children", "append_children"),
        ("GET", "oauth/authorize", "oauth_authorize"),
        ("POST", "oauth/token", "oauth_token"),
        ("POST", "oauth/introspect", "oauth_introspect"),
        ("POST", "oauth/revoke", "oauth_revoke"),
    )
]
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Request:
    """As it came in; names of headers in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    content: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> Mapping[str, list[str]]:
        return parse_qs(urlsplit(self.target).query)

    def route(self) -> tuple[str, Mapping[str, str]]:
        """Its name and the parts of the path; ("unknown", {}) where there is none."""
        for method, path, name in ROUTES:
            found = path.fullmatch(self.path)
            if found is not None and method == self.method:
                return name, {part: unquote(text) for part, text in found.groupdict().items()}
        return UNKNOWN, {}

    def body(self, most: int) -> Given:
        """Raises ApiError for what is too large or no JSON object."""
        if len(self.content) > most:
            raise validation(
                f"body failed validation: body.length should be ≤ `{most}`, instead was `{len(self.content)}`."
            )
        if not self.content:
            return Given({} if self.method == "POST" else MISSING, "body")
        try:
            return Given(json.loads(self.content, parse_constant=_no_json), "body")
        except (ValueError, RecursionError):
            raise invalid_json() from None


def _no_json(text: str) -> object:
    raise ValueError(text)


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes out: all of it, half of it or nothing, after a wait of seconds."""

    status: int
    content: bytes
    headers: Mapping[str, str]
    part: Literal["all", "half", "none"] = "all"
    wait: float = 0

    def but(self, part: Literal["all", "half", "none"] = "all", wait: float = 0) -> Answer:
        return replace(self, part=part, wait=wait)


@dataclass(frozen=True, slots=True)
class Seen:
    """A line of the log. `status` is None where no whole answer went out; `done` whether it was carried out."""

    number: int
    at: datetime
    method: str
    path: str
    route: str
    connection: str | None
    status: int | None
    fault: str | None
    done: bool
    request_id: str


@dataclass(frozen=True, slots=True)
class Exchange:
    """What observers get: the bodies as JSON values, None where there is none."""

    seen: Seen
    ids: Mapping[str, str]
    query: Mapping[str, list[str]]
    request: object
    response: object
