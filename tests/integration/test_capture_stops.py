"""A gap is never silent: capture stops with a sentence, and what only does not answer is waited for."""

from __future__ import annotations

from contextlib import closing

import psycopg
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic  # type: ignore[attr-defined]

from daemon import broker
from daemon.embedded.ports import LOOPBACK, free_port
from daemon.errors import OperatorError, Unavailable
from schemas.topics import table_topic
from tests.fix_capture import Rig
from tests.waiting import until


def captured(rig: Rig) -> None:
    """One life in which a few rows were captured and confirmed."""
    with rig.start() as life:
        rig.sql("INSERT INTO items SELECT i FROM generate_series(1, 20) i")
        rig.copied()
        rig.caught_up()
    assert life.error is None
    active = "SELECT 1 FROM pg_replication_slots WHERE slot_name = %s AND active"
    until(lambda: not rig.sql(active, [rig.site.slot]), what="the release of the slot")


def assert_stops(rig: Rig, *words: str) -> None:
    error = rig.start().ended()
    assert isinstance(error, OperatorError), repr(error)
    told = f"{error} {error.try_}"
    assert [word for word in words if word not in told] == [], told


def admin(rig: Rig) -> AdminClient:
    return AdminClient({"bootstrap.servers": rig.site.settings.kafka.bootstrap_servers})


def items_topic(rig: Rig) -> str:
    return table_topic(rig.site.source, "public", "items")


def test_a_missing_slot(capture: Rig) -> None:
    captured(capture)
    capture.sql("SELECT pg_drop_replication_slot(%s)", [capture.site.slot])
    assert_stops(capture, capture.site.slot, "missing", "A gap")


def test_a_slot_that_something_else_has_moved(capture: Rig) -> None:
    captured(capture)
    capture.sql("INSERT INTO items VALUES (1000)")
    capture.sql("SELECT pg_replication_slot_advance(%s, pg_current_wal_lsn())", [capture.site.slot])
    assert_stops(capture, capture.site.slot, "something else has moved it", "A gap")


def test_a_slot_that_another_program_reads(capture: Rig) -> None:
    stranger = psycopg.connect(capture.url, autocommit=True, replication="database", application_name="stranger")
    with closing(stranger) as other:
        result = other.pgconn.exec_(
            f"START_REPLICATION SLOT {capture.site.slot} LOGICAL 0/0"
            " (proto_version '1', publication_names 'placemat')".encode()
        )
        assert not result.error_message
        assert_stops(capture, "in use by another program (stranger", "Stop that program")


def test_a_publication_that_is_gone(capture: Rig) -> None:
    captured(capture)
    capture.sql("DROP PUBLICATION placemat")
    assert_stops(capture, "ublication placemat", capture.site.source, "missing")


def test_a_publication_that_leaves_out_a_table(capture: Rig) -> None:
    captured(capture)
    capture.sql("ALTER PUBLICATION placemat DROP TABLE items")
    assert_stops(capture, "ublication placemat", "public.items")


def test_a_topic_that_is_gone(capture: Rig) -> None:
    captured(capture)
    client = admin(capture)
    for future in client.delete_topics([items_topic(capture)]).values():
        future.result(10)
    until(lambda: items_topic(capture) not in client.list_topics(timeout=5).topics)
    assert_stops(capture, items_topic(capture), "is gone", "A gap")


def test_a_topic_made_anew(capture: Rig) -> None:
    captured(capture)
    client = admin(capture)
    for future in client.delete_topics([items_topic(capture)]).values():
        future.result(10)
    until(lambda: items_topic(capture) not in client.list_topics(timeout=5).topics)

    def made() -> bool:
        [future] = client.create_topics([NewTopic(items_topic(capture), 3, 1)]).values()
        return future.exception(10) is None

    until(made)
    assert_stops(capture, items_topic(capture), "made anew", "A gap")


def test_a_topic_with_another_number_of_partitions(capture: Rig) -> None:
    captured(capture)
    client = admin(capture)
    for future in client.create_partitions([NewPartitions(items_topic(capture), 5)]).values():
        future.result(10)
    assert_stops(capture, items_topic(capture), "5 partitions", "A gap")


def test_a_partition_that_ends_before_what_was_acknowledged(capture: Rig) -> None:
    captured(capture)
    capture.state("UPDATE placemat.partitions SET acked_offset = acked_offset + 1000")
    assert_stops(capture, "ends at", "events are lost", "A gap")


def test_a_partition_emptied_by_retention_is_no_gap_and_nothing_is_sent_twice(capture: Rig) -> None:
    captured(capture)
    kept = {one.position for one in capture.records("items")}
    places = [TopicPartition(items_topic(capture), number, -1) for number in range(3)]
    client = admin(capture)
    for future in client.delete_records(places).values():
        future.result(10)
    assert capture.records("items") == []
    with capture.start() as life:
        capture.sql("INSERT INTO items VALUES (1000)")
        capture.caught_up()
    assert life.error is None
    assert [one.row_key for one in capture.records("items") if one.position not in kept] == [{"id": 1000}]
    assert len(capture.records("items")) == 1


@pytest.mark.parametrize(
    ("column", "words"), [("cluster_id", "is cluster"), ("system_identifier", "another server than")]
)
def test_another_cluster_or_server(capture: Rig, column: str, words: str) -> None:
    capture.state(f"UPDATE placemat.sources SET {column} = '42'")
    assert_stops(capture, words, "42", "A gap")


def test_a_source_that_was_never_set_up(capture: Rig) -> None:
    capture.state("DELETE FROM placemat.sources")
    assert_stops(capture, "has not been set up", "placemat init")


def test_records_of_something_else_in_a_topic(capture: Rig) -> None:
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": capture.site.settings.kafka.bootstrap_servers})
    producer.produce(items_topic(capture), b"hello", partition=0)
    assert producer.flush(10) == 0
    assert_stops(capture, items_topic(capture), "something else writes")


@pytest.mark.parametrize("what", ["kafka.bootstrap_servers", "state.url", "source"])
def test_what_does_not_answer_is_waited_for(capture: Rig, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker, "REACH_SECONDS", 0.5)
    nobody = f"{LOOPBACK}:{free_port()}"
    path = f"sources.{capture.site.source}.url" if what == "source" else what
    capture.site.set(path, nobody if what.startswith("kafka") else f"postgresql://a:b@{nobody}/c")
    assert isinstance(capture.start().ended(), Unavailable)
