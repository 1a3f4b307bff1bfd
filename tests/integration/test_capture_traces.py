"""The numbered traces of the delivery protocol that break obvious designs, as far as capture has a part in them."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable

import pytest
from confluent_kafka import KafkaError, Message, Producer

from daemon.capture import pgoutput
from daemon.embedded.postgres import PostgresServer
from daemon.errors import Fenced
from daemon.publish.producer import Publisher
from daemon.publish.tails import Slot
from daemon.state.capture import CaptureState
from daemon.state.engine import opened
from daemon.state.jobs import CopyJobs
from schemas.position import Position
from schemas.topics import EPOCH_HEADER, POSITION_HEADER, table_topic, transactions_topic
from tests.fix_capture import Read, Rig, RigFactory, as_sinks_take_them, assert_whole, replay
from tests.waiting import until

KILLED = -9


def insert(rig: Rig, first: int, count: int) -> None:
    rig.sql(f"INSERT INTO items SELECT i, 0, 'n' FROM generate_series({first}, {first + count - 1}) i")


def append(rig: Rig, topic: str, partition: int, position: Position, epoch: int) -> None:
    """A record from elsewhere, as a capture of that epoch would have written it."""
    producer = Producer({"bootstrap.servers": rig.site.settings.kafka.bootstrap_servers})
    value = b'{"op":"u","before":null,"after":{"id":1,"version":-1,"note":"late"}}'
    headers: list[tuple[str, str | bytes | None]] = [
        (POSITION_HEADER, position.to_header()),
        (EPOCH_HEADER, str(epoch).encode()),
    ]
    producer.produce(topic, value, b'{"id":1}', partition=partition, headers=headers)
    assert producer.flush(10) == 0


def table_ends(records: list[Read], kind: str = "tx") -> list[Read]:
    return [one for one in records if one.topic.endswith(".transactions") and one.value["kind"] == kind]


def test_trace_02_late_records_of_a_frozen_capture_do_not_stop_the_next_start(capture: Rig) -> None:
    with capture.start():
        insert(capture, 1, 30)
        capture.caught_up()
    before = capture.records("items")
    first = min(one.position for one in before)
    for partition in range(3):
        append(capture, before[0].topic, partition, first, epoch=0)
    with capture.start() as life:
        insert(capture, 31, 30)
        capture.caught_up()
    assert life.error is None
    taken, dropped = as_sinks_take_them(capture.records("items"))
    assert {one.epoch for one in dropped} == {0}
    assert len(dropped) == 3
    assert replay(taken, "items") == capture.rows("items")


def test_trace_03_a_server_that_steps_back_gets_no_lower_flush_and_nothing_is_sent_twice(
    capture_factory: RigFactory, own_postgres: Callable[..., PostgresServer]
) -> None:
    server = own_postgres(settings={"autovacuum": "off"})
    rig = capture_factory(postgres=server).init()
    with rig.start():
        rig.copied()
        rig.sql("CHECKPOINT")
        slot_file = server.directory / "data" / "pg_replslot" / rig.site.slot / "state"
        before = slot_file.read_bytes()
        insert(rig, 1, 50)
        rig.caught_up()
    told, stored = rig.confirmed, rig.flush
    rig.disconnect()
    server.kill()
    slot_file.write_bytes(before)  # as after a crash: the server writes it down at checkpoints, and otherwise seldom
    server.start()
    assert rig.confirmed < told
    for first in (100, 200):
        with rig.start() as life:
            insert(rig, first, 10)
            rig.caught_up()
            assert rig.flush >= stored
        assert life.error is None
    assert_whole(rig.records())
    assert replay(rig.records("items"), "items") == rig.rows("items")


def test_trace_04_a_replaced_capture_stores_nothing_more(capture: Rig) -> None:
    source = capture.site.source
    with opened(capture.site.state) as engine:
        thawed, successor = CaptureState(engine, source), CaptureState(engine, source)
        first, second = thawed.claim(), successor.claim()
        assert second.epoch == first.epoch + 1
        before = capture.state("SELECT * FROM placemat.snapshots ORDER BY 1, 2")
        stale: list[Callable[[], None]] = [
            lambda: CopyJobs(thawed, source).chunk_done(1, ["7"], ["id bigint"], 7, None, done=True),
            lambda: thawed.store(2**60, {(transactions_topic(source), 0): (9, Position(1, 2, 3))}),
            lambda: thawed.record_relation("public.items", 9, 1, {"columns": []}),
        ]
        for write in stale:
            with pytest.raises(Fenced):
                write()
        assert capture.state("SELECT * FROM placemat.snapshots ORDER BY 1, 2") == before
        assert capture.state("SELECT * FROM placemat.partitions") == []
        assert capture.state("SELECT * FROM placemat.relations") == []
        assert capture.flush == first.flush_lsn
        successor.store(first.flush_lsn + 1, {})


def test_what_the_state_has_stored_never_falls(capture: Rig) -> None:
    place = (transactions_topic(capture.site.source), 0)
    with opened(capture.site.state) as engine:
        state = CaptureState(engine, capture.site.source)
        start = state.claim().flush_lsn
        state.store(start + 100, {place: (9, Position(1, 200, 3))})
        state.store(start + 50, {place: (12, Position(1, 100, 9))})
        claim = state.claim()
    assert claim.flush_lsn == start + 100
    assert claim.acked[place] == (12, Position(1, 200, 3))


def test_trace_05_the_end_of_a_chunk_leaves_only_after_its_rows_are_acknowledged(capture_factory: RigFactory) -> None:
    rig = capture_factory()
    insert(rig, 1, 100)
    rig.init()
    assert rig.spawn("after_ack:30").wait(30) == KILLED
    assert len(rig.records("items")) >= 30
    assert [one.value["counts"] for one in table_ends(rig.ends(), "snapshot") if one.value["counts"]] == []


def test_trace_05_the_end_of_a_chunk_is_handed_over_when_its_last_row_is_answered(
    capture_factory: RigFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = capture_factory(chunk_rows=40)
    insert(rig, 1, 100)
    rig.init()
    produce, delivered = Publisher._produce, Publisher._delivered
    answered: Counter[str] = Counter()
    early: list[str] = []
    counted: Counter[str] = Counter()

    def hand_over(self: Publisher, slot: Slot, position: Position, key: bytes, value: bytes) -> None:
        if slot[0].endswith(".transactions") and (end := json.loads(value))["kind"] == "snapshot":
            for topic, partitions in end["counts"].items():
                counted[topic] += sum(partitions.values())
                early.extend([topic] if answered[topic] < counted[topic] else [])
        produce(self, slot, position, key, value)

    def answer(self: Publisher, error: KafkaError | None, message: Message) -> None:
        answered[str(message.topic())] += 1
        delivered(self, error, message)

    monkeypatch.setattr(Publisher, "_produce", hand_over)
    monkeypatch.setattr(Publisher, "_delivered", answer)
    with rig.start():
        rig.copied()
    assert counted.total() == 100
    assert early == []


@pytest.mark.parametrize("seam", ["after_ack:30", "after_chunk_rows", "before_progress"])
def test_trace_06_progress_is_stored_after_rows_and_end_are_acknowledged(
    capture_factory: RigFactory, seam: str
) -> None:
    rig = capture_factory(chunk_rows=40)
    insert(rig, 1, 100)
    rig.init()
    assert rig.spawn(seam).wait(30) == KILLED
    stored = "last_key IS NOT NULL OR done_at IS NOT NULL"  # of tables without rows the end may be
    assert rig.state(f"SELECT 1 FROM placemat.snapshots WHERE table_name = 'public.items' AND ({stored})") == []
    with rig.start() as life:
        rig.copied()
    assert life.error is None
    assert_whole(rig.records())
    assert replay(rig.records("items"), "items") == rig.rows("items")


def test_traces_07_and_08_each_partition_is_taken_up_by_itself_and_the_end_counts_what_was_sent_before(
    capture: Rig,
) -> None:
    with capture.start():
        capture.copied()
    insert(capture, 1, 60)
    peek = "SELECT data FROM pg_logical_slot_peek_binary_changes(%s, NULL, NULL, %s, %s, %s, %s)"
    options = [capture.site.slot, "proto_version", "1", "publication_names", "placemat"]
    begins = [pgoutput.read_begin(data) for (data,) in capture.sql(peek, options) if data[:1] == b"B"]
    topic = table_topic(capture.site.source, "public", "items")
    append(capture, topic, 1, Position(1, begins[-1].commit_lsn, 60), epoch=0)
    with capture.start():
        capture.caught_up()
    records = capture.records()
    [end] = [one for one in table_ends(records) if one.position.commit_lsn == begins[-1].commit_lsn]
    counts = end.value["counts"][topic]
    sent = [sum(one.table == "items" and one.partition == number for one in records) for number in range(3)]
    assert (sent[0], sent[2]) == (counts["0"], counts["2"])
    assert sent[1] == 1, "a partition that has them all is not sent anything again"
    assert counts["0"] + counts["1"] + counts["2"] == 60


def test_trace_09_nothing_is_confirmed_before_the_end_of_its_transaction_is_acknowledged(capture: Rig) -> None:
    process = capture.spawn("after_confirm:3")
    numbers = itertools.count(1)

    def killed_while_written_to() -> bool:
        insert(capture, next(numbers) * 10, 3)
        return process.poll() is not None

    until(killed_while_written_to, 30)
    confirmed, ends = capture.confirmed, {one.position.commit_lsn for one in capture.ends()}
    wanted = capture.sql("SELECT count(*) FROM items")[0][0]
    told = {one.position.commit_lsn for one in capture.records("items") if one.position.commit_lsn < confirmed}
    assert told <= ends
    with capture.start():
        capture.caught_up()
    assert_whole(capture.records())
    assert len([one for one in capture.records("items") if one.value["op"] == "c"]) == wanted


def test_trace_10_what_is_sent_again_by_the_server_is_not_published_again(capture: Rig) -> None:
    insert(capture, 1, 20)
    assert capture.spawn("before_confirm:1").wait(30) == KILLED
    for _ in range(3):
        with capture.start() as life:
            capture.caught_up()
        assert life.error is None
    records = capture.records()
    assert_whole(records)
    created = [one.row_key["id"] for one in records if one.table == "items" and one.value["op"] == "c"]
    assert sorted(created) == list(range(1, 21))


def test_trace_11_a_truncate_is_in_every_partition_of_its_tables(capture: Rig) -> None:
    with capture.start():
        insert(capture, 1, 10)
        capture.sql("BEGIN; TRUNCATE items, parts; INSERT INTO items VALUES (1, 5, 'again'); COMMIT")
        capture.caught_up()
    records = capture.records()
    assert_whole(records)
    truncates = [one for one in records if one.value.get("op") == "t"]
    assert sorted((one.table, one.partition) for one in truncates) == [
        (table, number) for table in ("items", "parts") for number in range(3)
    ]
    assert sorted(one.position.ordinal for one in truncates) == list(range(1, 7))
    assert {one.key for one in truncates} == {b""}
    assert replay(records, "items") == capture.rows("items")


def test_trace_18_a_row_over_the_limit_is_a_placeholder_that_counts_under_any_limit(capture: Rig) -> None:
    capture.site.set("kafka.max_record_bytes", 65_536)
    with capture.start():
        capture.copied()
    capture.sql(
        "BEGIN; INSERT INTO items VALUES (1, 0, 'small'), (2, 0, repeat('x', 100000)), (3, 0, 'small');"
        " UPDATE items SET version = 1; COMMIT"
    )
    assert capture.spawn("before_confirm:1").wait(30) == KILLED
    capture.site.set("kafka.max_record_bytes", 1_048_576)
    with capture.start():
        capture.caught_up()
    records = capture.records()
    assert_whole(records)
    large = [one for one in records if one.table == "items" and "oversize" in one.value]
    assert [(one.key, one.value["after"]) for one in large] == [(b'{"id":2}', {"id": 2})] * 2
    assert large[0].value["oversize"] > 100_000
    assert sum(one.table == "items" for one in records) == 6
