"""Capture: what is committed in the source stands in the topics, once, in order, and counted."""

from __future__ import annotations

from contextlib import ExitStack, closing

import psycopg
import pytest

from daemon.errors import Unavailable
from tests.fix_capture import Rig, RigFactory, assert_whole, replay


def write_a_mix(rig: Rig, transactions: int = 30) -> None:
    """Transactions over two tables: inserts, updates, key changes, deletes, and one that is rolled back."""
    for number in range(transactions):
        rig.sql(
            f"""
            BEGIN;
            INSERT INTO items SELECT {number} * 100 + i, 0, 'item ' || i FROM generate_series(1, 20) i;
            INSERT INTO parts SELECT {number} * 100 + i, {number} * 100 + i, 'part' FROM generate_series(1, 5) i;
            UPDATE items SET version = version + 1 WHERE id % 100 > 10 AND id / 100 = {number};
            UPDATE items SET id = id + 50 WHERE id = {number} * 100 + 20;
            DELETE FROM items WHERE id = {number} * 100 + 19;
            COMMIT;
            BEGIN;
            INSERT INTO items SELECT -i, 0, 'never' FROM generate_series(1, 5) i;
            ROLLBACK
            """
        )


def test_every_change_is_in_its_topic_once_in_order_and_counted(capture: Rig) -> None:
    with capture.start() as life:
        write_a_mix(capture)
        capture.caught_up()
    assert life.error is None
    records = capture.records()
    assert_whole(records)
    ops = [read.value["op"] for read in records if read.table == "items"]
    assert (ops.count("c"), ops.count("u"), ops.count("d")) == (30 * 21, 30 * 10, 30 * 2)
    for table in ("items", "parts"):
        assert replay(records, table) == capture.rows(table)


def test_many_transactions_that_are_open_at_once_arrive_each_whole_in_the_order_of_their_commits(capture: Rig) -> None:
    numbers = range(40)
    with capture.start(), ExitStack() as stack:
        writers = [stack.enter_context(closing(psycopg.connect(capture.url))) for _ in numbers]
        for step in range(3):
            for number, writer in zip(numbers, writers, strict=True):
                writer.execute("INSERT INTO items VALUES (%s, %s)", [number * 10 + step, step])
        for writer in reversed(writers):
            writer.commit()
        capture.caught_up()
    found = [one for one in capture.records("items") if one.value["op"] == "c"]
    by_commit: dict[int, list[int]] = {}
    for one in sorted(found, key=lambda one: one.position):
        by_commit.setdefault(one.position.commit_lsn, []).append(one.row_key["id"])
    assert list(by_commit.values()) == [[number * 10 + step for step in range(3)] for number in reversed(numbers)]
    assert_whole(capture.records())


def test_rows_of_several_tables_carry_one_order_within_their_transaction(capture: Rig) -> None:
    with capture.start():
        capture.sql("BEGIN; INSERT INTO items VALUES (1); INSERT INTO parts VALUES (1, 1);"
                    " UPDATE items SET version = 1; DELETE FROM parts; COMMIT")  # fmt: skip
        capture.caught_up()
    rows = sorted(capture.records("items", "parts"), key=lambda one: one.position)
    streamed = [one for one in rows if one.value["op"] != "r"]
    assert [(one.table, one.value["op"], one.position.ordinal) for one in streamed] == [
        ("items", "c", 1), ("parts", "c", 2), ("items", "u", 3), ("parts", "d", 4),
    ]  # fmt: skip
    assert len({one.position.commit_lsn for one in streamed}) == 1
    for one in streamed:
        source = one.value["source"]
        assert (source["timeline"], source["commit_lsn"], source["ordinal"]) == one.position
        assert one.value["transaction"]["total_order"] == source["ordinal"]


def test_an_unchanged_stored_value_is_named_and_left_out(capture: Rig) -> None:
    capture.sql("ALTER TABLE items ALTER note SET STORAGE EXTERNAL")
    with capture.start():
        capture.sql("INSERT INTO items VALUES (1, 0, repeat('x', 5000))")
        capture.sql("UPDATE items SET version = 1")
        capture.caught_up()
    [update] = [one for one in capture.records("items") if one.value["op"] == "u"]
    assert (update.value["after"], update.value["unchanged"]) == ({"id": 1, "version": 1}, ["note"])
    assert replay(capture.records("items"), "items") == capture.rows("items")


def test_a_row_larger_than_the_queue_is_published(capture_factory: RigFactory) -> None:
    rig = capture_factory(queue_bytes=1_048_576).init()
    with rig.start():
        rig.sql("INSERT INTO items VALUES (1, 0, repeat('x', 3000000))")
        rig.caught_up()
    assert {len(one.value["after"]["note"]) for one in rig.records("items")} == {3_000_000}


def test_a_table_that_is_gone_can_be_taken_out_of_the_source(capture: Rig) -> None:
    capture.sql("INSERT INTO items VALUES (1); INSERT INTO parts VALUES (1, 1)")
    capture.sql("DROP TABLE parts")
    capture.site.set(f"sources.{capture.site.source}.tables", ["public.items", "public.beat"])
    with capture.start() as life:
        capture.copied_but("public.parts")
        capture.caught_up()
    assert life.error is None
    assert {one.row_key["id"] for one in capture.records("items")} == {1}
    assert [one.row_key for one in capture.records("parts")] == [{"id": 1}]  # what was committed while it was in


@pytest.mark.parametrize("name", ["placemat copy%", "placemat capture%"])
def test_a_connection_that_the_server_ends_is_made_again_by_the_next_start(capture: Rig, name: str) -> None:
    with capture.start() as life:
        capture.copied()
        ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND application_name LIKE %s"
        assert capture.sql(ended, [psycopg.conninfo.conninfo_to_dict(capture.url)["dbname"], name])
        capture.sql("INSERT INTO items VALUES (1)")
        assert isinstance(life.ended(), Unavailable)
    with capture.start() as again:
        capture.caught_up()
    assert again.error is None
    assert_whole(capture.records())
