"""Application messages, and the place of every record in its transaction."""

from __future__ import annotations

import base64
from collections import Counter
from typing import Any

from schemas.topics import messages_topic
from tests.fix_capture import Read, Rig, assert_whole, read_topics

KILLED = -9


def messages(rig: Rig) -> list[Read]:
    return read_topics(rig.site.settings.kafka.bootstrap_servers, [messages_topic(rig.site.source)])


def content(read: Read) -> str:
    return base64.b64decode(read.value["message"]["content"]).decode()


def emit(rig: Rig, prefix: str, text: str, *, transactional: bool) -> None:
    rig.sql("SELECT pg_logical_emit_message(%s, %s, %s)", [transactional, prefix, text])


def assert_counted(rig: Rig) -> None:
    """As `assert_whole`, the messages of transactions included; their orders have no hole and no repetition."""
    within = [one for one in messages(rig) if one.value["transaction"] is not None]
    records = [*rig.records(), *within]
    assert_whole(records)
    assert_ordered(records)


def assert_ordered(records: list[Read]) -> None:
    """Within a transaction and a table, `data_collection_order` runs 1, 2, 3 … in the order of `total_order`."""
    orders: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for read in sorted(records, key=lambda read: read.position):
        if (transaction := read.value.get("transaction")) is not None:
            assert transaction["total_order"] == read.position.ordinal == read.value["source"]["ordinal"]
            orders.setdefault((transaction["id"], read.topic), []).append(transaction)
    assert orders
    for one in orders.values():
        assert [order["data_collection_order"] for order in one] == list(range(1, len(one) + 1))


def test_a_message_of_a_transaction_stands_among_its_rows_and_is_counted(capture: Rig) -> None:
    with capture.start():
        capture.sql(
            "BEGIN; INSERT INTO items VALUES (1); SELECT pg_logical_emit_message(true, 'app ü', 'one');"
            " UPDATE items SET version = 1; SELECT pg_logical_emit_message(true, 'app ü', ''); COMMIT"
        )
        capture.caught_up()
    first, second = messages(capture)
    assert (first.position.ordinal, second.position.ordinal) == (2, 4)
    assert first.value["op"] == "m"
    assert (first.row_key, first.value["message"]["prefix"]) == ({"prefix": "app ü"}, "app ü")
    assert [content(one) for one in (first, second)] == ["one", ""]
    assert (first.value["source"]["schema"], first.value["source"]["table"]) == ("", "")
    assert second.value["transaction"]["data_collection_order"] == 2
    assert_counted(capture)


def test_a_message_outside_transactions_has_the_place_of_its_own_and_no_transaction(capture: Rig) -> None:
    with capture.start():
        emit(capture, "app", "before", transactional=False)
        emit(capture, "app", "within", transactional=True)
        emit(capture, "app", "after", transactional=False)
        capture.caught_up()
    found = messages(capture)
    assert [content(one) for one in found] == ["before", "within", "after"]
    assert [one.value["transaction"] is None for one in found] == [True, False, True]
    alone = found[0]
    assert (alone.position.commit_lsn, alone.position.ordinal) == (alone.value["source"]["lsn"], 1)
    assert alone.value["source"]["txId"] is None
    assert_counted(capture)


def test_the_daemons_own_messages_are_not_passed_on_and_keep_their_place(capture: Rig) -> None:
    with capture.start():
        capture.copied()
        capture.sql(
            "BEGIN; SELECT pg_logical_emit_message(true, 'placemat.origin', '{}'); INSERT INTO items VALUES (1);"
            " SELECT pg_logical_emit_message(true, 'placemat.actor', 'ada'); COMMIT"
        )
        emit(capture, "placemat.mark", "not ours", transactional=False)
        capture.caught_up()
    assert [one.value["message"]["prefix"] for one in messages(capture)] == ["placemat.actor"]
    [row] = capture.records("items")
    assert row.position.ordinal == 2
    assert_counted(capture)


def test_messages_are_there_once_after_a_kill_between_acknowledgement_and_confirmation(capture: Rig) -> None:
    with capture.start():
        capture.copied()
    texts = [f"{number}" for number in range(12)]
    for number, text in enumerate(texts):
        emit(capture, "app", text, transactional=number % 3 == 0)
    for seam in ("after_ack:5", "before_confirm:1"):
        assert capture.spawn(seam).wait(30) == KILLED
    with capture.start():
        capture.caught_up()
    assert [content(one) for one in messages(capture)] == texts
    assert_counted(capture)


def test_a_message_is_not_confirmed_before_kafka_has_it(capture: Rig) -> None:
    with capture.start():
        capture.copied()
        capture.caught_up()
    emit(capture, "app", "kept", transactional=False)
    emit(capture, "elsewhere", "x" * 100, transactional=True)
    assert capture.spawn("after_produce:1").wait(30) == KILLED
    with capture.start():
        capture.caught_up()
    assert [one.value["message"]["prefix"] for one in messages(capture)] == ["app", "elsewhere"]


def test_a_message_over_the_limit_comes_without_its_content(capture: Rig) -> None:
    capture.site.set("kafka.max_record_bytes", 65_536)
    with capture.start() as life:
        emit(capture, "app", "x" * 100_000, transactional=True)
        emit(capture, "p" * 70_000, "x", transactional=False)
        emit(capture, "app", "small", transactional=False)
        capture.caught_up()
    assert life.error is None
    large, long, small = messages(capture)
    assert (large.value["message"], large.value["oversize"] > 100_000) == ({"prefix": "app", "content": None}, True)
    assert long.value["message"]["prefix"] == "p" * 1_000
    assert content(small) == "small"


def test_every_record_tells_its_place_among_those_of_its_table_also_when_it_is_sent_again(capture: Rig) -> None:
    capture.site.set("kafka.max_record_bytes", 65_536)
    with capture.start():
        capture.copied()
    capture.sql(
        "BEGIN; INSERT INTO items SELECT i, 0, 'n' FROM generate_series(1, 5) i; UPDATE items SET id = id + 10;"
        " INSERT INTO items VALUES (2, 0, repeat('x', 100000)); UPDATE items SET version = 3 WHERE id = 2;"
        " INSERT INTO parts VALUES (1, 2, 'n'); DELETE FROM parts; TRUNCATE parts; DELETE FROM items WHERE id = 2;"
        " COMMIT"
    )
    assert capture.spawn("after_produce:9").wait(30) == KILLED
    with capture.start():
        capture.caught_up()
    records = capture.records()
    assert Counter(one.value["op"] for one in records if one.table in ("items", "parts")) == Counter(
        {"c": 5 + 5 + 1, "d": 5 + 2, "u": 2, "t": 3}
    )
    assert_counted(capture)
