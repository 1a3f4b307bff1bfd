"""Whatever ends a capture, the next one leaves nothing out and repeats nothing."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import datetime
from urllib.parse import urlsplit

import psycopg
import pytest

from daemon import seams
from daemon.embedded.kafka import KafkaServer
from daemon.embedded.postgres import PostgresServer
from daemon.errors import Fenced, Unavailable
from tests.fix_capture import Rig, RigFactory, assert_whole, replay
from tests.fix_proxy import Proxy
from tests.waiting import until

KILLED = -9
MORE_THAN_SOCKETS_HOLD = (
    "INSERT INTO items SELECT i, 0, repeat(md5(i::text), 320) FROM generate_series(1, 2000) i"  # 20 MB
)
"""With less, keepalives are still read and answered while nothing is taken."""

pytestmark = pytest.mark.crash


def write(rig: Rig, number: int) -> None:
    """One transaction over two tables, with a key that comes and goes."""
    rig.sql(
        f"""
        BEGIN;
        INSERT INTO items SELECT {number} * 100 + i, 0, 'item' FROM generate_series(1, 8) i;
        INSERT INTO parts VALUES ({number}, {number} * 100 + 1, 'part');
        UPDATE items SET version = 1 WHERE id IN ({number} * 100 + 2, {number} * 100 + 3);
        DELETE FROM items WHERE id = {number} * 100 + 4;
        COMMIT
        """
    )


def assert_nothing_missing_nothing_twice(rig: Rig) -> None:
    records = rig.records()
    assert_whole(records)
    for table in ("items", "parts"):
        assert replay(records, table) == rig.rows(table)


def last_reply(rig: Rig) -> datetime:
    found = rig.sql("SELECT reply_time FROM pg_stat_replication WHERE reply_time IS NOT NULL")
    assert found, "the connection that has replied was ended"
    return datetime.fromisoformat(str(found[0][0]))


SEAMS = [
    f"{seams.AFTER_PRODUCE}:150",
    f"{seams.AFTER_ACK}:150",
    f"{seams.BEFORE_CONFIRM}:3",
    f"{seams.AFTER_CONFIRM}:3",
    f"{seams.AFTER_MARK}:3",
    f"{seams.AFTER_CHUNK_ROWS}:3",
    f"{seams.BEFORE_PROGRESS}:3",
]


@pytest.mark.parametrize("seam", SEAMS)
def test_a_capture_killed_at_a_seam_leaves_out_nothing_and_repeats_nothing(
    capture_factory: RigFactory, seam: str
) -> None:
    rig = capture_factory(chunk_rows=20)
    rig.sql("INSERT INTO items SELECT -i, 0, 'old' FROM generate_series(1, 100) i")
    rig.init()
    process = rig.spawn(seam)
    numbers = itertools.count(1)

    def killed_under_load() -> bool:
        write(rig, next(numbers))
        return process.poll() is not None

    until(killed_under_load, 40, what=f"the kill at {seam}")
    assert process.returncode == KILLED
    write(rig, next(numbers))
    with rig.start() as life:
        rig.copied()
        rig.caught_up()
    assert life.error is None
    assert_nothing_missing_nothing_twice(rig)
    [[written]] = rig.sql("SELECT sum(version) FROM items WHERE id > 0")
    updates = [one for one in rig.records("items") if one.value["op"] == "u"]
    assert len(updates) == written


def test_a_capture_that_was_replaced_ends_as_such(capture: Rig) -> None:
    with capture.start() as life:
        capture.caught_up()
        capture.state("UPDATE placemat.sources SET epoch = epoch + 1")
        write(capture, 1)
        assert isinstance(life.ended(), Fenced)


def test_a_connection_cut_within_a_transaction_is_made_again_and_nothing_is_twice(
    capture: Rig, proxy_factory: Callable[[str, int], Proxy]
) -> None:
    parts = urlsplit(capture.url)
    proxy = proxy_factory(parts.hostname or "", parts.port or 0)
    capture.site.set(f"sources.{capture.site.source}.url", proxy.url(capture.url))
    with capture.start() as life:
        capture.copied()
        produced = len(capture.records("items"))
        capture.sql("INSERT INTO items SELECT i, 0, repeat('x', 500) FROM generate_series(1, 20000) i")
        until(lambda: len(capture.records("items")) > produced, what="the first records of the transaction")
        proxy.cut()
        assert isinstance(life.ended(), Unavailable)
    with capture.start() as life:
        write(capture, 1000)
        capture.caught_up()
    assert life.error is None
    assert_nothing_missing_nothing_twice(capture)


def test_status_goes_out_while_kafka_stands_still_longer_than_the_servers_time_out(
    capture_factory: RigFactory,
    own_postgres: Callable[..., PostgresServer],
    own_kafka: Callable[..., KafkaServer],
) -> None:
    server, kafka = own_postgres(settings={"wal_sender_timeout": "2s"}), own_kafka()
    rig = capture_factory(postgres=server, kafka=kafka, queue_bytes=1_048_576).init()
    sender = "SELECT active_pid FROM pg_replication_slots"
    with rig.start() as life:
        rig.copied()
        connected = rig.sql(sender)
        kafka.pause()
        rig.sql("INSERT INTO items VALUES (-1)")
        [[small]] = rig.sql("SELECT pg_current_wal_lsn() - '0/0'")
        first = last_reply(rig)
        until(lambda: (last_reply(rig) - first).total_seconds() > 1, what="a reply after a small transaction")
        assert rig.confirmed < small, "confirmed before Kafka has it"
        rig.sql(MORE_THAN_SOCKETS_HOLD)
        [[written]] = rig.sql("SELECT pg_current_wal_lsn() - '0/0'")
        before = last_reply(rig)
        until(lambda: (last_reply(rig) - before).total_seconds() > 4.5, what="replies for twice the time-out")
        assert rig.sql(sender) == connected
        assert rig.confirmed < written, "confirmed before Kafka has it"
        kafka.resume()
        rig.caught_up()
        assert rig.sql(sender) == connected
    assert life.error is None
    assert_nothing_missing_nothing_twice(rig)


def test_the_flush_position_is_stored_before_it_is_told_and_never_falls(capture: Rig) -> None:
    with capture.start():
        told = [capture.confirmed]
        for number in range(40):
            write(capture, number)
            told.append(capture.confirmed)
            assert capture.flush >= told[-1]
        capture.caught_up()
        until(lambda: capture.confirmed > told[0], what="a confirmation")
        confirmed = capture.confirmed
        assert capture.flush >= confirmed
    assert told == sorted(told)


def test_nothing_is_told_to_the_slot_while_it_cannot_be_stored(capture: Rig) -> None:
    capture.sql("CREATE TABLE unpublished (id bigint)")
    with capture.start() as life:
        capture.copied()
        capture.caught_up()
        with psycopg.connect(capture.site.state) as holder:
            holder.execute("SELECT 1 FROM placemat.sources FOR UPDATE")
            stored = capture.flush
            capture.sql("INSERT INTO unpublished SELECT generate_series(1, 1000)")
            waits = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            until(lambda: capture.state(waits), what="a capture that waits to store its flush")
            assert capture.confirmed <= stored
        capture.caught_up()
    assert life.error is None


def test_an_idle_source_is_confirmed_while_only_unpublished_tables_change(capture: Rig) -> None:
    capture.sql("CREATE TABLE unpublished (id bigint)")
    with capture.start():
        capture.copied()
        capture.sql("INSERT INTO unpublished SELECT generate_series(1, 1000)")
        [[lsn]] = capture.sql("SELECT pg_current_wal_lsn() - '0/0'")
        until(lambda: capture.confirmed >= lsn, what="the confirmation of WAL without changes of ours")
        confirmed = capture.confirmed
        assert capture.flush >= confirmed
