"""Heads of requests: what could be understood in two ways is refused."""

from __future__ import annotations

from http import HTTPStatus

import pytest

from daemon.webhooks.head import Head, Refused, parse

FIRST = b"POST /webhooks/notion HTTP/1.1\r\nHost: x"


def test_a_head_is_read_with_its_headers_in_lower_case() -> None:
    found = parse(b"POST /webhooks/notion?a=b HTTP/1.1\r\nHost: x\r\nX-Signature:  a b \r\nx-signature:c\r\nX-Empty:")
    headers = {"host": "x", "x-signature": "a b, c", "x-empty": ""}
    assert found == Head("POST", "/webhooks/notion", headers)


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"POST /webhooks/notion",
        b"post /webhooks/notion HTTP/1.1",
        b"POST  /webhooks/notion HTTP/1.1",
        b"POST /webhooks/notion HTTP/2.0",
        b"POST /" + b"x" * 2_000 + b" HTTP/1.1",
        b"POST /a\nb HTTP/1.1",
        b"\x16\x03\x01\x02\x00\x01",
        FIRST + b"\r\nno colon",
        FIRST + b"\r\n folded: line",
        FIRST + b"\r\nspace : x",
        FIRST + b"\r\n: x",
        FIRST + b"\r\nA: x\ny",
        FIRST + b"\r\nA: x\x00y",
        FIRST + b"\r\nA: x\ry",
        FIRST + b"\r\n",
    ],
)
def test_what_is_no_request_of_http_is_refused(head: bytes) -> None:
    with pytest.raises(Refused) as refused:
        parse(head)
    assert refused.value.status == HTTPStatus.BAD_REQUEST


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (b"", 411),
        (b"\r\nTransfer-Encoding: chunked", 411),
        (b"\r\nContent-Length: 3\r\nTransfer-Encoding: identity", 411),
        (b"\r\nContent-Length: 3\r\nContent-Length: 4", 400),
        (b"\r\nContent-Length: 3\r\nContent-Length: 3", 400),
        (b"\r\nContent-Length: -1", 400),
        (b"\r\nContent-Length: +3", 400),
        (b"\r\nContent-Length: 0x10", 400),
        (b"\r\nContent-Length: \xb2", 400),
        (b"\r\nContent-Length:", 400),
        (b"\r\nContent-Length: 101", 413),
        (b"\r\nContent-Length: 999999999999", 413),
    ],
)
def test_a_body_is_as_long_as_it_was_announced_and_that_is_bounded(headers: bytes, status: int) -> None:
    with pytest.raises(Refused) as refused:
        parse(FIRST + headers).length(100)
    assert refused.value.status == status
    assert parse(FIRST + b"\r\nContent-Length: 100").length(100) == 100
