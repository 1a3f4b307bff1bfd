"""Requests of strangers are few, small and soon over, and whatever they send costs nobody else anything."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from http import HTTPStatus

import pytest

from daemon.errors import OperatorError
from daemon.webhooks.head import Head
from daemon.webhooks.listener import BODY_BYTES, HEAD_BYTES, Answer, Bounds, Listener
from tests.waiting import until

SECONDS = 20.0


class Heard:
    """Answers 200, or raises; holds requests back while `go` is not set."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.statuses: list[int] = []
        self.inside = 0
        self.go = threading.Event()
        self.go.set()

    def admit(self, head: Head) -> Answer | None:
        return Answer(HTTPStatus.NOT_FOUND) if head.path == "/nowhere" else None

    def answer(self, head: Head, body: bytes) -> Answer:
        self.inside += 1
        assert self.go.wait(SECONDS)
        if head.path == "/broken":
            raise ValueError("of its own")
        self.bodies.append(body)
        return Answer(HTTPStatus.OK)

    def refused(self, status: HTTPStatus) -> None:
        self.statuses.append(status)


Listen = Callable[[Bounds], Listener]


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def listen(heard: Heard) -> Iterator[Listen]:
    with ExitStack() as stack:
        yield lambda bounds: stack.enter_context(closing(Listener("127.0.0.1", 0, heard, bounds)))
        heard.go.set()


def connected(listener: Listener) -> socket.socket:
    return socket.create_connection(("127.0.0.1", listener.port), SECONDS)


def answered(connection: socket.socket) -> bytes:
    """All that comes until the other side has closed."""
    found = b""
    while more := connection.recv(65_536):
        found += more
    return found


def asked(listener: Listener, request: bytes) -> int:
    """The status of the answer, 0 for none: who is turned away unread may see only that the connection ends."""
    with connected(listener) as connection:
        try:
            connection.sendall(request)
            answer = answered(connection)
        except ConnectionError:
            return 0
    return int(answer.split(b" ")[1]) if answer else 0


def post(body: bytes, *headers: bytes, path: bytes = b"/webhooks/notion") -> bytes:
    lines = [b"POST " + path + b" HTTP/1.1", b"Host: x", b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join([*lines, b"", body])


def test_a_request_is_answered_however_it_is_cut_and_the_connection_ends(listen: Listen, heard: Heard) -> None:
    listener = listen(Bounds())
    with connected(listener) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in post(b"\x00hello\r\n\r\n"):
            connection.sendall(bytes([byte]))
        assert answered(connection) == b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    assert heard.bodies == [b"\x00hello\r\n\r\n"]


def test_what_comes_after_a_request_is_no_request(listen: Listen, heard: Heard) -> None:
    assert asked(listen(Bounds()), post(b"one") + post(b"two")) == 200
    assert heard.bodies == [b"one"]


def test_a_client_that_waits_to_be_asked_is_asked(listen: Listen, heard: Heard) -> None:
    with connected(listen(Bounds())) as connection:
        connection.sendall(post(b"", b"Expect: 100-continue").replace(b"Length: 0", b"Length: 5"))
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"hello")
        assert answered(connection).startswith(b"HTTP/1.1 200 ")
    assert heard.bodies == [b"hello"]


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (post(b"x" * BODY_BYTES), 200),
        (post(b"x" * (BODY_BYTES + 1)), 413),
        (post(b"").replace(b"Length: 0", b"Length: 99999999"), 413),
        (post(b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked"), 411),
        (post(b"", b"X: " + b"x" * HEAD_BYTES), 431),
        (b"x" * (HEAD_BYTES + 70_000), 431),
        (post(b"hello", path=b"/nowhere"), 404),
        (post(b"x" * 100_000, path=b"/nowhere"), 404),
        (post(b"", path=b"/broken"), 500),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nbroken\r\n\r\n", 400),
    ],
)
def test_a_request_is_as_large_as_it_may_be_and_is_told_so(
    listen: Listen, heard: Heard, request_: bytes, status: int
) -> None:
    assert asked(listen(Bounds()), request_) == status
    assert len(heard.bodies) == (status == 200)


@pytest.mark.parametrize("sent", [b"", b"POST /webhooks/notion HT", post(b"hello")[:-1]])
def test_a_request_that_does_not_come_to_its_end_ends_in_time(listen: Listen, heard: Heard, sent: bytes) -> None:
    began = time.monotonic()
    assert asked(listen(Bounds(read_seconds=0.2)), sent) == 408
    assert time.monotonic() - began < SECONDS / 2
    assert heard.bodies == []


def test_a_request_that_trickles_in_ends_in_time(listen: Listen, heard: Heard) -> None:
    """Each byte comes soon after the one before: the time is that of the whole."""
    listener, stop = listen(Bounds(read_seconds=0.3)), threading.Event()
    with connected(listener) as connection:

        def trickle() -> None:
            for byte in post(b"x" * 1_000):
                if stop.wait(0.01):
                    return
                try:
                    connection.sendall(bytes([byte]))
                except OSError:
                    return

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            assert answered(connection).startswith(b"HTTP/1.1 408 ")
        finally:
            stop.set()
            thread.join()
    assert heard.bodies == []


def test_those_that_say_nothing_keep_nobody_out(listen: Listen, heard: Heard) -> None:
    listener = listen(Bounds(read_seconds=0.3, connections=4))
    with ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(connected(listener))
        until(lambda: asked(listener, post(b"hello")) == 200, SECONDS)
    assert HTTPStatus.SERVICE_UNAVAILABLE in heard.statuses, "it was full meanwhile"


def test_no_more_are_answered_at_a_time_than_may_be(listen: Listen, heard: Heard) -> None:
    listener = listen(Bounds(connections=2))
    heard.go.clear()
    with connected(listener) as one, connected(listener) as two:
        for connection in (one, two):
            connection.sendall(post(b"hello"))
        until(lambda: heard.inside == 2, SECONDS)
        with connected(listener) as third:
            assert answered(third).startswith(b"HTTP/1.1 503 "), "turned away unread"
        heard.go.set()
        assert answered(one).startswith(b"HTTP/1.1 200 ")
        assert answered(two).startswith(b"HTTP/1.1 200 ")


def test_whoever_is_there_when_it_ends_is_answered(heard: Heard) -> None:
    listener = Listener("127.0.0.1", 0, heard)
    heard.go.clear()
    with connected(listener) as connection:
        connection.sendall(post(b"hello"))
        until(lambda: heard.inside == 1, SECONDS)
        closing_ = threading.Thread(target=listener.close)
        closing_.start()
        until(lambda: not listener.alive, SECONDS)
        heard.go.set()
        assert answered(connection).startswith(b"HTTP/1.1 200 ")
        closing_.join(SECONDS)
    assert not closing_.is_alive()
    with pytest.raises(ConnectionRefusedError):
        connected(listener)


def test_a_client_that_goes_away_costs_nothing(listen: Listen, heard: Heard) -> None:
    listener = listen(Bounds(connections=1))
    for request in (b"", b"POST", post(b"hello")):
        connection = connected(listener)
        connection.sendall(request)
        connection.close()
    until(lambda: asked(listener, post(b"still there")) == 200, SECONDS)
    assert heard.bodies[-1] == b"still there"


def test_an_address_that_cannot_be_had_is_told(heard: Heard) -> None:
    with (
        closing(Listener("127.0.0.1", 0, heard)) as listener,
        pytest.raises(OperatorError, match="taken by another program"),
    ):
        Listener("127.0.0.1", listener.port, heard)
    with pytest.raises(OperatorError, match="Nothing can listen"):
        Listener("192.0.2.1", 0, heard)
