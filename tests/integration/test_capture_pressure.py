"""What is around a capture does not answer, is full, or is forbidden: each has its outcome, and none loses anything."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import psutil  # type: ignore[import-untyped]
import pytest
from confluent_kafka import Producer

from daemon.capture.worker import CaptureWorker
from daemon.embedded.kafka import KafkaServer
from daemon.embedded.postgres import PostgresServer
from daemon.errors import Unavailable
from schemas.topics import requests_topic
from tests.fix_capture import Rig, RigFactory, assert_whole, replay
from tests.forked import Forked
from tests.supervised import Supervised
from tests.waiting import until

END_SECONDS = 10.0
SENDER = "SELECT active_pid FROM pg_replication_slots"
LARGE = "INSERT INTO items SELECT i, 0, repeat(md5(i::text), 30) FROM generate_series(1, 20000) i"


def assert_nothing_missing_nothing_twice(rig: Rig) -> None:
    records = rig.records()
    assert_whole(records)
    assert replay(records, "items") == rig.rows("items")


def past_the_time_out(rig: Rig, seconds: float) -> None:
    """Wait on the server's clock."""
    [(before,)] = rig.sql("SELECT clock_timestamp()")
    over = "SELECT clock_timestamp() - %s > make_interval(secs => %s)"
    until(lambda: rig.sql(over, [before, seconds]) == [(True,)], seconds * 3, what=f"{seconds} seconds")


def ask_for(rig: Rig, key: int) -> None:
    """Ask for a row of `items`, as a target does."""
    producer = Producer({"bootstrap.servers": rig.site.settings.kafka.bootstrap_servers})
    request = {"target": "test", "schema": "public", "table": "items", "key": {"id": key}}
    producer.produce(requests_topic(rig.site.source), json.dumps(request))
    assert producer.flush(10) == 0


@pytest.mark.long
@pytest.mark.parametrize("how", ["its disk is full", "it is restarted", "it is down for long"])
def test_kafka_costs_no_connection_and_no_event_when(
    capture_factory: RigFactory, own_kafka: Callable[..., KafkaServer], how: str
) -> None:
    kafka = own_kafka()
    rig = capture_factory(kafka=kafka, queue_bytes=1_048_576).init()
    rig.sql(f"ALTER DATABASE {rig.url.rpartition('/')[2]} SET wal_sender_timeout = '2s'")
    with Supervised(CaptureWorker(rig.site.settings, rig.site.source)) as worker:
        until(lambda: worker.running, what="the capture at work")
        rig.copied()
        rig.caught_up()
        connected = rig.sql(SENDER)
        if how == "its disk is full":
            fill_the_disk(kafka)
            rig.sql(LARGE)
            assert kafka.process is not None
            assert kafka.process.wait(30), "a broker whose only disk is full ends itself"
        else:
            kafka.stop()
            rig.sql(LARGE)
        if how == "it is restarted":
            kafka.start()
        else:
            until(lambda: "Kafka does not take records." in worker.details, 30, what="a full queue")
            past_the_time_out(rig, 5)
            assert rig.sql(SENDER) == connected
            assert rig.confirmed < rig.sql("SELECT pg_current_wal_lsn() - '0/0'")[0][0]
            kafka.start()
        rig.caught_up(60)
        assert rig.sql(SENDER) == connected
    assert worker.error is None
    assert_nothing_missing_nothing_twice(rig)


def fill_the_disk(kafka: KafkaServer) -> None:
    """No file of the broker may grow any more: to it that is a disk without room. A new process has room again."""
    assert kafka.process is not None
    psutil.Process(kafka.process.pid).rlimit(psutil.RLIMIT_FSIZE, (65_536, -1))


def terminate(process: Forked) -> tuple[int, float]:
    """Exit status and seconds."""
    started = time.monotonic()
    process.terminate()
    return process.wait(30), time.monotonic() - started


@pytest.mark.long
@pytest.mark.parametrize("where", ["Kafka", "the source"])
@pytest.mark.parametrize("how", ["frozen", "away"])
def test_a_capture_ends_within_ten_seconds_while_something_does_not_answer(
    capture_factory: RigFactory,
    own_kafka: Callable[..., KafkaServer],
    own_postgres: Callable[..., PostgresServer],
    where: str,
    how: str,
) -> None:
    kafka, server = own_kafka(), own_postgres(settings={"fsync": "off"})
    rig = capture_factory(kafka=kafka, postgres=server, queue_bytes=1_048_576).init()
    process = rig.spawn()
    rig.copied()
    rig.caught_up()
    rig.sql("INSERT INTO parts SELECT 1, 1 WHERE false")
    other: KafkaServer | PostgresServer = kafka if where == "Kafka" else server
    if other is kafka:
        rig.sql(LARGE)
    else:
        rig.disconnect()
    other.pause() if how == "frozen" else other.stop()
    states = "SELECT state FROM placemat.workers WHERE name LIKE 'capture:%'"
    if (where, how) != ("the source", "frozen"):
        until(lambda: rig.state(states) == [("waiting",)], 40, what="a capture that waits")
    code, seconds = terminate(process)
    other.resume()
    assert (code, seconds <= END_SECONDS) == (0, True), seconds


def test_without_the_right_to_read_changes_flow_and_the_worker_says_so(
    role_factory: Callable[[str], str], capture_factory: RigFactory
) -> None:
    rig = capture_factory(check_interval_seconds=0.2, chunk_rows=10)
    role = role_factory("REPLICATION BYPASSRLS")
    rig.sql("INSERT INTO items SELECT i FROM generate_series(-50, -1) i")
    rig.sql(f"GRANT SELECT ON items, parts, beat TO {role}")
    rig.sql("CREATE PUBLICATION placemat FOR TABLE items, parts, beat")
    own = rig.url.replace(rig.url.partition("://")[2].partition("@")[0], f"{role}:only-for-tests")
    rig.site.set(f"sources.{rig.site.source}.url", own)
    rig.init()
    rig.sql(f"REVOKE SELECT ON items FROM {role}")
    with Supervised(CaptureWorker(rig.site.settings, rig.site.source)) as worker:
        sentence = f"The right to read public.items is missing. Try: GRANT SELECT ON public.items TO {role}"
        until(lambda: sentence in worker.details, what="the sentence")
        waiting = "SELECT table_name, waiting FROM placemat.snapshots WHERE done_at IS NULL"
        until(lambda: rig.state(waiting) == [("public.items", sentence)], what="the other copies, children too")
        rig.sql("REVOKE USAGE ON SCHEMA public FROM public")
        both = f"Try: GRANT USAGE ON SCHEMA public TO {role}; GRANT SELECT ON public.items TO {role}"
        until(lambda: both in worker.details, what="the rights to the schema named too")
        asked = rig.site.placemat("snapshot", "items")
        assert (asked.code, both.removeprefix("Try: ") in asked.err) == (1, True), asked.err
        rig.sql(f"GRANT USAGE ON SCHEMA public TO {role}")
        ask_for(rig, -1)
        rig.sql("INSERT INTO items VALUES (1)")
        rig.caught_up()
        assert worker.running
        rig.sql(f"GRANT SELECT ON items TO {role}")
        rig.copied()
        ask_for(rig, -1)
        until(lambda: [one.row_key["id"] for one in rig.records("items")].count(-1) >= 2, what="the row asked for")
    assert worker.error is None
    assert worker.count("starting") == 1
    records = rig.records("items")
    assert [one.value["after"]["id"] for one in records if one.value["op"] == "c"] == [1]
    assert replay(records, "items") == rig.rows("items")


def test_a_frozen_source_ends_the_stream_from_our_side(
    capture_factory: RigFactory, own_postgres: Callable[..., PostgresServer]
) -> None:
    server = own_postgres(settings={"fsync": "off", "wal_sender_timeout": "1500ms"})
    rig = capture_factory(postgres=server).init()
    with rig.start() as life:
        rig.copied()
        rig.caught_up()
        rig.disconnect()
        server.pause()
        assert isinstance(life.ended(10), Unavailable)
        server.resume()
    assert "has sent nothing for 1.5 seconds" in str(life.error)
