"""Every gap of a source is found at the start of a capture and while one runs: a sentence, a metric, an end."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

import psycopg
import pytest
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic  # type: ignore[attr-defined]
from prometheus_client import REGISTRY

from daemon.capture.worker import CaptureWorker
from daemon.embedded.kafka import KafkaServer
from daemon.embedded.postgres import PostgresServer
from daemon.errors import Gap
from schemas.topics import table_topic
from tests.fix_capture import Rig, RigFactory
from tests.fix_proxy import Proxy
from tests.supervised import Supervised
from tests.waiting import until

ProxyFactory = Callable[[str, int], Proxy]
WHEN = ("at the start", "at run time")
QUICK = {"check_interval_seconds": 0.2}


def end_reader_of_slot(rig: Rig) -> None:
    """A slot that is read can be neither dropped nor advanced: whoever does that ends the reader first."""
    rig.sql(
        "SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots WHERE slot_name = %s"
        " AND active_pid IS NOT NULL",
        [rig.site.slot],
    )


def drop_slot(rig: Rig) -> None:
    end_reader_of_slot(rig)
    rig.sql("SELECT pg_drop_replication_slot(%s)", [rig.site.slot])


def make_slot_anew(rig: Rig) -> None:
    drop_slot(rig)
    rig.sql("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [rig.site.slot])


def make_slot_in_another_database(rig: Rig) -> None:
    drop_slot(rig)
    with psycopg.connect(urlsplit(rig.url)._replace(path="/postgres").geturl(), autocommit=True) as connection:
        connection.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [rig.site.slot])
    rig.stack.callback(drop_slot, rig)


def advance_slot(rig: Rig) -> None:
    end_reader_of_slot(rig)
    rig.sql("INSERT INTO items VALUES (1000)")
    rig.sql("SELECT pg_replication_slot_advance(%s, pg_current_wal_lsn())", [rig.site.slot])


def make_publication_anew(rig: Rig) -> None:
    rig.sql("DROP PUBLICATION placemat; CREATE PUBLICATION placemat FOR TABLE items, parts, beat")


def leave_out_table_for_a_while(rig: Rig) -> None:
    rig.sql("ALTER PUBLICATION placemat DROP TABLE items; ALTER PUBLICATION placemat ADD TABLE items")


def through(proxy_factory: ProxyFactory, rig: Rig) -> Proxy:
    """A proxy that the capture connects by; the test itself goes straight to the server."""
    parts = urlsplit(rig.url)
    proxy = proxy_factory(parts.hostname or "", parts.port or 0)
    rig.site.set(f"sources.{rig.site.source}.url", proxy.url(rig.url))
    return proxy


def lose_stream(rig: Rig, proxy: Proxy) -> None:
    """The stream passes nothing any more, not even its end, so that only a look at the slot itself tells of it."""
    proxy.set_trap(b"the last that comes", "black hole")
    rig.sql("INSERT INTO items (id, note) VALUES (999, 'the last that comes')")
    assert proxy.sprung.wait(10)


def admin(rig: Rig) -> AdminClient:
    return AdminClient({"bootstrap.servers": rig.site.settings.kafka.bootstrap_servers})


def topic(rig: Rig) -> str:
    return table_topic(rig.site.source, "public", "items")


def delete_topic(rig: Rig) -> None:
    client = admin(rig)
    for future in client.delete_topics([topic(rig)]).values():
        future.result(10)


def make_topic_anew(rig: Rig) -> None:
    delete_topic(rig)
    client = admin(rig)

    def made() -> bool:
        [future] = client.create_topics([NewTopic(topic(rig), 3, 1)]).values()
        return future.exception(10) is None

    until(made, what="a topic of the same name")


def add_partitions(rig: Rig) -> None:
    client = admin(rig)
    for future in client.create_partitions([NewPartitions(topic(rig), 5)]).values():
        future.result(10)


@dataclass(frozen=True)
class Cause:
    """What happens, the label of the metric, words of the sentence, and of the advice."""

    happens: Callable[[Rig], object]
    reason: str
    words: tuple[str, ...]
    advice: str = "A gap"

    @property
    def ends_stream(self) -> bool:
        """The server ends the stream, and the capture would find out by starting again."""
        return self.reason.startswith("slot_")


def publication(statement: str, *words: str) -> Cause:
    return Cause(lambda rig: rig.sql(statement), "publication_changed", ("Publication placemat", *words))


CAUSES = {
    "the slot is dropped": Cause(drop_slot, "slot_missing", ("is missing", "may be lost")),
    "the slot is made anew": Cause(make_slot_anew, "slot_moved", ("made it anew",)),
    "the slot is advanced": Cause(advance_slot, "slot_moved", ("something else has moved it",)),
    "the slot is another's": Cause(make_slot_in_another_database, "slot_not_ours", ("database postgres",)),
    "the publication is dropped": publication("DROP PUBLICATION placemat", "is missing"),
    "the publication is made anew": Cause(make_publication_anew, "publication_changed", ("was dropped and made anew",)),
    "the publication loses a table": publication("ALTER PUBLICATION placemat DROP TABLE items", "out public.items"),
    "the publication lost a table for a while": Cause(
        leave_out_table_for_a_while, "publication_changed", ("left out public.items for a while",)
    ),
    "the publication filters rows": publication(
        "ALTER PUBLICATION placemat SET TABLE items WHERE (id > 5), parts, beat", "leaves out rows of public.items"
    ),
    "the publication lists columns": publication(
        "ALTER PUBLICATION placemat SET TABLE items (id), parts, beat", "leaves out column", "of public.items"
    ),
    "the publication leaves out an operation": publication(
        "ALTER PUBLICATION placemat SET (publish = 'insert, update, delete')", "leaves out truncates"
    ),
    "a table is made anew and not published": replace(
        publication(
            "DROP TABLE parts; CREATE TABLE parts (id bigint PRIMARY KEY)", "leaves out public.parts, which was dropped"
        ),
        advice="it copies the table whole",
    ),
    "a topic is deleted": Cause(delete_topic, "topic_gone", ("items is gone",)),
    "a topic is made anew": Cause(make_topic_anew, "topic_made_anew", ("items was made anew",)),
    "a topic gets partitions": Cause(add_partitions, "partitions_changed", ("has 5 partitions", "began with 3")),
}


def captured(rig: Rig, worker: Supervised) -> None:
    """A few rows are captured and confirmed."""
    until(lambda: worker.running, what="the capture at work")
    rig.sql("INSERT INTO items SELECT i FROM generate_series(1, 20) i")
    rig.copied()
    rig.caught_up()


def gap_when(rig: Rig, when: str, happens: Callable[[Rig], object]) -> tuple[Gap, float | None]:
    """How a capture ends that meets what happens, and the metric."""
    with Supervised(CaptureWorker(rig.site.settings, rig.site.source)) as worker:
        captured(rig, worker)
        if when == "at the start":
            worker.stop()
            happens(rig)
            worker = Supervised(CaptureWorker(rig.site.settings, rig.site.source))
        else:
            happens(rig)
        gap = worker.ended(20)
    assert isinstance(gap, Gap), f"{gap!r} after {worker.details}"
    assert worker.state == "failed"
    labels = {"worker": f"capture:{rig.site.source}", "reason": gap.reason}
    return gap, REGISTRY.get_sample_value("placemat_gap", labels)


def assert_gap(found: tuple[Gap, float | None], reason: str, *words: str, advice: str = "A gap") -> None:
    gap, metric = found
    assert (gap.reason, metric, gap.exit_code) == (reason, 1, 1), str(gap)
    assert [word for word in words if word not in str(gap)] == [], str(gap)
    assert advice in gap.try_, gap.try_


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("cause", CAUSES)
def test_a_source_stops_when(capture_factory: RigFactory, proxy_factory: ProxyFactory, cause: str, when: str) -> None:
    rig = capture_factory(**QUICK).init()
    expected = CAUSES[cause]
    proxy = through(proxy_factory, rig) if when == "at run time" and expected.ends_stream else None

    def happens(rig: Rig) -> None:
        if proxy is None:
            expected.happens(rig)
            return
        lose_stream(rig, proxy)
        proxy.stall()  # no look at what is half done
        expected.happens(rig)
        proxy.resume()

    assert_gap(gap_when(rig, when, happens), expected.reason, *expected.words, advice=expected.advice)


def test_a_source_stops_when_the_server_ends_the_stream_and_the_slot_is_gone(capture_factory: RigFactory) -> None:
    rig = capture_factory(check_interval_seconds=600).init()
    assert_gap(gap_when(rig, "at run time", drop_slot), "slot_missing", "is missing", "may be lost")


def test_a_dropped_table_is_no_gap(capture_factory: RigFactory) -> None:
    rig = capture_factory(**QUICK).init()
    with Supervised(CaptureWorker(rig.site.settings, rig.site.source)) as worker:
        captured(rig, worker)
        rig.sql("DROP TABLE parts")
        seen = rig.state("SELECT updated_at FROM placemat.sources")
        rig.sql("INSERT INTO items VALUES (1000)")
        rig.caught_up()
        until(lambda: rig.state("SELECT updated_at FROM placemat.sources") > seen)
        assert worker.running
    assert worker.error is None


@pytest.mark.parametrize("when", WHEN)
def test_a_source_stops_when_the_slot_was_invalidated(
    capture_factory: RigFactory, own_postgres: Callable[..., PostgresServer], proxy_factory: ProxyFactory, when: str
) -> None:
    server = own_postgres(settings={"fsync": "off", "max_slot_wal_keep_size": "1MB", "max_wal_size": "32MB"})
    rig = capture_factory(postgres=server, **QUICK).init()
    proxy = through(proxy_factory, rig)

    def outgrow_the_limit(rig: Rig) -> None:
        if when == "at run time":
            lose_stream(rig, proxy)  # nothing is confirmed meanwhile

        def lost() -> bool:
            rig.sql("SELECT pg_switch_wal()")
            rig.sql("CREATE TABLE IF NOT EXISTS filler (note text)")
            rig.sql("INSERT INTO filler SELECT repeat('x', 1000) FROM generate_series(1, 2000)")
            rig.sql("CHECKPOINT")
            return rig.sql("SELECT wal_status FROM pg_replication_slots") == [("lost",)]

        until(lost, what="a lost slot")

    found = gap_when(rig, when, outgrow_the_limit)
    assert_gap(found, "slot_invalidated", "wal_removed", "max_slot_wal_keep_size is 1MB", "may be lost")


@pytest.mark.parametrize("when", WHEN)
def test_a_source_stops_when_it_is_another_server(
    capture_factory: RigFactory,
    own_postgres: Callable[..., PostgresServer],
    proxy_factory: ProxyFactory,
    when: str,
) -> None:
    rig = capture_factory(**QUICK).init()
    parts, other = urlsplit(rig.url), own_postgres(settings={"fsync": "off"})
    with psycopg.connect(other.dsn(), autocommit=True) as connection:
        connection.execute(f"ALTER ROLE postgres PASSWORD '{parts.password}'".encode())
        connection.execute(f"CREATE DATABASE {parts.path[1:]}".encode())
    proxy = through(proxy_factory, rig)
    found = gap_when(rig, when, lambda _: proxy.redirect("127.0.0.1", other.port))
    assert_gap(found, "other_server", "is another server than", "system identifier")


@pytest.mark.long
@pytest.mark.parametrize("when", WHEN)
def test_a_source_stops_when_kafka_is_another_cluster(
    capture_factory: RigFactory, own_kafka: Callable[..., KafkaServer], when: str
) -> None:
    kafka = own_kafka()
    rig = capture_factory(kafka=kafka, **QUICK).init()

    def format_anew(_: Rig) -> None:
        kafka.stop()
        data = kafka.directory / "data"
        data.rename(data.with_name("before"))
        kafka.start()

    assert_gap(gap_when(rig, when, format_anew), "other_cluster", "is cluster", "began with")


@pytest.mark.long
@pytest.mark.parametrize("when", WHEN)
def test_a_source_stops_when_kafka_has_lost_what_it_had_acknowledged(
    capture_factory: RigFactory, own_kafka: Callable[..., KafkaServer], when: str
) -> None:
    kafka = own_kafka()
    rig = capture_factory(kafka=kafka, **QUICK).init()
    kafka.stop()
    data, backup = kafka.directory / "data", kafka.directory / "backup"
    shutil.copytree(data, backup)
    kafka.start()

    def restore_a_backup(_: Rig) -> None:
        kafka.stop()
        shutil.rmtree(data)
        backup.rename(data)
        kafka.start()

    assert_gap(gap_when(rig, when, restore_a_backup), "topic_cut_off", "ends at 0", "events are lost")
