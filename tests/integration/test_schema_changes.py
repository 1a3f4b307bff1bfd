"""Versions of captured tables: announced before their first record, once, and never the end of a capture."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition

from daemon import seams
from daemon.capture import schema_changes
from daemon.publish.announce import Announcer
from daemon.publish.producer import Publisher
from daemon.publish.progress import Ticket
from daemon.publish.tails import Slot
from schemas.envelope import SchemaChange
from schemas.position import Position
from schemas.topics import SCHEMA_CHANGES_TOPIC, table_topic
from tests.fix_capture import Rig, RigFactory, assert_whole, replay
from tests.waiting import until


def announced(rig: Rig, table: str) -> list[SchemaChange]:
    consumer = Consumer(
        {
            "bootstrap.servers": rig.site.settings.kafka.bootstrap_servers,
            "group.id": "test",
            "enable.auto.commit": False,
        }
    )
    place = TopicPartition(SCHEMA_CHANGES_TOPIC, 0)
    low, high = consumer.get_watermark_offsets(place, timeout=10)
    consumer.assign([TopicPartition(SCHEMA_CHANGES_TOPIC, 0, low)])
    found: list[SchemaChange] = []
    at = low
    while at < high:
        for message in consumer.consume(min(100, high - at), 0.2):
            at = (message.offset() or 0) + 1
            change = SchemaChange.model_validate_json(message.value() or b"")
            if (change.source, change.name) == (rig.site.source, f"public.{table}"):
                found.append(change)
    consumer.close()
    return found


@contextmanager
def captured(rig: Rig) -> Iterator[None]:
    """A capture that has copied every table; what the block does is published at its end."""
    with rig.start() as life:
        rig.copied()
        yield
        rig.caught_up()
        assert life.running, repr(life.error)


def columns(change: SchemaChange) -> dict[str, Any]:
    return {column.name: column for column in change.columns}


def versions(rig: Rig, table: str) -> list[int]:
    """Of the transactions that have records of a table, in order."""
    topic = table_topic(rig.site.source, "public", table)
    return [end.value["schemas"][topic] for end in rig.ends() if topic in end.value["schemas"]]


def test_a_new_column_is_announced_with_its_type_default_and_the_value_of_rows_that_were_there(capture: Rig) -> None:
    with captured(capture):
        capture.sql("INSERT INTO items (id) VALUES (1)")
        capture.sql("ALTER TABLE items ADD COLUMN price numeric(8,2) NOT NULL DEFAULT 1.5")
        capture.sql("INSERT INTO items (id) VALUES (2)")
    first, second = announced(capture, "items")
    assert (first.version, first.key, first.identity, first.added) == (1, ["id"], "default", [])
    assert (second.version, second.added, second.dropped, second.retyped) == (2, ["price"], [], [])
    price = columns(second)["price"]
    assert (price.type, price.not_null, price.default, price.existing) == ("numeric(8,2)", True, "1.5", "1.50")
    assert versions(capture, "items")[-2:] == [1, 2]


def test_a_column_of_a_domain_is_announced_with_the_type_under_it(capture: Rig) -> None:
    capture.sql("CREATE DOMAIN short AS varchar(5); CREATE DOMAIN shorter AS short CHECK (length(VALUE) < 3)")
    with captured(capture):
        capture.sql("ALTER TABLE items ADD COLUMN code shorter, ALTER note TYPE text")
        capture.sql("INSERT INTO items (id) VALUES (1)")
    code, note = (columns(announced(capture, "items")[-1])[name] for name in ("code", "note"))
    assert (code.type, code.base, note.type, note.base) == ("public.shorter", "character varying(5)", "text", None)


def test_a_column_that_the_source_masks_is_announced_without_its_default(capture_factory: RigFactory) -> None:
    rig = capture_factory(tables=("items", "beat"), masks={"public.items": {"secret": "drop", "note": {"truncate": 3}}})
    rig.sql("ALTER TABLE items ADD secret text")
    rig.init()
    with captured(rig):
        rig.sql("ALTER TABLE items ADD price int, ALTER note SET DEFAULT 'nobody'")
        rig.sql("INSERT INTO items (id) VALUES (1)")
    change = announced(rig, "items")[-1]
    assert list(columns(change)) == ["id", "version", "note", "price"]
    assert (columns(change)["note"].type, columns(change)["note"].default) == (None, None)


def test_versions_that_the_catalogue_is_past_are_not_waited_for(capture: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    with captured(capture):
        pass
    for number in range(4):
        capture.sql(f"ALTER TABLE items ADD c{number} int DEFAULT {number}")
        capture.sql(f"INSERT INTO items (id) VALUES ({number})")
    monkeypatch.setattr(schema_changes, "SIGHT_SECONDS", 60)
    with capture.start():
        capture.caught_up()
    assert [change.added for change in announced(capture, "items")] == [[], ["c0"], ["c1"], ["c2"], ["c3"]]


def test_what_was_announced_is_not_announced_again_after_a_restart(capture: Rig) -> None:
    for _ in range(2):
        with captured(capture):
            capture.sql("INSERT INTO items (id) SELECT coalesce(max(id), 0) + 1 FROM items")
    assert [change.version for change in announced(capture, "items")] == [1]


def test_a_version_is_announced_before_its_first_record_is_sent(capture: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    announce, send, order = Announcer.announce, Publisher.send, []

    def announced_first(self: Announcer, key: bytes, value: bytes) -> None:
        announce(self, key, value)
        order.append(("announced", json.loads(key)["table"]))

    def then_sent(self: Publisher, ticket: Ticket, slot: Slot, position: Position, key: bytes, value: bytes) -> None:
        order.append(("sent", slot[0].rpartition(".")[2]))
        send(self, ticket, slot, position, key, value)

    monkeypatch.setattr(Announcer, "announce", announced_first)
    monkeypatch.setattr(Publisher, "send", then_sent)
    capture.sql("INSERT INTO items (id) VALUES (1)")
    capture.sql("ALTER TABLE items ADD COLUMN price int")
    capture.sql("INSERT INTO items (id) VALUES (2)")
    with capture.start():
        capture.copied()
        capture.caught_up()
    kinds = [kind for kind, table in order if table == "items"]
    assert kinds[:3] == ["announced", "sent", "announced"]


def test_changes_in_the_middle_of_a_transaction_are_versions_of_their_own(capture: Rig) -> None:
    with captured(capture):
        capture.sql(
            "BEGIN; INSERT INTO items (id) VALUES (1); ALTER TABLE items RENAME note TO remark;"
            " INSERT INTO items (id) VALUES (2); ALTER TABLE items ALTER version TYPE numeric;"
            " INSERT INTO items (id) VALUES (3); COMMIT"
        )
    _, renamed, retyped = announced(capture, "items")
    assert (renamed.added, renamed.dropped) == (["remark"], ["note"])
    assert (retyped.retyped, retyped.added) == (["version"], [])
    assert versions(capture, "items")[-1] == 3


def test_the_end_of_a_transaction_names_a_version_that_was_undone_within_it(capture: Rig) -> None:
    with captured(capture):
        capture.sql("INSERT INTO items (id) VALUES (1)")
        capture.sql(
            "BEGIN; ALTER TABLE items ADD price int; INSERT INTO items (id, price) VALUES (2, 9);"
            " ALTER TABLE items DROP price; INSERT INTO items (id) VALUES (3); COMMIT"
        )
    assert [change.added for change in announced(capture, "items")] == [[], ["price"]]
    assert versions(capture, "items")[-1] == 2


def test_a_table_that_is_dropped_is_announced_and_the_others_go_on(capture: Rig) -> None:
    with capture.start():
        capture.copied()
        capture.sql("DROP TABLE parts")
    with capture.start() as life:
        until(lambda: life.running or life.error, what="the capture at work without that table")
        assert life.error is None, repr(life.error)
        capture.sql("INSERT INTO items (id) VALUES (1)")
        capture.caught_up()
    assert announced(capture, "parts")[-1].gone
    assert len(capture.records("items")) == 1


@pytest.mark.parametrize("published", ["TABLE items, parts, beat", "ALL TABLES"])
def test_a_table_that_is_made_anew_and_published_is_announced_and_copied(
    capture_factory: RigFactory, published: str
) -> None:
    rig = capture_factory(check_interval_seconds=0.2)
    rig.sql(f"CREATE PUBLICATION placemat FOR {published}")
    rig.init()
    with rig.start() as life:
        rig.copied()
        rig.sql("INSERT INTO items (id) VALUES (1)")
        rig.sql("INSERT INTO parts (id, item_id) VALUES (1, 1)")
        rig.caught_up()
        again = "" if published == "ALL TABLES" else "ALTER PUBLICATION placemat ADD TABLE parts"
        rig.sql(
            "BEGIN; DROP TABLE parts; CREATE TABLE parts (id bigint PRIMARY KEY, item_id bigint NOT NULL, note text);"
            f" INSERT INTO parts VALUES (7, 1, 'not published yet'); {again}; COMMIT"
        )
        rig.sql("INSERT INTO parts VALUES (8, 1, 'published')")
        job = "SELECT 1 FROM placemat.snapshots WHERE table_name = 'public.parts' AND kind = 'needed'"
        until(lambda: rig.state(f"{job} AND done_at IS NOT NULL") or life.error, what="the copy of the new table")
        assert life.error is None, repr(life.error)
        rig.caught_up()
    assert life.error is None, repr(life.error)
    rows = replay(rig.records("parts"), "parts")
    assert {key: rows[key] for key in (7, 8)} == rig.rows("parts")
    assert [change.made_anew for change in announced(rig, "parts")] == [False, True]


def test_a_table_that_is_made_anew_and_not_published_is_captured_again_once_it_is(capture: Rig) -> None:
    with capture.start():
        capture.copied()
    capture.sql("DROP TABLE parts; CREATE TABLE parts (id bigint PRIMARY KEY); INSERT INTO parts VALUES (7)")
    with capture.start() as life:
        assert "which was dropped and made anew" in str(life.ended())
    capture.init()
    with capture.start() as life:
        until(lambda: len(capture.records("parts")) == 1 or life.error, what="the row of the new table")
        assert life.error is None, repr(life.error)


def test_a_table_that_loses_its_key_goes_on_in_one_partition(capture: Rig) -> None:
    with captured(capture):
        capture.sql("ALTER TABLE beat REPLICA IDENTITY FULL")
        capture.sql("ALTER TABLE parts REPLICA IDENTITY FULL")
        capture.sql("INSERT INTO items (id) VALUES (1)")
        capture.sql("ALTER TABLE parts DROP CONSTRAINT parts_pkey")
        capture.sql("INSERT INTO parts (id, item_id) SELECT n, 1 FROM generate_series(1, 9) n")
    assert announced(capture, "parts")[-1].key == []
    assert len({(record.partition, record.key) for record in capture.records("parts")}) == 1


def test_a_table_that_is_published_and_not_captured_is_announced_as_such(capture: Rig) -> None:
    with captured(capture):
        capture.sql("ALTER TABLE parts RENAME TO pieces")
        capture.sql("INSERT INTO items (id) VALUES (1)")
        capture.sql("INSERT INTO pieces (id, item_id) VALUES (1, 1)")
    [change] = announced(capture, "pieces")
    assert not change.captured


@pytest.mark.long
@pytest.mark.crash
@pytest.mark.parametrize(("seam", "again"), [(seams.AFTER_ANNOUNCEMENT, [2, 2]), (seams.AFTER_VERSION, [2])])
def test_a_capture_killed_between_an_announcement_and_the_rows_announces_one_version_and_repeats_no_row(
    capture: Rig, seam: str, again: list[int]
) -> None:
    with captured(capture):
        capture.sql("INSERT INTO items (id, note) VALUES (1, 'a')")
        capture.sql("INSERT INTO beat DEFAULT VALUES")  # what the end of the block adds there is of a version by then
    process = capture.spawn(seam)
    capture.sql("BEGIN; ALTER TABLE items ADD price int NOT NULL DEFAULT 7; INSERT INTO items (id) VALUES (2); COMMIT")
    assert process.wait(20) == -9
    assert [change.version for change in announced(capture, "items")] == [1, 2]
    assert len(capture.records("items")) == 1, "no row before its version is recorded"
    capture.sql("INSERT INTO items (id) VALUES (3)")
    with capture.start() as life:
        until(lambda: life.running or life.error, what="the capture at work again")
        capture.caught_up()
    assert life.error is None, repr(life.error)
    changes = announced(capture, "items")
    assert [change.version for change in changes] == [1, *again]
    assert {(change.added[0], columns(change)["price"].existing) for change in changes[1:]} == {("price", "7")}
    records = capture.records()
    assert_whole(records)
    rows = replay(records, "items")
    assert rows == {**capture.rows("items"), 1: {"id": 1, "version": 0, "note": "a"}}
    assert versions(capture, "items")[-2:] == [2, 2]


def test_a_key_that_changes_in_the_middle_of_a_transaction_is_the_key_of_what_comes_after(capture: Rig) -> None:
    with captured(capture):
        capture.sql("INSERT INTO items (id) VALUES (1)")
        capture.sql("INSERT INTO parts (id, item_id) VALUES (1, 1)")
        capture.sql(
            "BEGIN; INSERT INTO parts (id, item_id) VALUES (2, 1); UPDATE parts SET note = 'before' WHERE id = 1;"
            " ALTER TABLE parts DROP CONSTRAINT parts_pkey, ADD PRIMARY KEY (item_id, id);"
            " INSERT INTO parts (id, item_id) VALUES (3, 1); UPDATE parts SET note = 'after' WHERE id = 1;"
            " UPDATE parts SET id = 9 WHERE id = 3; DELETE FROM parts WHERE id = 2; COMMIT"
        )
    records = sorted(capture.records("parts"), key=lambda one: one.position)
    assert_whole(capture.records())
    assert [(one.value["op"], list(one.row_key.values())) for one in records] == [
        ("c", [1]),
        ("c", [2]),
        ("u", [1]),
        ("c", [1, 3]),
        ("u", [1, 1]),
        ("d", [1, 3]),
        ("c", [1, 9]),
        ("d", [1, 2]),
    ]
    first, second = announced(capture, "parts")
    assert (first.key, second.key, second.key_changed) == (["id"], ["item_id", "id"], True)
    assert versions(capture, "parts")[-1] == second.version


def test_an_identity_that_changes_in_the_middle_of_a_transaction_leaves_the_key_as_it_is(capture: Rig) -> None:
    with captured(capture):
        capture.sql("INSERT INTO items SELECT i, i, 'old' FROM generate_series(1, 4) i")
        capture.sql("CREATE UNIQUE INDEX wide ON items (version, id)")
        capture.sql(
            "BEGIN; UPDATE items SET note = 'by its key' WHERE id = 1;"
            " ALTER TABLE items REPLICA IDENTITY FULL; UPDATE items SET note = 'by all' WHERE id = 2;"
            " ALTER TABLE items REPLICA IDENTITY USING INDEX wide; UPDATE items SET version = 33 WHERE id = 3;"
            " DELETE FROM items WHERE id = 4; ALTER TABLE items REPLICA IDENTITY DEFAULT;"
            " UPDATE items SET id = 5 WHERE id = 1; COMMIT"
        )
    records = capture.records("items")
    assert_whole(capture.records())
    assert {tuple(one.row_key) for one in records} == {("id",)}
    assert replay(records, "items") == capture.rows("items")
    old = {one.row_key["id"]: one.value["before"] for one in records if one.value["op"] in ("u", "d")}
    assert old[2] == {"id": 2, "version": 2, "note": "old"}
    assert (old[3], old[4]) == ({"id": 3, "version": 3}, {"id": 4, "version": 4})
    identities = [change.identity for change in announced(capture, "items")]
    assert identities == ["default", "full", "index"], "the last is the first one again"
    assert versions(capture, "items")[-1] == 3
