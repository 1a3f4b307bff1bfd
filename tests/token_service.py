"""A service on this host that gives out tokens as its documentation would say, and counts what it was asked."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

CLIENT = "client-1"
SECRET = "s€cret:/1"


@dataclass
class TokenService:
    """Refresh tokens rotate: the newest is good, and former ones for as many uses as `grace`. `codes` are those that
    wait to be exchanged, with their challenge. `refuse` is an error that everything is answered with. `before` is
    called before each answer."""

    url: str = ""
    grace: int = 0
    lasts: int | None = 3600
    rotates: bool = True
    codes: dict[str, str | None] = field(default_factory=dict)
    refuse: tuple[int, str] | None = None
    before: Callable[[], None] = lambda: None
    asked: list[dict[str, str]] = field(default_factory=list)
    authorization: list[str | None] = field(default_factory=list)
    refresh: list[str] = field(default_factory=list)
    issued: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, parameters: dict[str, str], authorization: str | None) -> tuple[int, dict[str, Any]]:
        self.before()
        with self._lock:
            self.asked.append(parameters)
            self.authorization.append(authorization)
            if self.refuse is not None:
                return self.refuse[0], {"error": self.refuse[1], "error_description": "tok-5ecret"}
            match parameters.get("grant_type"):
                case "authorization_code":
                    return self._exchange(parameters)
                case "refresh_token":
                    return self._refresh(parameters["refresh_token"])
                case "client_credentials" | "urn:ietf:params:oauth:grant-type:jwt-bearer":
                    return self._issue(None)
        return 400, {"error": "unsupported_grant_type"}

    def _exchange(self, parameters: dict[str, str]) -> tuple[int, dict[str, Any]]:
        if parameters["code"] not in self.codes:
            return 400, {"error": "invalid_grant"}
        challenge = self.codes.pop(parameters["code"])
        digest = hashlib.sha256(parameters.get("code_verifier", "").encode()).digest()
        if challenge is not None and base64.urlsafe_b64encode(digest).decode().rstrip("=") != challenge:
            return 400, {"error": "invalid_grant"}
        return self._issue(self._next())

    def _refresh(self, given: str) -> tuple[int, dict[str, Any]]:
        if given not in self.refresh:
            return 400, {"error": "invalid_grant"}
        if given != self.refresh[-1]:
            if self.grace <= 0:
                return 400, {"error": "invalid_grant"}
            self.grace -= 1
        return self._issue(self._next() if self.rotates else None)

    def _next(self) -> str:
        self.refresh.append(f"refresh-{len(self.refresh) + 1}-tok-5ecret")
        return self.refresh[-1]

    def _issue(self, refresh: str | None) -> tuple[int, dict[str, Any]]:
        self.issued += 1
        found: dict[str, Any] = {"access_token": f"access-{self.issued}-tok-5ecret", "token_type": "bearer"}
        if self.lasts is not None:
            found["expires_in"] = self.lasts
        if refresh is not None:
            found["refresh_token"] = refresh
        return 200, {**found, "workspace_name": "Here"}


@contextmanager
def token_service(**options: Any) -> Iterator[TokenService]:
    found = TokenService(**options)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers["Content-Type"] == "application/json":
                parameters = json.loads(content)
            else:
                assert self.headers["Content-Type"] == "application/x-www-form-urlencoded"
                parameters = dict(parse_qsl(content.decode(), strict_parsing=True))
            status, body = found.answer(parameters, self.headers["Authorization"])
            told = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found.url = f"http://127.0.0.1:{server.server_port}/token"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield found
        finally:
            server.shutdown()
            thread.join()
