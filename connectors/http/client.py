"""Sends requests to a service, each of them once, and says what has come of it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Final

import httpx
import msgspec
import structlog

from connectors.http.answer import GARBLED, NO_BODY, OVERSIZE, Came, Dialect, Left, Lost, Received
from connectors.http.auth.bearer import Bearer
from connectors.http.outcome import Answered, Ids, Outcome, Unauthorized, identified, outcome
from connectors.http.pacing import Pacing
from connectors.http.request import Request

_NEVER_SENT = (
    httpx.ConnectError,  # refused, not resolved, TLS
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,  # the proxy makes no way to the service
    httpx.UnsupportedProtocol,
)
"""Raised before the first byte of a request. Of any other failure nobody knows how far the request has come."""
_LONGEST_ID = 200
TOO_LATE: Final = Lost(False, "it was too late to be sent")

_decode: Final[Callable[[bytes], Any]] = msgspec.json.Decoder(Any, float_hook=Decimal).decode
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one request may take: in seconds, each pause of its writing and reading and all of its answer; in bytes, the
    answer's body. `connections`: at the same time."""

    connect_seconds: float = 10.0
    write_seconds: float = 30.0
    read_seconds: float = 60.0
    total_seconds: float = 120.0
    response_bytes: int = 32 * 1024 * 1024
    connections: int = 10


class HttpClient:
    """One service, as one connection of ours uses it; from any thread. Nothing is sent twice but what was refused for
    its token. Proxies and certificates are those of the environment, as httpx reads them."""

    def __init__(
        self,
        base_url: str,
        dialect: Dialect,
        *,
        connection: str,
        auth: Bearer | None = None,
        pacing: Pacing | None = None,
        headers: Mapping[str, str] | None = None,
        bounds: Bounds = Bounds(),
    ) -> None:
        """`connection` is its name in logs. Raises ValueError where the address holds credentials."""
        if httpx.URL(base_url).userinfo:
            raise ValueError("the address of a service holds a name or a password")
        self._base_url = base_url.rstrip("/")
        self._dialect = dialect
        self._auth = auth
        self._pacing = pacing
        self._bounds = bounds
        self._log = log.bind(connection=connection)
        self._http = httpx.Client(
            headers={"Accept": "application/json", **(headers or {})},
            timeout=httpx.Timeout(
                connect=bounds.connect_seconds,
                write=bounds.write_seconds,
                read=bounds.read_seconds,
                pool=bounds.total_seconds,
            ),
            limits=httpx.Limits(max_connections=bounds.connections),
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            follow_redirects=False,
        )

    def send(self, request: Request) -> Outcome:
        """What has come of it. A token that is refused is renewed once: nothing was carried out under it.

        Raises before anything was carried out: QuotaExhausted, Interrupted, Unavailable when quota or token cannot be
        told, and OperatorError when a person has to give credentials.
        """
        if self._auth is None:
            return self._once(request, None)
        token = self._auth.token()
        found = self._once(request, token)
        if isinstance(found, Unauthorized) and (other := self._auth.renewed(token)) is not None:
            return self._once(request, other)
        return found

    def await_room(self) -> None:
        """Wait until a request may go at once. Raises QuotaExhausted, Interrupted and Unavailable."""
        if self._pacing is not None:
            self._pacing.await_room()

    def close(self) -> None:
        """Leave; safe to repeat."""
        self._http.close()

    def _once(self, request: Request, token: str | None) -> Outcome:
        ours = uuid.uuid4().hex
        built = self._built(request, token)
        granted = None if self._pacing is None else self._pacing.take(request.units)
        began = time.monotonic()
        came: Came = Lost(True, "nobody has waited for the answer")
        try:
            came = self._exchange(built, request.latest)
        finally:
            theirs, left = self._said(came)
            found = identified(outcome(request.effect, came, self._dialect, datetime.now(UTC)), Ids(ours, theirs))
            if self._pacing is not None and granted is not None:
                self._pacing.settle(granted, found, left)
            self._tell(request, came, found, time.monotonic() - began)
        return found

    def _built(self, request: Request, token: str | None) -> httpx.Request:
        headers, content = dict(request.headers), None
        if request.content is not None:
            headers["Content-Type"], content = request.content
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return self._http.build_request(
            request.method,
            self._base_url + request.filled,
            params=list(request.query) or None,
            content=content,
            headers=headers,
        )

    def _exchange(self, built: httpx.Request, latest: float | None) -> Came:
        if latest is not None:
            if (left := latest - time.monotonic()) <= 0:
                return TOO_LATE
            timeout = built.extensions["timeout"]
            built.extensions["timeout"] = {
                **timeout, "pool": min(timeout["pool"], left), "connect": min(timeout["connect"], left),
            }  # fmt: skip
        deadline = time.monotonic() + self._bounds.total_seconds
        try:
            response = self._http.send(built, stream=True)
            try:
                return self._received(response, deadline)
            finally:
                response.close()
        except _NEVER_SENT as error:
            # These are the system's words about an address; others may quote what was sent.
            return Lost(False, f"{type(error).__name__}: {error}")
        except httpx.HTTPError as error:
            return Lost(True, type(error).__name__)

    def _received(self, response: httpx.Response, deadline: float) -> Came:
        body = bytearray()
        headers = {name.lower(): value for name, value in response.headers.items()}
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > self._bounds.response_bytes:
                return Received(response.status_code, headers, OVERSIZE)
            if time.monotonic() > deadline:
                return Lost(True, f"the answer has taken more than {self._bounds.total_seconds:g} seconds")
        return Received(response.status_code, headers, _parsed(bytes(body)))

    def _said(self, came: Came) -> tuple[str | None, Left]:
        """The service's id of the request, and what it has told of the quota."""
        if isinstance(came, Lost):
            return None, Left()
        theirs = self._dialect.told(came).request_id
        return theirs and theirs[:_LONGEST_ID], self._dialect.left(came)

    def _tell(self, request: Request, came: Came, found: Outcome, seconds: float) -> None:
        """Neither places nor queries, headers, bodies or the service's words, which may quote them."""
        tell = self._log.debug if isinstance(found, Answered) else self._log.info
        tell(
            "request",
            method=request.method,
            path=request.path,
            status=None if isinstance(came, Lost) else came.status,
            lost=came.reason if isinstance(came, Lost) else None,
            outcome=type(found).__name__,
            seconds=round(seconds, 3),
            request_id=found.ids.ours,
            their_request_id=found.ids.theirs,
        )


def _parsed(body: bytes) -> Any:
    """JSON as Python has it; a number with a point is a Decimal."""
    if not body:
        return NO_BODY
    try:
        return _decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError, ArithmeticError):
        return GARBLED
