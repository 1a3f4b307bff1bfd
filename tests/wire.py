"""A server that answers byte by byte as it is told, and keeps what has reached it."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

Answer = Callable[[socket.socket, "Wire"], object]
"""What it returns says, by `KEEP`, that the connection stays for a further request."""
KEEP = object()


@dataclass
class Wire:
    """`answers` are those to the next requests, one each; `requests` are the whole requests that were read."""

    url: str = ""
    answers: deque[Answer] = field(default_factory=deque)
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    ended: threading.Event = field(default_factory=threading.Event)
    closed: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    """Released once for each connection that is closed here."""

    @property
    def lines(self) -> list[str]:
        """The first line of each request."""
        return [request.split(b"\r\n", 1)[0].decode() for request in self.requests]

    def header(self, name: str, request: int = -1) -> str | None:
        head = self.requests[request].split(b"\r\n\r\n", 1)[0].decode("latin-1")
        found = [line.partition(": ") for line in head.split("\r\n")[1:]]
        return next((value for key, _, value in found if key.lower() == name.lower()), None)

    def body(self, request: int = -1) -> bytes:
        return self.requests[request].split(b"\r\n\r\n", 1)[1]

    def answer(self, *answers: Answer) -> None:
        self.answers.extend(answers)


def raw(content: bytes) -> Answer:
    """These bytes, and the connection is closed."""

    def send(connection: socket.socket, _wire: Wire) -> None:
        connection.sendall(content)

    return send


def status(code: int, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
    """A whole answer, with JSON unless it is bytes."""
    content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {code} Said", f"Content-Length: {len(content)}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return raw("\r\n".join(lines).encode() + b"\r\n\r\n" + content)


def stays(code: int) -> Answer:
    """A whole answer without a body, and the connection stays open."""

    def send(connection: socket.socket, _wire: Wire) -> object:
        connection.sendall(f"HTTP/1.1 {code} Said\r\nContent-Length: 0\r\n\r\n".encode())
        return KEEP

    return send


def closes(_connection: socket.socket, _wire: Wire) -> None:
    """The request is read, and the connection closed without a word."""


def resets(connection: socket.socket, _wire: Wire) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def hangs(connection: socket.socket, wire: Wire) -> None:
    """No word, until the test ends."""
    wire.ended.wait()


def drips(connection: socket.socket, wire: Wire) -> None:
    """An answer without an end, a byte now and then."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    with suppress(OSError):
        while not wire.ended.wait(0.02):
            connection.sendall(b" ")


@contextmanager
def wire() -> Iterator[Wire]:
    found = Wire()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        found.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        threads = [threading.Thread(target=_serve, args=(listener, found))]
        threads[0].start()
        try:
            yield found
        finally:
            found.ended.set()
            listener.shutdown(socket.SHUT_RDWR)
            threads[0].join()


def _serve(listener: socket.socket, wire: Wire) -> None:
    others: list[threading.Thread] = []
    while not wire.ended.is_set():
        try:
            connection, _ = listener.accept()
        except OSError:
            break
        wire.connections += 1
        others.append(threading.Thread(target=_attend, args=(connection, wire)))
        others[-1].start()
    for thread in others:
        thread.join()


def _attend(connection: socket.socket, wire: Wire) -> None:
    with connection, suppress(ConnectionError):
        kept: object = KEEP
        while kept is KEEP and (request := _whole_request(connection)) is not None:
            wire.requests.append(request)
            kept = wire.answers.popleft()(connection, wire)
    wire.closed.release()


def _whole_request(connection: socket.socket) -> bytes | None:
    """None: the client has left before its end."""
    got = b""
    while b"\r\n\r\n" not in got or len(got.split(b"\r\n\r\n", 1)[1]) < _length(got):
        more = connection.recv(65_536)
        if not more:
            return None
        got += more
    return got


def _length(request: bytes) -> int:
    for line in request.split(b"\r\n\r\n", 1)[0].split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0
