"""A small HTTP server for requests of strangers: few at a time, each of them small, soon over, and one to a connection.

TLS is not spoken here: a proxy does that, and passes requests on.
"""

from __future__ import annotations

import errno
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol

import structlog

from daemon.errors import OperatorError
from daemon.webhooks import head
from daemon.webhooks.head import Head, Refused

HEAD_BYTES = 16_384
BODY_BYTES = 262_144
READ_SECONDS = 5.0
"""For the whole of a request, however it trickles in."""
WRITE_SECONDS = 2.0
LINGER_SECONDS = 1.0
"""For what a client still sends that was answered before its end: it would not see the answer otherwise."""
CONNECTIONS = 64
"""At the same time; who comes beyond that is turned away unread."""
ACCEPT_SECONDS = 0.2
CLOSE_SECONDS = 8.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long a request may take to come in, in seconds, and how many connections there may be."""

    read_seconds: float = READ_SECONDS
    connections: int = CONNECTIONS


USUAL = Bounds()


@dataclass(frozen=True, slots=True)
class Answer:
    status: HTTPStatus
    wait: int | None = None
    """After how many seconds to come again."""


class Answering(Protocol):
    """Who answers, from several threads. What either raises is told as a failure of ours."""

    def admit(self, head: Head) -> Answer | None:
        """An answer for which the body need not be read; None: it is to be read."""

    def answer(self, head: Head, body: bytes) -> Answer:
        """To the whole request."""

    def refused(self, status: HTTPStatus) -> None:
        """One was answered so before anybody was asked."""


class Listener:
    """Listens from the moment it is made. `port` is the one it got, also where 0 was asked for."""

    def __init__(self, host: str, port: int, answering: Answering, bounds: Bounds = USUAL) -> None:
        """Raises OperatorError when the address cannot be had."""
        self._answering = answering
        self._bounds = bounds
        self._free = threading.BoundedSemaphore(bounds.connections)
        self._stop = threading.Event()
        try:
            self._socket = _listening(host, port)
        except OSError as error:
            raise _refusal(host, port, error) from None
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, name="webhooks-accept", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def close(self) -> None:
        """Take no more, and wait until those that are there are answered."""
        self._stop.set()
        self._thread.join()
        self._socket.close()
        deadline = time.monotonic() + CLOSE_SECONDS
        for _ in range(self._bounds.connections):
            if not self._free.acquire(timeout=max(0.0, deadline - time.monotonic())):
                return

    def _accept(self) -> None:
        self._socket.settimeout(ACCEPT_SECONDS)
        while not self._stop.is_set():
            try:
                connection, _ = self._socket.accept()
            except TimeoutError:
                continue
            except OSError as error:  # out of descriptors, or the client is gone again
                log.warning("a connection for a webhook failed", error=error.strerror)
                self._stop.wait(ACCEPT_SECONDS)
                continue
            if not self._free.acquire(blocking=False):
                self._answering.refused(HTTPStatus.SERVICE_UNAVAILABLE)
                with suppress(OSError), connection:
                    connection.setblocking(False)
                    connection.send(_written(Answer(HTTPStatus.SERVICE_UNAVAILABLE, 1)))
                continue
            threading.Thread(target=self._serve, args=(connection,), name="webhook", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with suppress(OSError), connection:  # whoever has gone gets no answer
                incoming = Incoming(connection, time.monotonic() + self._bounds.read_seconds)
                answer = self._answered(incoming)
                if answer is not None:
                    incoming.send(answer)
        finally:
            self._free.release()

    def _answered(self, incoming: Incoming) -> Answer | None:
        try:
            if (raw := incoming.head()) is None:
                return None
            found = head.parse(raw)
            if (answer := self._answering.admit(found)) is not None:
                return answer
            body = incoming.body(found.length(BODY_BYTES), "100-continue" in found.headers.get("expect", "").lower())
            return self._answering.answer(found, body)
        except Refused as error:
            self._answering.refused(error.status)
            return Answer(error.status)
        except OSError:
            raise
        except Exception as error:  # noqa: BLE001 one request must not end the others; its message may hold what came
            log.error("a webhook could not be answered", error=type(error).__name__)  # noqa: TRY400
            return Answer(HTTPStatus.INTERNAL_SERVER_ERROR)


class Incoming:
    """One connection until it is answered. Raises OSError where the other side is gone, and Refused."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline
        self._read = bytearray()

    def head(self) -> bytes | None:
        """Without the empty line after it; None: the other side said nothing."""
        while (end := self._read.find(head.END)) < 0:
            if len(self._read) > HEAD_BYTES:
                raise Refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            if not self._more():
                if not self._read:
                    return None
                raise Refused(HTTPStatus.BAD_REQUEST)
        if end > HEAD_BYTES:
            raise Refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        found = bytes(self._read[:end])
        del self._read[: end + len(head.END)]
        return found

    def body(self, length: int, expected: bool) -> bytes:
        """`expected`: the other side waits to be asked for it."""
        if expected and len(self._read) < length:
            self._connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        while len(self._read) < length:
            if not self._more():
                raise Refused(HTTPStatus.BAD_REQUEST)
        return bytes(self._read[:length])

    def send(self, answer: Answer) -> None:
        self._connection.settimeout(WRITE_SECONDS)
        self._connection.sendall(_written(answer))
        self._connection.shutdown(socket.SHUT_WR)
        deadline, left = time.monotonic() + LINGER_SECONDS, BODY_BYTES
        while left > 0 and (seconds := deadline - time.monotonic()) > 0:
            self._connection.settimeout(seconds)
            if not (sent := self._connection.recv(65_536)):
                return
            left -= len(sent)

    def _more(self) -> bool:
        seconds = self._deadline - time.monotonic()
        if seconds <= 0:
            raise Refused(HTTPStatus.REQUEST_TIMEOUT)
        self._connection.settimeout(seconds)
        try:
            found = self._connection.recv(65_536)
        except TimeoutError:
            raise Refused(HTTPStatus.REQUEST_TIMEOUT) from None
        self._read += found
        return bool(found)


def _written(answer: Answer) -> bytes:
    lines = [f"HTTP/1.1 {answer.status.value} {answer.status.phrase}", "Content-Length: 0", "Connection: close"]
    if answer.status == HTTPStatus.METHOD_NOT_ALLOWED:
        lines.append("Allow: POST")
    if answer.wait is not None:
        lines.append(f"Retry-After: {answer.wait}")
    return "\r\n".join([*lines, "", ""]).encode()


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=128)


def _refusal(host: str, port: int, error: OSError) -> OperatorError:
    if error.errno == errno.EADDRINUSE:
        return OperatorError(
            f"Port {port} of {host} is taken by another program.",
            "Set webhooks.port (variable PLACEMAT_WEBHOOKS__PORT) to a free one.",
        )
    return OperatorError(
        f"Nothing can listen on port {port} of {host}: {error.strerror or error}.",
        "Correct webhooks.host and webhooks.port (variables PLACEMAT_WEBHOOKS__HOST, PLACEMAT_WEBHOOKS__PORT).",
    )
