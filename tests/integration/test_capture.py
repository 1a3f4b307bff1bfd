"""Capture: what is committed in the source stands in the topics, once, in order, and counted."""

from __future__ import annotations

from tests.fix_capture import Rig, assert_whole, replay


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
