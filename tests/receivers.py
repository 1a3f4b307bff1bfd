"""Who gets the daemon's messages: an HTTP server and a mail server on this host, which answer as they are told."""

from __future__ import annotations

import json
import socketserver
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Webhooks:
    """`answers` are those of the next requests, then 204; a number below 0 hangs up."""

    url: str = ""
    answers: deque[int] = field(default_factory=deque)
    got: list[Any] = field(default_factory=list)
    """The JSON of each request that was answered by 204."""
    ids: list[str] = field(default_factory=list)
    """The key of each request, also of those that failed."""


@contextmanager
def webhooks() -> Iterator[Webhooks]:
    found = Webhooks()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.headers["Content-Type"] == "application/json"
            answer = found.answers.popleft() if found.answers else 204
            found.ids.append(self.headers["Idempotency-Key"])
            if answer < 0:
                self.close_connection = True
                return
            self.send_response(answer)
            if 300 <= answer < 400:
                self.send_header("Location", found.url)
            self.send_header("Content-Length", "0")
            self.end_headers()
            if answer == 204:
                found.got.append(json.loads(content))

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server, _served(server):
        found.url = f"http://127.0.0.1:{server.server_port}/hook?token=secret"
        yield found


@dataclass
class Mails:
    """`answers` are those to the next ends of content, then 250."""

    port: int = 0
    answers: deque[int] = field(default_factory=deque)
    got: list[EmailMessage] = field(default_factory=list)


@contextmanager
def mails() -> Iterator[Mails]:
    """SMTP as RFC 5321 has it at least, without extensions."""
    found = Mails()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self._say(220)
            for line in self.rfile:
                word = line[:4].upper()
                if word == b"DATA":
                    self._say(354)
                    content = b"".join(iter(self.rfile.readline, b".\r\n"))
                    answer = found.answers.popleft() if found.answers else 250
                    if answer == 250:
                        mail = message_from_bytes(content, policy=policy.default)
                        assert isinstance(mail, EmailMessage)
                        found.got.append(mail)
                    self._say(answer)
                elif word == b"QUIT":
                    self._say(221)
                    return
                else:
                    self._say(250 if word in (b"EHLO", b"HELO", b"MAIL", b"RCPT", b"RSET") else 502)

        def _say(self, code: int) -> None:
            self.wfile.write(b"%d said\r\n" % code)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server, _served(server):
        found.port = server.server_address[1]
        yield found


@contextmanager
def _served(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
