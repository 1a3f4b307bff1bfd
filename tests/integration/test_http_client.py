"""The client against a server on this host that hangs up, cuts, drips and talks rubbish: each request goes out once."""

from __future__ import annotations

import gzip
import io
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import pytest

from connectors.errors import OperatorError, Unavailable
from connectors.http.answer import NO_BODY
from connectors.http.auth.bearer import StaticToken
from connectors.http.client import Bounds, HttpClient
from connectors.http.outcome import (
    Answered,
    Conflict,
    NotSent,
    Outcome,
    Rejected,
    Saved,
    Throttled,
    Unanswered,
    Unauthorized,
    Unknown,
)
from connectors.http.pacing import Interrupted, Pacing, QuotaExhausted
from connectors.http.quota import Limit, Quota
from connectors.http.request import Request
from daemon.observe import logs
from tests.plain_dialect import PlainDialect
from tests.windows import Windows
from tests.wire import Answer, Wire, closes, drips, hangs, raw, resets, status, stays, wire

CREATE = Request("POST", "/pages", "creates", body={"title": "x"})
READ = Request("GET", "/pages/{page}", "reads", {"page": "p1"})
QUICK = Bounds(connect_seconds=0.3, read_seconds=0.3, total_seconds=0.6, response_bytes=1_000)


@pytest.fixture(autouse=True)
def _no_proxy_of_this_host(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def service() -> Iterator[Wire]:
    with wire() as found:
        yield found


@contextmanager
def client(url: str, **options: Any) -> Iterator[HttpClient]:
    found = HttpClient(url, PlainDialect(), connection="plain", **{"bounds": QUICK, **options})
    try:
        yield found
    finally:
        found.close()


def sent(url: str, request: Request, **options: Any) -> Outcome:
    with client(url, **options) as http:
        return http.send(request)


def test_a_request_is_sent_as_it_is_stated(service: Wire) -> None:
    service.answer(status(200, b'{"price": 0.10, "count": 12345678901234567890123}', {"ETag": "v1"}))
    request = Request(
        "PATCH", "/pages/{page}/x", "changes", {"page": "a/b ?"}, (("fields", "a&b"), ("fields", "c")),
        {"price": Decimal("1.10")}, headers={"If-Match": "v0"},
    )  # fmt: skip
    found = sent(service.url + "/v1/", request, auth=StaticToken("t"), headers={"Version": "2026-03-11"})
    assert isinstance(found, Answered)
    assert (found.status, found.headers["etag"]) == (200, "v1")
    assert found.body == {"price": Decimal("0.10"), "count": 12345678901234567890123}
    assert service.lines == ["PATCH /v1/pages/a%2Fb%20%3F/x?fields=a%26b&fields=c HTTP/1.1"]
    assert service.body() == b'{"price":1.10}'
    names = ("Authorization", "Version", "If-Match", "Content-Type", "Accept")
    expected = ["Bearer t", "2026-03-11", "v0", "application/json", "application/json"]
    assert [service.header(name) for name in names] == expected


def test_dots_that_fill_a_place_lead_nowhere_else(service: Wire) -> None:
    service.answer(status(200, {}))
    sent(service.url, Request("GET", "/a/{id}/b", "reads", {"id": ".."}))
    assert service.lines == ["GET /a/%2E%2E/b HTTP/1.1"]


def test_an_answer_without_a_body_is_one(service: Wire) -> None:
    service.answer(status(204))
    found = sent(service.url, Request("DELETE", "/x", "deletes"))
    assert isinstance(found, Answered)
    assert found.body is NO_BODY


CUT = b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"id": 1'
CHUNK_CUT = b'HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n{"id": 1\r\n'


@pytest.mark.parametrize(
    "answer",
    [
        closes, resets, hangs, drips, raw(CUT), raw(CHUNK_CUT), raw(b"SSH-2.0-OpenSSH_9.6\r\n"), raw(b"\x00\xff" * 400),
        raw(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nrubb"),
        raw(b"HTTP/1.1 200 OK\r\n"), status(200, b"<html>"), status(200, b"[" * 900), status(200, b" " * 1_001),
        status(200, gzip.compress(b" " * 90_000), {"Content-Encoding": "gzip"}),
        status(500), status(502, b"<html>"), status(503, {"error": {"code": "x"}}), status(408),
        status(307, headers={"Location": "/elsewhere"}),
    ],
)  # fmt: skip
def test_one_write_is_one_request_whatever_the_service_does_and_its_end_is_unknown(
    service: Wire, answer: Answer
) -> None:
    service.answer(answer, status(200, {}))
    assert isinstance(sent(service.url, CREATE, auth=StaticToken("t")), Unknown)
    assert (len(service.requests), service.connections) == (1, 1)


@pytest.mark.parametrize("answer", [closes, resets, hangs, drips, raw(CUT), raw(b"rubbish"), status(500)])
def test_a_read_that_fails_is_one_request_too(service: Wire, answer: Answer) -> None:
    service.answer(answer, status(200, {}))
    assert isinstance(sent(service.url, READ), Unanswered)
    assert len(service.requests) == 1


def test_a_kept_connection_that_is_closed_after_the_next_request_was_read_has_it_once(service: Wire) -> None:
    service.answer(stays(204), closes, status(200))
    with client(service.url) as http:
        assert isinstance(http.send(CREATE), Answered)
        assert isinstance(http.send(CREATE), Unknown)
    assert (len(service.requests), service.connections) == (2, 1)


def test_a_kept_connection_that_was_closed_meanwhile_is_not_used(service: Wire) -> None:
    service.answer(raw(b"HTTP/1.1 204 Said\r\n\r\n"), status(200, {}))
    with client(service.url) as http:
        http.send(CREATE)
        service.closed.acquire(timeout=10)
        assert isinstance(http.send(CREATE), Answered)
    assert (len(service.requests), service.connections) == (2, 2)


def test_a_refusal_in_a_connection_that_is_closed_at_once_is_known(service: Wire) -> None:
    service.answer(status(422, {"error": {"code": "bad", "message": "m"}}))
    found = sent(service.url, CREATE)
    assert found == Rejected("bad", "m", ids=found.ids)


def test_what_the_service_has_saved_is_named(service: Wire) -> None:
    service.answer(status(503, {"error": {"code": "x", "saved": ["p9"]}}))
    found = sent(service.url, CREATE)
    assert isinstance(found, Saved)
    assert found.saved == ("p9",)


def test_nobody_listens_and_nothing_was_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    found = sent(url, CREATE)
    assert isinstance(found, NotSent)
    assert "refused" in found.reason


def test_a_host_that_does_not_exist_was_sent_nothing() -> None:
    assert isinstance(sent("http://nothing.invalid", CREATE), NotSent)


def test_a_service_that_never_accepts_was_sent_nothing() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(address)
        found = sent(f"http://127.0.0.1:{address[1]}", CREATE)
        for one in waiting:
            one.close()
    assert found == NotSent("ConnectTimeout: timed out", ids=found.ids)


def test_a_service_that_accepts_and_never_reads_leaves_a_write_unknown() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        large = Request("POST", "/pages", "creates", body="x" * 20_000_000)
        assert isinstance(sent(url, large, bounds=Bounds(write_seconds=0.3, read_seconds=0.3)), Unknown)


def test_a_handshake_that_fails_has_sent_nothing(service: Wire) -> None:
    service.answer(closes)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=lambda: listener.accept()[0].close()).start()
        found = sent(f"https://127.0.0.1:{listener.getsockname()[1]}", CREATE)
    assert isinstance(found, NotSent)


def test_a_proxy_of_the_environment_is_used(service: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    service.answer(status(200, {}))
    monkeypatch.setenv("HTTP_PROXY", service.url)
    monkeypatch.setenv("NO_PROXY", "")
    sent("http://service.invalid/v1", READ)
    assert service.lines == ["GET http://service.invalid/v1/pages/p1 HTTP/1.1"]


def test_a_proxy_that_leads_nowhere_was_sent_nothing_of_it(service: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    service.answer(status(502))
    monkeypatch.setenv("HTTPS_PROXY", service.url)
    monkeypatch.setenv("NO_PROXY", "")
    found = sent("https://service.invalid", CREATE, auth=StaticToken("tok-5ecret"))
    assert isinstance(found, NotSent)
    assert b"5ecret" not in service.requests[0]


class Renewing:
    """A `Bearer` with one token after the other."""

    def __init__(self, *tokens: str) -> None:
        self._tokens = list(tokens)
        self.refused: list[str] = []

    def token(self) -> str:
        return self._tokens[0]

    def renewed(self, refused: str) -> str | None:
        self.refused.append(refused)
        self._tokens.pop(0)
        return self._tokens[0] if self._tokens else None


def test_a_refused_token_is_renewed_once_and_the_same_is_sent_again(service: Wire) -> None:
    service.answer(status(401), status(201, {"id": 1}))
    auth = Renewing("old", "new")
    assert isinstance(sent(service.url, CREATE, auth=auth), Answered)
    assert [service.header("Authorization", request) for request in (0, 1)] == ["Bearer old", "Bearer new"]
    assert auth.refused == ["old"]


def test_a_token_that_is_refused_again_is_not_renewed_again(service: Wire) -> None:
    service.answer(status(401), status(401), status(200))
    assert isinstance(sent(service.url, CREATE, auth=Renewing("a", "b", "c")), Unauthorized)
    assert len(service.requests) == 2


def test_a_fixed_token_that_is_refused_is_not_sent_again(service: Wire) -> None:
    service.answer(status(401), status(200))
    assert isinstance(sent(service.url, CREATE, auth=StaticToken("t")), Unauthorized)
    assert len(service.requests) == 1


@pytest.mark.parametrize("code", [409, 429, 400, 404])
def test_no_other_refusal_is_sent_again(service: Wire, code: int) -> None:
    service.answer(status(code, headers={"Retry-After": "0"}), status(200))
    sent(service.url, CREATE, auth=Renewing("a", "b"))
    assert len(service.requests) == 1


@pytest.mark.parametrize("token", ["", " ", "a b", "a\nb", "tök"])
def test_a_token_that_no_header_may_hold_is_refused_without_showing_it(token: str) -> None:
    with pytest.raises(OperatorError, match="empty, or holds spaces") as refused:
        StaticToken(token)
    assert refused.value.exit_code == 2


def test_an_address_with_a_password_is_refused() -> None:
    with pytest.raises(ValueError, match="name or a password"):
        HttpClient("https://me:secret@example.org", PlainDialect(), connection="plain")


def test_an_outcome_has_the_ids_of_its_request(service: Wire) -> None:
    service.answer(status(409, {"error": {"code": "x"}}, {"X-Request-Id": "theirs"}), status(200, {}))
    with client(service.url) as http:
        first, second = http.send(CREATE), http.send(CREATE)
    assert isinstance(first, Conflict)
    assert first.ids.theirs == "theirs"
    assert len({first.ids.ours, second.ids.ours, ""}) == 3


def test_cookies_of_a_service_are_not_kept(service: Wire) -> None:
    service.answer(status(200, {}, {"Set-Cookie": "session=1"}), status(200, {}))
    with client(service.url) as http:
        http.send(READ)
        http.send(READ)
    assert service.header("Cookie") is None


class Paced:
    """A pacing whose clock moves as it waits."""

    def __init__(self, quota: Quota) -> None:
        self.now = 1_795_000_000.0
        self.waited: list[float] = []
        self.stop = threading.Event()
        self.windows = Windows(lambda: self.now)
        self.pacing = Pacing(self.windows, "plain", quota, self.stop, wait=self._wait)

    def _wait(self, seconds: float) -> bool:
        self.waited.append(seconds)
        self.now += seconds
        return self.stop.is_set()


def test_all_clients_of_a_connection_wait_when_one_was_too_fast(service: Wire) -> None:
    service.answer(status(429, headers={"Retry-After": "30"}), status(200, {}))
    paced = Paced(Quota())
    with client(service.url, pacing=paced.pacing) as first, client(service.url, pacing=paced.pacing) as second:
        assert isinstance(first.send(READ), Throttled)
        assert isinstance(second.send(READ), Answered)
    assert sum(paced.waited) == pytest.approx(31)


def test_a_request_waits_for_its_quota(service: Wire) -> None:
    service.answer(*[status(200, {})] * 3)
    paced = Paced(Quota((Limit(2, 60.0),)))
    with client(service.url, pacing=paced.pacing) as http:
        for _ in range(3):
            http.send(READ)
    assert sum(paced.waited) == pytest.approx(61, abs=0.5)


def test_what_others_have_used_is_read_from_the_answer(service: Wire) -> None:
    service.answer(status(200, {}, {"X-Day-Left": "1"}), status(200, {}))
    paced = Paced(Quota(day=100))
    with client(service.url, pacing=paced.pacing) as http:
        http.send(READ)
        http.send(READ)
        with pytest.raises(QuotaExhausted) as parked:
            http.send(READ)
    assert parked.value.until.timestamp() == paced.now + 86_400
    assert len(service.requests) == 2


def test_a_used_up_quota_is_parked_and_nothing_more_is_asked(service: Wire) -> None:
    service.answer(status(429, {"error": {"code": "per_day"}}, {"Retry-After": "5000"}))
    paced = Paced(Quota())
    with client(service.url, pacing=paced.pacing) as http:
        http.send(READ)
        with pytest.raises(QuotaExhausted):
            http.send(READ)
    assert len(service.requests) == 1
    assert paced.waited == []


def test_a_worker_that_is_to_end_waits_for_no_quota(service: Wire) -> None:
    service.answer(status(429, headers={"Retry-After": "30"}))
    stop = threading.Event()
    pacing = Pacing(Windows(lambda: 0.0), "plain", Quota(), stop)
    with client(service.url, pacing=pacing) as http:
        http.send(READ)
        threading.Timer(0.05, stop.set).start()
        with pytest.raises(Interrupted):
            http.send(READ)


def test_an_outcome_is_told_although_the_quota_cannot_be(service: Wire) -> None:
    service.answer(status(201, {"id": 1}))
    paced = Paced(Quota())

    class Down(Windows):
        def change(self, connection: str, change: Any) -> Any:
            if service.requests:
                raise Unavailable("the state database is away")
            return super().change(connection, change)

    pacing = Pacing(Down(lambda: paced.now), "plain", Quota(), paced.stop)
    assert isinstance(sent(service.url, CREATE, pacing=pacing), Answered)


def test_a_request_that_cannot_be_stated_takes_no_quota(service: Wire) -> None:
    paced = Paced(Quota())
    with client(service.url, pacing=paced.pacing) as http, pytest.raises(TypeError):
        http.send(Request("POST", "/x", "creates", body=object()))
    assert paced.windows.kept == {}


SECRETS = (
    "tok-5ecret",
    "query-5ecret",
    "place-5ecret",
    "body-5ecret",
    "header-5ecret",
    "answer-5ecret",
    "cookie-5ecret",
)


@pytest.mark.parametrize(
    "answer",
    [
        status(200, {"title": "answer-5ecret"}, {"Set-Cookie": "a=cookie-5ecret"}),
        status(400, {"error": {"code": "bad", "message": "should not be answer-5ecret"}}),
        status(401, b"answer-5ecret"), status(302, headers={"Location": "/answer-5ecret"}), closes, resets,
        raw(b"HTTP/1.1 200 answer-5ecret\r\nBad Header answer-5ecret\r\n\r\n"), raw(b"answer-5ecret\r\n"),
    ],
)  # fmt: skip
def test_no_log_line_and_no_outcome_shows_a_secret_or_a_value(
    service: Wire, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.answer(answer)
    request = Request(
        "POST", "/pages/{page}", "creates", {"page": "place-5ecret"}, (("q", "query-5ecret"),),
        {"title": "body-5ecret"}, headers={"X-Key": "header-5ecret"},
    )  # fmt: skip
    said = io.StringIO()
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    monkeypatch.setattr("sys.stderr", said)
    try:
        logs.configure("debug", "json")
        found = sent(service.url, request, auth=StaticToken("tok-5ecret"))
    finally:
        root.handlers, root.level = handlers, level
    assert "/pages/{page}" in said.getvalue()
    assert found.ids.ours in said.getvalue()
    for text in (said.getvalue(), repr(found), repr(request)):
        assert not [secret for secret in SECRETS if secret in text]


def test_what_cannot_be_sent_is_not_quoted_by_its_error() -> None:
    request = Request("GET", "/x", "reads", headers={"X-Key": "header-5ecret\r\nX: 1"})
    with socket.create_server(("127.0.0.1", 0)) as listener:
        found = sent(f"http://127.0.0.1:{listener.getsockname()[1]}", request)
    assert "5ecret" not in repr(found)
