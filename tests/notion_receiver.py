"""Who gets the simulator's webhooks: a server on this host, which answers as it is told."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Receiver:
    """`answers` are the statuses of the next requests, then 200."""

    url: str = ""
    answers: deque[int] = field(default_factory=deque)
    got: list[tuple[bytes, str | None]] = field(default_factory=list)

    @property
    def events(self) -> list[Any]:
        return [json.loads(body) for body, signature in self.got if signature]


@contextmanager
def receiver() -> Iterator[Receiver]:
    found = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.got.append((body, self.headers["X-Notion-Signature"]))
            self.send_response(found.answers.popleft() if found.answers else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        found.url = f"http://127.0.0.1:{server.server_port}/notion?x=1"
        yield found
        server.shutdown()
        thread.join()
