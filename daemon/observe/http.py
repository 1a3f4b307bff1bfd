"""One small HTTP server: /metrics for Prometheus, /healthz for who restarts us, /readyz for who routes to us."""

from __future__ import annotations

import errno
import json
import socket
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from daemon.errors import OperatorError
from daemon.observe.board import Board


class ObserveServer:
    """Listens from the moment it is made. `port` is the one it got, also where 0 was asked for."""

    def __init__(self, host: str, port: int, board: Board) -> None:
        """Raises OperatorError when the address cannot be had."""
        try:
            self._server = _Server((host, port), _handler(board))
        except OSError as error:
            raise _refusal(host, port, error) from None
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, name="observe-http", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)


def _refusal(host: str, port: int, error: OSError) -> OperatorError:
    if error.errno == errno.EADDRINUSE:
        return OperatorError(
            f"Port {port} of {host} is taken by another program.",
            "Set http.port (variable PLACEMAT_HTTP__PORT) to a free one, or to 0 for any.",
        )
    return OperatorError(
        f"Nothing can listen on port {port} of {host}: {error.strerror or error}.",
        "Correct http.host and http.port (variables PLACEMAT_HTTP__HOST, PLACEMAT_HTTP__PORT).",
    )


def _handler(board: Board) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10
        server_version = "placemat"
        sys_version = ""

        def do_GET(self) -> None:
            match self.path.partition("?")[0]:
                case "/metrics":
                    self._answer(HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest())
                case "/healthz":
                    self._judge(not (ailing := board.ailing()), {"ailing": ailing})
                case "/readyz":
                    states = {
                        name: {"state": one.state, "detail": one.detail} for name, one in board.standings().items()
                    }
                    self._judge(board.ready(), {"workers": states})
                case _:
                    self._answer(HTTPStatus.NOT_FOUND, "text/plain", b"/metrics, /healthz or /readyz\n")

        def _judge(self, good: bool, body: dict[str, object]) -> None:
            status = HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE
            self._answer(status, "application/json", json.dumps({"ok": good, **body}).encode() + b"\n")

        def _answer(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_request(self, code: object = "-", size: object = "-") -> None:
            """Probes come every few seconds: nothing to log."""

    return Handler
