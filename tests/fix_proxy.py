"""A TCP proxy that loses connectivity on demand: cuts connections, or keeps them open and passes nothing.

A trap does that at a place in the talk of one connection: when certain bytes come by, in whichever direction.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Literal
from urllib.parse import urlsplit

import pytest

from daemon.embedded.ports import LOOPBACK, free_port

CHUNK_BYTES = 65_536
How = Literal["cut", "black hole"]


class Proxy:
    """Listens on `port` of 127.0.0.1, the same after a stop and start, and passes bytes to a target."""

    def __init__(self, target_host: str, target_port: int) -> None:
        self._target = (target_host, target_port)
        self._listener: socket.socket | None = None
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._flowing = threading.Event()
        self._flowing.set()
        self._trap: tuple[bytes, How] | None = None
        self._swallowed: set[socket.socket] = set()
        self.sprung = threading.Event()
        self.port = 0

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    def url(self, target: str) -> str:
        """A URL of the target, by way of this proxy."""
        parts = urlsplit(target)
        login, at, _ = parts.netloc.rpartition("@")
        return parts._replace(netloc=f"{login}{at}{self.address}").geturl()

    def redirect(self, target_host: str, target_port: int) -> None:
        """Another server takes over the address: open connections are reset, new ones go there."""
        self._target = (target_host, target_port)
        self.cut()

    def start(self) -> None:
        self.port = self.port or free_port()
        self._listener = socket.create_server((LOOPBACK, self.port))
        threading.Thread(target=self._accept, args=(self._listener,), name="proxy-accept", daemon=True).start()

    def stop(self) -> None:
        """Refuse new connections and cut the open ones."""
        with self._lock:
            listener, self._listener = self._listener, None
        if listener:
            # Closing alone does not wake a thread inside accept.
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self.cut()
        self.resume()

    def cut(self) -> None:
        """Reset every open connection, in the middle of whatever it carries; new ones are accepted."""
        with self._lock:
            doomed, self._connections = self._connections, set()
        for connection in doomed:
            _reset(connection)

    def stall(self) -> None:
        """Pass nothing more in either direction and keep the connections open, as a lost route does."""
        self._flowing.clear()

    def resume(self) -> None:
        self._flowing.set()

    def set_trap(self, at: bytes, how: How) -> None:
        """The connection on which these bytes come by is reset before they are passed, or passes nothing any more."""
        self.sprung.clear()
        self._trap = at, how

    def _caught(self, chunk: bytes, ends: tuple[socket.socket, socket.socket]) -> bool:
        """Whether this connection has come to the trap, now or before."""
        with self._lock:
            if self._trap is not None and self._trap[0] in chunk:
                (_, how), self._trap = self._trap, None
                self._swallowed |= set(ends)
                if how == "cut":
                    for end in ends:
                        _reset(end)
                self.sprung.set()
            return ends[0] in self._swallowed

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                upstream = socket.create_connection(self._target, timeout=10)
            except OSError:
                _reset(client)
                continue
            upstream.settimeout(None)
            with self._lock:
                if listener is not self._listener:
                    _reset(client)
                    upstream.close()
                    return
                self._connections |= {client, upstream}
            for source, sink in ((client, upstream), (upstream, client)):
                threading.Thread(target=self._pass, args=(source, sink), name="proxy-pass", daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while chunk := source.recv(CHUNK_BYTES):
                self._flowing.wait()
                if not self._caught(chunk, (source, sink)):
                    sink.sendall(chunk)
        except OSError:
            # Cut, or reset by one of the ends: the other end learns it too.
            pass
        with self._lock:
            ended = {source} if source in self._swallowed else {source, sink}  # a black hole passes no end either
            self._connections -= ended
            self._swallowed -= ended
        for end in ended:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


def _reset(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


@pytest.fixture
def proxy_factory() -> Iterator[Callable[[str, int], Proxy]]:
    """A function: target host and port → a started proxy, stopped at the end."""
    with ExitStack() as stack:

        def make(target_host: str, target_port: int) -> Proxy:
            proxy = Proxy(target_host, target_port)
            proxy.start()
            stack.callback(proxy.stop)
            return proxy

        yield make
