"""Tables of every shape: in partitions, inherited, with odd names, and with each replica identity."""

from __future__ import annotations

import pytest
from confluent_kafka import Consumer

from daemon.errors import OperatorError
from schemas.topics import table_of, table_topic
from tests.fix_capture import Read, Rig, RigFactory, assert_whole, read_topics, replay

BEAT = "CREATE TABLE beat (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY);"


def rows_of(rig: Rig, table: str) -> list[Read]:
    topic = table_topic(rig.site.source, "public", table)
    return sorted(read_topics(rig.site.settings.kafka.bootstrap_servers, [topic]), key=lambda read: read.position)


def test_a_partitioned_table_is_captured_as_one_table(capture_factory: RigFactory) -> None:
    rig = capture_factory(
        ddl=BEAT
        + "CREATE TABLE items (id bigint, day date, note text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);"
        " CREATE TABLE items_1 PARTITION OF items FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');"
        " CREATE TABLE items_2 (note text, dropped int, day date NOT NULL, id bigint NOT NULL);"
        " ALTER TABLE items_2 DROP COLUMN dropped;"
        " ALTER TABLE items ATTACH PARTITION items_2 FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');"
        " ALTER TABLE items_2 REPLICA IDENTITY FULL;"
        " INSERT INTO items VALUES (1, '2024-05-05', 'copied'), (2, '2025-05-05', 'copied')",
        tables=("items", "beat"),
    ).init()
    with rig.start():
        rig.copied()
        rig.sql(
            "INSERT INTO items VALUES (3, '2024-06-06', 'new'), (4, '2025-06-06', 'new');"
            " UPDATE items SET note = 'changed' WHERE id IN (1, 2); UPDATE items SET day = '2025-07-07' WHERE id = 3;"
            " UPDATE items SET id = 9 WHERE id = 4; DELETE FROM items WHERE id = 2"
        )
        rig.caught_up()
    records = rig.records()
    assert_whole(records)
    assert replay(records, "items") == rig.rows("items")
    with rig.start():
        rig.sql("TRUNCATE items")
        rig.caught_up()
    assert replay(rig.records(), "items") == {}
    [(viaroot,)] = rig.sql("SELECT pubviaroot FROM pg_publication")
    assert viaroot


def test_a_publication_of_partitions_is_mended_when_their_table_is_named(capture_factory: RigFactory) -> None:
    rig = capture_factory(
        ddl=BEAT + "CREATE TABLE items (id bigint PRIMARY KEY) PARTITION BY HASH (id);"
        " CREATE TABLE items_1 PARTITION OF items FOR VALUES WITH (MODULUS 1, REMAINDER 0);"
        " CREATE PUBLICATION placemat FOR TABLE items, beat",
        tables=("items", "beat"),
    ).init()
    with rig.start():
        rig.sql("INSERT INTO items VALUES (1)")
        rig.caught_up()
    assert replay(rig.records(), "items").keys() == {1}


@pytest.mark.parametrize(
    ("ddl", "tables", "sentence"),
    [
        (
            "CREATE UNIQUE INDEX days ON items_1 (day); ALTER TABLE items_1 REPLICA IDENTITY USING INDEX days",
            ("items", "beat"),
            "Partition items_1 of public.items of source",
        ),
        ("", ("items", "items_1", "beat"), "public.items_1 of source"),
    ],
)
def test_partitions_that_would_be_captured_wrongly_are_refused(
    capture_factory: RigFactory, ddl: str, tables: tuple[str, ...], sentence: str
) -> None:
    rig = capture_factory(
        ddl=BEAT + "CREATE TABLE items (id bigint, day date, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);"
        " CREATE TABLE items_1 PARTITION OF items DEFAULT;" + ddl,
        tables=tables,
    )
    ended = rig.site.placemat("init")
    assert (ended.code, sentence in ended.err) == (1, True), ended.err


def test_an_inherited_table_has_its_own_rows_and_no_others(capture_factory: RigFactory) -> None:
    rig = capture_factory(
        ddl=BEAT + "CREATE TABLE items (id bigint PRIMARY KEY, note text);"
        " CREATE TABLE parts (PRIMARY KEY (id), more int) INHERITS (items);"
        " INSERT INTO items VALUES (1, 'own'); INSERT INTO parts VALUES (1, 'inherited', 5), (2, 'inherited', 6)",
        tables=("items", "parts", "beat"),
    ).init()
    with rig.start():
        rig.copied()
        rig.sql("UPDATE items SET note = 'both'; INSERT INTO parts VALUES (3, 'new', 7); TRUNCATE ONLY items")
        rig.caught_up()
    records = rig.records()
    assert_whole(records)
    own = {row["id"]: row for (row,) in rig.sql("SELECT to_jsonb(t) FROM ONLY items t")}
    assert replay(records, "items") == own
    assert replay(records, "parts") == rig.rows("parts")
    assert {one.key for one in records if one.table == "items"} == {b'{"id":1}', b""}


def test_the_record_key_stays_the_primary_key_under_an_identity_that_covers_it(capture: Rig) -> None:
    with capture.start():
        capture.sql("INSERT INTO items VALUES (1, 1, 'a'), (2, 2, 'b')")
        capture.caught_up()
        capture.sql(
            "CREATE UNIQUE INDEX wide ON items (version, id); ALTER TABLE items REPLICA IDENTITY USING INDEX wide"
        )
        capture.sql("UPDATE items SET version = 5 WHERE id = 1; UPDATE items SET id = 3 WHERE id = 2")
        capture.sql("DELETE FROM items WHERE id = 1; ALTER TABLE items REPLICA IDENTITY FULL; DELETE FROM items")
        capture.caught_up()
    records = capture.records("items")
    assert {tuple(one.row_key) for one in records} == {("id",)}
    assert replay(records, "items") == {}


def test_an_identity_without_the_primary_key_stops_at_the_first_change_that_it_hides(capture: Rig) -> None:
    with capture.start() as life:
        capture.sql("CREATE UNIQUE INDEX versions ON items (version)")
        capture.sql("ALTER TABLE items REPLICA IDENTITY USING INDEX versions; INSERT INTO items VALUES (1, 7, 'a')")
        capture.caught_up()
        assert replay(capture.records("items"), "items").keys() == {1}
        capture.sql("UPDATE items SET note = 'b'")
        error = life.ended()
    assert isinstance(error, OperatorError)
    assert "public.items has logged a change without the primary key" in str(error)
    assert 'ALTER TABLE "public"."items" REPLICA IDENTITY DEFAULT' in error.try_


def test_identity_nothing_lets_inserts_pass(capture: Rig) -> None:
    capture.sql("ALTER TABLE items REPLICA IDENTITY NOTHING")
    with capture.start() as life:
        capture.sql("INSERT INTO items VALUES (1, 7, 'a')")
        capture.caught_up()
    assert life.error is None
    assert replay(capture.records("items"), "items") == capture.rows("items")


def test_tables_without_a_primary_key_stand_in_one_partition_and_are_not_copied(capture_factory: RigFactory) -> None:
    rig = capture_factory(
        ddl=BEAT + "CREATE TABLE items (note text); ALTER TABLE items REPLICA IDENTITY FULL;"
        " CREATE TABLE parts (note text); ALTER TABLE parts REPLICA IDENTITY NOTHING;"
        " CREATE TABLE coded (code text NOT NULL, note text); CREATE UNIQUE INDEX codes ON coded (code);"
        " ALTER TABLE coded REPLICA IDENTITY USING INDEX codes;"
        " INSERT INTO items VALUES ('old'); INSERT INTO coded VALUES ('a', 'old')",
        tables=("items", "parts", "coded", "beat"),
    ).init()
    with rig.start():
        rig.copied()
        rig.sql(
            "INSERT INTO items VALUES ('x'), ('y'); UPDATE items SET note = 'z'; DELETE FROM items WHERE note = 'z'"
        )
        rig.sql("INSERT INTO parts VALUES ('x'); TRUNCATE parts; UPDATE coded SET code = 'b'")
        rig.caught_up()
    assert_whole(rig.records())
    changes = [one for one in rows_of(rig, "items") if one.value["op"] != "t"]
    assert len({one.partition for one in changes}) == 1
    assert [(one.value["op"], one.value["before"], one.value["after"]) for one in changes] == [
        ("c", None, {"note": "x"}),
        ("c", None, {"note": "y"}),
        ("u", {"note": "old"}, {"note": "z"}),
        ("u", {"note": "x"}, {"note": "z"}),
        ("u", {"note": "y"}, {"note": "z"}),
        *[("d", {"note": "z"}, None)] * 3,
    ]
    assert {one.key for one in changes} == {b""}
    assert [one.value["op"] for one in rows_of(rig, "parts")] == ["c", "t", "t", "t"]
    assert [(one.value["op"], one.row_key) for one in rows_of(rig, "coded")] == [
        ("r", {"code": "a"}), ("d", {"code": "a"}), ("c", {"code": "b"}),
    ]  # fmt: skip


def test_odd_names_have_topics_of_their_own(capture_factory: RigFactory) -> None:
    names = ['Ünï "q" 🎈', "שלום", "a.b", "a-b", "a_b", "A_b", "x" * 63]
    quoted = ['"' + name.replace('"', '""') + '"' for name in names]
    ddl = "".join(f'CREATE TABLE {name} ("İd % \'" text PRIMARY KEY, "🎈" text);' for name in quoted)
    rig = capture_factory(ddl=BEAT + ddl, tables=(*names, "beat")).init()
    with rig.start():
        rig.copied()
        for name in quoted:
            rig.sql(f"INSERT INTO {name} VALUES ('\u202eא', '😀')")
        rig.caught_up()
    for name in names:
        [one] = rows_of(rig, name)
        assert table_of(one.topic) == ("public", name)
        assert one.value["source"]["table"] == name
        assert one.row_key == {"İd % '": "\u202eא"}
    consumer = Consumer({"bootstrap.servers": rig.site.settings.kafka.bootstrap_servers, "group.id": "names"})
    listed = set(consumer.list_topics(timeout=10).topics)
    consumer.close()
    assert f"placemat.{rig.site.source}.public.a-2Eb" in listed


def test_a_name_that_is_too_long_for_a_topic_is_refused(capture_factory: RigFactory) -> None:
    name = "ש" * 31
    rig = capture_factory(
        ddl=BEAT + f'CREATE SCHEMA "{name}"; CREATE TABLE "{name}"."{name}" (id int PRIMARY KEY)', tables=("beat",)
    )
    rig.site.set(f"sources.{rig.site.source}.tables", [f"{name}.{name}", "public.beat"])
    ended = rig.site.placemat("init")
    assert (ended.code, "characters, and Kafka takes 249" in ended.err) == (1, True), ended.err
