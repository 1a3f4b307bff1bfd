"""A Kafka that has stood still comes back, and for a moment names no broker that is alive: that is no answer."""

from __future__ import annotations

import socketserver
import struct
import threading
from collections.abc import Iterator

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from daemon import broker

API_VERSIONS, METADATA, VERSION = 18, 3, 8
UNSUPPORTED_VERSION = 35
HOST = b"127.0.0.1"


class Fenced(socketserver.ThreadingTCPServer):
    """Speaks as much of Kafka's protocol as a client needs to ask for metadata."""

    daemon_threads = True
    allow_reuse_address = True
    alive = True
    """Whether it names itself as a broker."""


class Answering(socketserver.StreamRequestHandler):
    server: Fenced

    def handle(self) -> None:
        while size := self.rfile.read(4):
            request = self.rfile.read(*struct.unpack(">i", size))
            api, version, correlation = struct.unpack_from(">hhi", request)
            body = _versions(version) if api == API_VERSIONS else self._metadata()
            self.wfile.write(struct.pack(">ii", len(body) + 4, correlation) + body)

    def _metadata(self) -> bytes:
        """Not throttled; brokers; the cluster's id, the controller, no topic, no rights that were asked for."""
        alive, port = self.server.alive, self.server.server_address[1]
        itself = struct.pack(f">iih{len(HOST)}sih", 1, 1, len(HOST), HOST, port, -1)
        brokers = itself if alive else struct.pack(">i", 0)
        rest = struct.pack(">h3siii", 3, b"abc", 1 if alive else -1, 0, -(2**31))
        return struct.pack(">i", 0) + brokers + rest


def _versions(version: int) -> bytes:
    known = struct.pack(">ihhhhhh", 2, METADATA, VERSION, VERSION, API_VERSIONS, 0, 0)
    return struct.pack(">h", UNSUPPORTED_VERSION if version else 0) + known


@pytest.fixture
def kafka() -> Iterator[Fenced]:
    with Fenced(("127.0.0.1", 0), Answering) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_a_kafka_that_names_no_broker_does_not_answer_and_ends_nothing(
    kafka: Fenced, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker, "ADMIN_SECONDS", 2.0)
    admin = AdminClient({"bootstrap.servers": f"127.0.0.1:{kafka.server_address[1]}"}, logger=broker.SILENT)
    assert broker.cluster_id(admin) == "abc"
    kafka.alive = False
    with pytest.raises(KafkaException):
        broker.cluster_id(admin)
    kafka.alive = True
    assert broker.cluster_id(admin) == "abc"
