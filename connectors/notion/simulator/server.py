"""HTTP/1.1 on localhost, with connections that are kept."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from collections.abc import Callable
from datetime import UTC
from email.utils import format_datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from connectors.notion.simulator.exchange import Answer, Request
from connectors.notion.simulator.settings import Clock

MOST = 64 << 20
"""Bytes that are read of a request; what the service takes is less."""
IDLE = 60
"""Seconds after which a connection that says nothing is closed."""


class Server(ThreadingHTTPServer):
    """Listens from the moment it is made. `failures` are the simulator's own errors."""

    request_queue_size = 128

    def __init__(
        self, host: str, port: int, answer: Callable[[Request], Answer], clock: Clock, stopping: threading.Event
    ) -> None:
        self.answer = answer
        self.clock = clock
        self.stopping = stopping
        self.failures: list[BaseException] = []
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()
        super().__init__((host, port), _Handler)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), name="notion-simulator", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends what is open too, and waits for what is being carried out: it is done when this returns."""
        self.stopping.set()
        self.shutdown()
        self._thread.join()
        with self._guard:
            for one in self._open:
                _end(one)
        self.server_close()

    def process_request_thread(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: object
    ) -> None:
        if isinstance(request, socket.socket):
            with self._guard:
                self._open.add(request)
                if self.stopping.is_set():
                    _end(request)
        try:
            super().process_request_thread(request, client_address)
        finally:
            if isinstance(request, socket.socket):
                with self._guard:
                    self._open.discard(request)

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, ConnectionError | TimeoutError):
            self.failures.append(error)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = IDLE
    disable_nagle_algorithm = True
    server: Server

    def _serve(self) -> None:
        given = self.headers.get("Content-Length", "0")
        if not given.isdecimal() or int(given) > MOST or "Transfer-Encoding" in self.headers:
            self.send_error(HTTPStatus.LENGTH_REQUIRED)
            return
        length = int(given)
        content = self.rfile.read(length)
        if len(content) < length:
            self.close_connection = True
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self.server.answer(Request(self.command, self.path, headers, content))
        if answer.wait:
            self.server.stopping.wait(answer.wait)
        if answer.part != "none":
            self._send(answer)
        if answer.part != "all":
            self.wfile.flush()
            self.close_connection = True
            _end(self.connection)

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        whole = answer.part == "all"
        self.wfile.write(answer.content if whole else answer.content[: len(answer.content) // 2])

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _serve  # noqa: N815

    def date_time_string(self, timestamp: float | None = None) -> str:  # noqa: ARG002
        return format_datetime(self.server.clock().astimezone(UTC), usegmt=True)

    def log_message(self, *_: object) -> None:
        pass


def _end(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the other side was first
        connection.shutdown(socket.SHUT_RDWR)
