"""The endpoint of a service that gives out tokens (RFC 6749, section 3.2)."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from urllib.parse import quote, urlsplit

from connectors.errors import OperatorError, Unavailable
from connectors.http.answer import Left, Received, Told
from connectors.http.auth.bearer import sendable
from connectors.http.auth.token import InvalidGrant, Token
from connectors.http.client import Bounds, HttpClient
from connectors.http.outcome import (
    Answered,
    Conflict,
    Exhausted,
    Forbidden,
    Gone,
    NotSent,
    Rejected,
    Throttled,
    Unanswered,
    Unauthorized,
    Unknown,
    seconds,
)
from connectors.http.request import Request

BOUNDS = Bounds(connect_seconds=5, write_seconds=5, read_seconds=15, total_seconds=20, response_bytes=1_000_000)
"""Others wait for the token meanwhile."""
_CODE = re.compile(r"[a-zA-Z_.]{1,60}")
_SECRET_NAMES = {"access_token", "refresh_token", "id_token", "token_type", "request_id"}
_LONGEST_ABOUT = 200


@dataclass(frozen=True, slots=True)
class Application:
    """What we are to the service: `how` says where its id and secret go, RFC 6749 section 2.3."""

    id: str
    secret: str | None = field(default=None, repr=False)
    how: Literal["basic", "body", "none"] = "basic"


class TokenDialect:
    """A `Dialect`: `{"error": "invalid_grant", …}`, or `code` in its place."""

    not_done: frozenset[int] = frozenset()

    def told(self, answer: Received) -> Told:
        body = answer.body if isinstance(answer.body, dict) else {}
        found = [body.get(name) for name in ("error", "code")]
        return Told(next((one for one in found if isinstance(one, str) and _CODE.fullmatch(one)), ""))

    def left(self, _answer: Received) -> Left:
        return Left()


class TokenEndpoint:
    """`connection` is its name for people, `settings` where its id and secret are set. `encoding` is how it reads
    parameters."""

    def __init__(
        self,
        url: str,
        application: Application | None,
        *,
        connection: str,
        settings: str,
        encoding: Literal["form", "json"] = "form",
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._url = url
        self._application = application
        self._connection = connection
        self._settings = settings
        self._encoding = encoding
        self._now = now

    def ask(self, parameters: Sequence[tuple[str, str]], former: Token | None = None) -> Token:
        """The token for these parameters; where it has no refresh token, it keeps that of the former one.

        Raises InvalidGrant, Unavailable, and OperatorError when the service refuses for another reason.
        """
        parts = urlsplit(self._url)
        http = HttpClient(
            f"{parts.scheme}://{parts.netloc}", TokenDialect(), connection=self._connection, bounds=BOUNDS
        )  # fmt: skip
        try:
            found = http.send(self._request(parts.path or "/", parameters))
        finally:
            http.close()
        match found:
            case Answered(body=body):
                return self._token(body, former)
            case Rejected(code) | Unauthorized(code) | Forbidden(code) | Gone(code) | Conflict(code):
                if code == "invalid_grant":
                    raise InvalidGrant(code)
                raise OperatorError(
                    f"The service of {self._connection} gives no token: it answers {code}.", self._advice(code)
                )
            case NotSent(reason) | Unknown(reason) | Unanswered(reason):
                raise Unavailable(f"the service of {self._connection} gives no token now: {reason}")
            case Throttled() | Exhausted():
                raise Unavailable(f"the service of {self._connection} gives no token now: it is asked too often")
            case _:
                raise Unavailable(f"the service of {self._connection} gives no token now")

    def _request(self, path: str, parameters: Sequence[tuple[str, str]]) -> Request:
        one, parameters, headers = self._application, list(parameters), {}
        if one is not None and one.how == "basic":
            pair = f"{quote(one.id, safe='')}:{quote(one.secret or '', safe='')}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        elif one is not None:
            parameters.append(("client_id", one.id))
            if one.how == "body":
                parameters.append(("client_secret", one.secret or ""))
        path = path.replace("{", "%7B")
        if self._encoding == "json":
            return Request("POST", path, "changes", body=dict(parameters), headers=headers)
        return Request("POST", path, "changes", form=parameters, headers=headers)

    def _advice(self, code: str) -> str:
        if code == "invalid_scope":
            return f"Correct the scopes in {self._settings}: they are those that the application has over there."
        return f"Compare id and secret in {self._settings} with those of the application over there."

    def _token(self, body: Any, former: Token | None) -> Token:
        access = body.get("access_token") if isinstance(body, dict) else None
        if not isinstance(access, str) or not access:
            raise OperatorError(
                f"The service of {self._connection} answers without a token.",
                f"See that the address of its tokens in {self._settings} is right.",
            )
        refresh = body.get("refresh_token")
        lasts = seconds(body.get("expires_in"))
        said = {name: value for name, value in body.items() if name not in _SECRET_NAMES and isinstance(value, str)}
        return Token(
            sendable(access),
            refresh if isinstance(refresh, str) and refresh else (former.refresh if former else None),
            None if lasts is None else self._now() + timedelta(seconds=lasts),
            {name: value for name, value in said.items() if len(value) <= _LONGEST_ABOUT}
            or (former.about if former else {}),
        )
