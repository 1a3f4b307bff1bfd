"""A source behind TLS: every connection of the daemon is encrypted and verified, the replication connection too."""

from __future__ import annotations

import select
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlencode, urlsplit

from daemon.embedded.ports import LOOPBACK
from tests.command import REPOSITORY
from tests.fix_capture import Rig, RigFactory
from tests.waiting import until

# Signed by themselves and for 127.0.0.1, until 2126: openssl req -x509 -newkey ec … -addext subjectAltName=IP:127.0.0.1
CERTIFICATES = REPOSITORY / "tests" / "tls"
SSL_REQUEST, GSS_REQUEST = bytes.fromhex("0000000804d2162f"), bytes.fromhex("0000000804d21630")
CHUNK_BYTES = 65_536


class Terminator:
    """Speaks PostgreSQL's TLS in front of a server without it, and lets nobody in who does not ask for TLS."""

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(CERTIFICATES / "server.crt", CERTIFICATES / "server.key")
        self.listener = socket.create_server((LOOPBACK, 0))
        self.replicating = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, trusted: str) -> str:
        host = f"{self._target.username}:{self._target.password}@{LOOPBACK}:{self.listener.getsockname()[1]}"
        options = urlencode({"sslmode": "verify-full", "sslrootcert": str(CERTIFICATES / trusted)})
        return self._target._replace(netloc=host, query=options).geturl()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=(self.listener.accept()[0],), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError), client:
            while (request := client.recv(8)) == GSS_REQUEST:
                client.sendall(b"N")
            if request != SSL_REQUEST:
                return
            client.sendall(b"S")
            there = (self._target.hostname or "", self._target.port or 0)
            with (
                self._context.wrap_socket(client, server_side=True) as inside,
                socket.create_connection(there) as server,
            ):
                self._pass(inside, server)

    def _pass(self, inside: ssl.SSLSocket, server: socket.socket) -> None:
        first = True
        while True:
            readable = [inside] if inside.pending() else select.select([inside, server], [], [])[0]
            for one in readable:
                data = one.recv(CHUNK_BYTES)
                if not data:
                    return
                self.replicating += first and b"replication\0database" in data
                first = False
                (server if one is inside else inside).sendall(data)


@contextmanager
def behind_tls(rig: Rig) -> Iterator[Terminator]:
    terminator = Terminator(rig.url)
    with terminator.listener:
        yield terminator


def test_a_source_is_set_up_copied_and_followed_through_verified_tls(capture_factory: RigFactory) -> None:
    rig = capture_factory()
    rig.sql("INSERT INTO items SELECT i FROM generate_series(1, 10) i")
    with behind_tls(rig) as terminator:
        rig.site.set(f"sources.{rig.site.source}.url", terminator.url("server.crt"))
        rig.init()
        with rig.start() as capture:
            rig.copied()
            rig.sql("INSERT INTO items VALUES (11)")
            until(lambda: len({one.row_key["id"] for one in rig.records("items")}) == 11, what="every row in the topic")
        assert capture.error is None
        assert terminator.replicating


def test_a_certificate_that_is_not_trusted_is_told_in_a_sentence(capture_factory: RigFactory) -> None:
    rig = capture_factory()
    with behind_tls(rig) as terminator:
        rig.site.set(f"sources.{rig.site.source}.url", terminator.url("other.crt"))
        ended = rig.site.placemat("init")
    assert (ended.code, ended.out) == (1, "")
    assert "certificate verify failed" in ended.err
    assert ended.err.startswith("Error: Source ")
