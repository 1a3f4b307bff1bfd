"""Trace 18: what a transaction's records are does not depend on what is configured when it is sent."""

from __future__ import annotations

from tests.fix_capture import Read, Rig, RigFactory, assert_whole, replay

KILLED = -9


def positions(records: list[Read], lsn: int) -> list[tuple[str, int, str | None, int]]:
    """Table, partition, operation and ordinal of one transaction's records, in its order."""
    found = [one for one in records if one.position.commit_lsn == lsn and "op" in one.value]
    ordered = sorted(found, key=lambda one: one.position)
    return [(one.table, one.partition, one.value["op"], one.position.ordinal) for one in ordered]


def change_everything(rig: Rig) -> None:
    """One transaction in which a captured table and another are moved, truncated and filled again."""
    rig.sql(
        "BEGIN; UPDATE parts SET id = id + 100; UPDATE items SET version = 1; TRUNCATE parts;"
        " INSERT INTO parts VALUES (7, 1, 'n'); UPDATE items SET version = 2; COMMIT"
    )


def filled(rig: Rig) -> None:
    rig.sql("INSERT INTO items VALUES (1, 0, 'n'); INSERT INTO parts SELECT i, 1, 'n' FROM generate_series(1, 5) i")


def set_tables(rig: Rig, *tables: str) -> None:
    rig.site.set(f"sources.{rig.site.source}.tables", [f"public.{table}" for table in tables])


def without_parts(capture_factory: RigFactory) -> Rig:
    """`parts` is in the publication, and not captured yet."""
    rig = capture_factory().init()
    set_tables(rig, "items", "beat")
    with rig.start():
        rig.copied_but("public.parts")
    filled(rig)
    with rig.start():
        rig.caught_up()
    return rig


def test_trace_18_a_table_configured_later_does_not_renumber_what_is_sent_again(capture_factory: RigFactory) -> None:
    rig = without_parts(capture_factory)
    change_everything(rig)
    assert rig.spawn("before_confirm:1").wait(30) == KILLED
    before = rig.records()
    [lsn] = {one.position.commit_lsn for one in before if one.value.get("op") == "u"}
    assert positions(before, lsn) == [("items", 0, "u", 6), ("items", 0, "u", 9)]
    rig.state("DELETE FROM placemat.partitions WHERE topic LIKE '%.parts'")
    set_tables(rig, "parts", "items", "beat")
    with rig.start():
        rig.copied()
        rig.sql("INSERT INTO parts VALUES (8, 1, 'later'); UPDATE parts SET id = 9 WHERE id = 7")
        rig.caught_up()
    records = rig.records()
    assert_whole(records)
    assert positions(records, lsn) == positions(before, lsn)
    assert replay(records, "parts") == rig.rows("parts")


def test_trace_18_a_table_taken_out_is_captured_up_to_then(capture: Rig) -> None:
    filled(capture)
    with capture.start():
        capture.copied()
    change_everything(capture)
    assert capture.spawn("after_produce:4").wait(30) == KILLED
    set_tables(capture, "items", "beat")
    with capture.start():
        capture.caught_up()
        change_everything(capture)
        capture.caught_up()
    records = capture.records()
    assert_whole(records)
    moved = sorted({one.position.commit_lsn for one in records if one.table == "items" and one.value["op"] == "u"})
    assert len(moved) == 2
    first, second = (positions(records, lsn) for lsn in moved)
    assert [ordinal for *_, ordinal in first] == list(range(1, 17))
    assert [(table, op) for table, _, op, _ in second] == [("items", "u"), ("items", "u")]
    assert [ordinal for *_, ordinal in second] == [2, 5]


def test_a_table_that_comes_back_is_copied_once_more(capture: Rig) -> None:
    filled(capture)
    with capture.start():
        capture.copied()
    set_tables(capture, "items", "beat")
    with capture.start():
        capture.caught_up()
        capture.sql("UPDATE parts SET note = 'unseen'")
        capture.caught_up()
    set_tables(capture, "parts", "items", "beat")
    with capture.start():
        capture.copied()
        capture.caught_up()
    records = capture.records()
    assert_whole(records)
    assert replay(records, "parts") == capture.rows("parts")


def test_a_table_that_init_has_not_seen_is_named(capture: Rig) -> None:
    capture.sql("CREATE TABLE late (id int PRIMARY KEY); ALTER PUBLICATION placemat ADD TABLE late")
    set_tables(capture, "late", *capture.tables)
    error = capture.start().ended()
    assert str(error) == f"Table public.late of source {capture.site.source} has not been set up."
