from __future__ import annotations

import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from signal import SIGKILL

import psutil  # type: ignore[import-untyped]
import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from daemon import broker
from daemon.embedded import directory
from daemon.embedded.kafka import KafkaServer
from daemon.embedded.servers import Servers
from daemon.errors import OperatorError
from tests.waiting import until

MIB = 1024 * 1024
PLACES = [("records", 0)]
StartKafka = Callable[..., KafkaServer]


def produce(server: KafkaServer, topic: str, values: list[bytes]) -> None:
    admin = AdminClient({"bootstrap.servers": server.bootstrap_servers})
    config = {"max.message.bytes": str(16 * MIB + 65_536)}
    admin.create_topics([NewTopic(topic, 1, 1, config=config)])[topic].result(10)
    options = {"bootstrap.servers": server.bootstrap_servers, "enable.idempotence": True}
    producer = Producer({**options, "message.max.bytes": 17 * MIB})
    for value in values:
        producer.produce(topic, value)
    assert producer.flush(20) == 0


def consume(server: KafkaServer, topic: str, count: int) -> list[bytes]:
    consumer = Consumer({"bootstrap.servers": server.bootstrap_servers, "group.id": uuid.uuid4().hex})
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        return [bytes(message.value() or b"") for message in consumer.consume(count, timeout=20)]
    finally:
        consumer.close()


def test_broker_carries_records_of_16_mib_through_a_freeze_a_kill_and_a_restart(own_kafka: StartKafka) -> None:
    server = own_kafka()
    address = server.bootstrap_servers
    values = [b"small", b"x" * (16 * MIB)]
    produce(server, "records", values)
    admin = AdminClient({"bootstrap.servers": address})

    server.pause()
    with pytest.raises(KafkaException):
        admin.list_topics(timeout=1)
    server.resume()
    assert "records" in until(lambda: admin.list_topics(timeout=5).topics)
    assert broker.offsets(admin, PLACES, "latest") == dict.fromkeys(PLACES, 2)

    server.kill()
    server.start()
    assert server.bootstrap_servers == address
    assert consume(server, "records", 2) == values
    assert broker.offsets(admin, PLACES, "latest") == dict.fromkeys(PLACES, 2), "asked by a client from before"

    server.stop()
    server.start()
    assert consume(server, "records", 2) == values


def test_topics_are_never_made_by_asking_for_them(own_kafka: StartKafka) -> None:
    server = own_kafka()
    consumer = Consumer({"bootstrap.servers": server.bootstrap_servers, "group.id": "g", "session.timeout.ms": 1000})
    try:
        consumer.subscribe(["nobody-made-this"])
        consumer.poll(1.0)
        assert "nobody-made-this" not in consumer.list_topics(timeout=5).topics
    finally:
        consumer.close()


def test_stopped_broker_leaves_no_process_and_no_files() -> None:
    with KafkaServer() as server:
        assert server.process
        broker, files = psutil.Process(server.process.pid), server.directory
        assert files.is_dir()
    assert not broker.is_running()
    assert not files.exists()


def test_second_start_of_all_servers_takes_less_than_10_s() -> None:
    with Servers():
        pass
    assert any(_start_seconds() < 10 for _ in range(3)), "beside other work one may take longer"


def _start_seconds() -> float:
    started = time.monotonic()
    with Servers():
        return time.monotonic() - started


def test_every_new_broker_is_a_cluster_of_its_own(own_kafka: StartKafka) -> None:
    first, second = (
        AdminClient({"bootstrap.servers": own_kafka().bootstrap_servers}).list_topics(timeout=10) for _ in range(2)
    )
    assert first.cluster_id != second.cluster_id


def test_parent_killed_leaves_no_broker() -> None:
    program = """
import sys
from daemon.embedded.kafka import KafkaServer
server = KafkaServer()
server.start()
print(server.process.pid, server.directory, flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout
        pid, files = parent.stdout.readline().split()
        broker = psutil.Process(int(pid))
        assert broker.is_running()
        parent.send_signal(SIGKILL)
    until(lambda: not broker.is_running() or broker.status() == psutil.STATUS_ZOMBIE, what="the end of the broker")
    directory.remove(Path(files))


def test_broker_that_cannot_start_says_why() -> None:
    with pytest.raises(OperatorError, match=r"did not start.*Invalid value none for configuration num\.io\.threads"):
        KafkaServer(properties={"num.io.threads": "none"}).__enter__()
