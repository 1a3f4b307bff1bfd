"""Where a person's browser comes back to after they have let us in: an address of this host, as long as that takes."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from connectors.errors import OperatorError
from connectors.http.auth.code_flow import Begun, NotThisLogin, code_of

PATH = "/callback"
_DONE = b"<!doctype html><title>placemat</title><p>Done. You can close this window and go back to the terminal.</p>"
_REFUSED = b"<!doctype html><title>placemat</title><p>The service has not let us in. The terminal says more.</p>"
_OTHER = b"<!doctype html><title>placemat</title><p>This address belongs to no login that waits here.</p>"


class Callback:
    """The answer to one login. What belongs to another one, or to none, is turned away and waited past."""

    def __init__(self, begun: Begun) -> None:
        self._begun = begun
        self._came = threading.Event()
        self._code: str | OperatorError | None = None

    def take(self, address: str) -> tuple[int, bytes]:
        """What a browser has come with; the status and page to answer. The first answer of this login counts."""
        if urlsplit(address).path != PATH:
            return 404, _OTHER
        try:
            found: str | OperatorError = code_of(address, self._begun)
        except NotThisLogin:
            return 400, _OTHER
        except OperatorError as error:
            found = error
        if not self._came.is_set():
            self._code = found
            self._came.set()
        return (200, _DONE) if isinstance(found, str) else (200, _REFUSED)

    def wait(self, seconds: float) -> str:
        """The code. Raises OperatorError when nobody has come within that time, or the person was refused."""
        if not self._came.wait(seconds):
            raise OperatorError(
                f"Nobody has come back from the service within {seconds:g} seconds.",
                "Begin again; where the browser is on another machine, with --paste.",
            )
        assert self._code is not None
        if isinstance(self._code, OperatorError):
            raise self._code
        return self._code


@contextmanager
def listening(begun: Begun, port: int) -> Iterator[Callback]:
    """Answer on `localhost` while a person is away, on both kinds of address where there are two. Raises OperatorError
    when the port is taken."""
    callback = Callback(begun)

    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            status, page = callback.take(self.path)
            self.send_response(status)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(page)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("Referrer-Policy", "no-referrer")
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_: object) -> None:
            """The address holds the code."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

    class Server6(Server):
        address_family = socket.AF_INET6

    try:
        servers = [Server(("127.0.0.1", port), Handler)]
    except OSError as error:
        raise OperatorError(
            f"Port {port} of this host cannot be listened on: {error.strerror}.",
            "Free it, set another redirect_port (and register that address over there), or give --paste.",
        ) from None
    with suppress(OSError):  # a host without IPv6 resolves localhost to the other one
        servers.append(Server6(("::1", port), Handler))
    threads = [threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True) for server in servers]
    for thread in threads:
        thread.start()
    try:
        yield callback
    finally:
        for server, thread in zip(servers, threads, strict=True):
            server.shutdown()
            thread.join()
            server.server_close()
