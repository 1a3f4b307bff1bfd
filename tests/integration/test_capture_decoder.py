"""What the decoder and the codec make of PostgreSQL's own stream."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from daemon.capture import pgoutput
from daemon.capture.catalog import read_table
from daemon.capture.codec import Codec, Head
from daemon.capture.pgoutput import UNCHANGED, Relation
from daemon.capture.values import SESSION

HEAD = Head(1, 1000, 1_700_000_000_000_000, 7)


class Stream:
    """A database whose changes are read through a slot, by SQL, as often as asked."""

    def __init__(self, url: str) -> None:
        self.slot = f"decoder_{uuid.uuid4().hex[:8]}"
        self.connection: psycopg.Connection[Any] = psycopg.connect(
            url, autocommit=True, options=f"{SESSION} -c search_path=public"
        )
        self.connection.execute("CREATE PUBLICATION everything FOR ALL TABLES")
        self.connection.execute(f"SELECT pg_create_logical_replication_slot('{self.slot}', 'pgoutput')".encode())

    def run(self, statement: str) -> None:
        self.connection.execute(statement.encode())

    def take(self) -> list[bytes]:
        """The messages since the last time."""
        rows = self.connection.execute(
            "SELECT data FROM pg_logical_slot_get_binary_changes(%s, NULL, NULL,"
            " 'proto_version', '1', 'publication_names', 'everything', 'messages', 'true')",
            [self.slot],
        )
        return [data for (data,) in rows]

    def changes(self, kind: str) -> list[bytes]:
        return [message for message in self.take() if message[:1] == kind.encode()]

    def relation(self, table: str) -> Relation:
        return read_table(self.connection, "public", table).relation


@pytest.fixture
def stream(database_factory: Callable[[str], str]) -> Iterator[Stream]:
    found = Stream(database_factory("decoder"))
    yield found
    found.connection.close()


def codec(relation: Relation, *key: str) -> Codec:
    return Codec("primary", "db", relation, key)


def test_a_transaction_is_framed_by_begin_and_commit(stream: Stream) -> None:
    stream.run("CREATE TABLE t (id int PRIMARY KEY, note text)")
    stream.run("INSERT INTO t VALUES (1, NULL)")
    begin, relation, insert, commit = stream.take()[-4:]
    [(xid, ts)] = stream.connection.execute("SELECT xmin::text::bigint, extract(epoch FROM now()) FROM t").fetchall()
    begun, ended = pgoutput.read_begin(begin), pgoutput.read_commit(commit)
    assert begun.xid == xid
    assert begun.commit_lsn == ended.commit_lsn < ended.end_lsn
    assert begun.ts_us == ended.ts_us
    assert abs(begun.ts_us / 1e6 - float(ts)) < 60
    assert pgoutput.read_relation(relation) == stream.relation("t")
    assert pgoutput.read_oid(insert) == stream.relation("t").oid
    assert pgoutput.read_insert(insert) == [b"1", None]


def test_names_in_quotes_are_names(stream: Stream) -> None:
    stream.run('CREATE TABLE "Ünï ""quoted"" table" ("the ""Key"" \\" int PRIMARY KEY, "a.b" text)')
    stream.run('INSERT INTO "Ünï ""quoted"" table" VALUES (1, \'x\')')
    messages = stream.take()
    [relation] = [pgoutput.read_relation(one) for one in messages if one[:1] == b"R"]
    assert relation.table == 'Ünï "quoted" table'
    [insert] = [pgoutput.read_insert(one) for one in messages if one[:1] == b"I"]
    record = codec(relation, 'the "Key" \\').insert(HEAD, 1, 1, 1, insert)
    assert json.loads(record.key) == {'the "Key" \\': 1}
    assert json.loads(record.value)["after"] == {'the "Key" \\': 1, "a.b": "x"}
    assert json.loads(record.value)["source"]["table"] == 'Ünï "quoted" table'


def test_the_old_row_is_as_whole_as_the_replica_identity(stream: Stream) -> None:
    stream.run("CREATE TABLE d (id int PRIMARY KEY, note text)")
    stream.run("CREATE TABLE f (id int PRIMARY KEY, note text)")
    stream.run("ALTER TABLE f REPLICA IDENTITY FULL")
    stream.run("CREATE TABLE i (id int PRIMARY KEY, other int NOT NULL UNIQUE, note text)")
    stream.run("ALTER TABLE i REPLICA IDENTITY USING INDEX i_other_key")
    stream.run("INSERT INTO d VALUES (1, 'a'); INSERT INTO f VALUES (1, 'a'); INSERT INTO i VALUES (1, 2, 'a')")
    stream.take()
    for table in "dfi":
        stream.run(f"UPDATE {table} SET note = 'b'")
    stream.run("UPDATE d SET id = 5; UPDATE i SET other = 6")
    for table in "dfi":
        stream.run(f"DELETE FROM {table}")
    messages = stream.take()
    relations = [pgoutput.read_relation(one) for one in messages if one[:1] == b"R"]
    assert {one.table: (one.identity, [c.name for c in one.columns if c.key]) for one in relations} == {
        "d": ("d", ["id"]), "f": ("f", ["id", "note"]), "i": ("i", ["other"]),
    }  # fmt: skip
    updates = [pgoutput.read_update(one) for one in messages if one[:1] == b"U"]
    assert updates == [
        ("", [], [b"1", b"b"]),
        ("O", [b"1", b"a"], [b"1", b"b"]),
        ("", [], [b"1", b"2", b"b"]),
        ("K", [b"1", None], [b"5", b"b"]),
        ("K", [None, b"2", None], [b"1", b"6", b"b"]),
    ]
    deletes = [pgoutput.read_delete(one) for one in messages if one[:1] == b"D"]
    assert deletes == [("K", [b"5", None]), ("O", [b"1", b"b"]), ("K", [None, b"6", None])]


def test_what_is_not_sent_is_absent_and_named_and_never_null(stream: Stream) -> None:
    stream.run("CREATE TABLE t (id int PRIMARY KEY, big text, note text)")
    stream.run("ALTER TABLE t ALTER big SET STORAGE EXTERNAL")
    stream.run("INSERT INTO t VALUES (1, repeat('x', 10000), NULL)")
    stream.take()
    stream.run("UPDATE t SET note = 'n'")
    [update] = [pgoutput.read_update(one) for one in stream.changes("U")]
    assert update == ("", [], [b"1", UNCHANGED, b"n"])
    record = codec(stream.relation("t"), "id").update(HEAD, 1, 1, 1, *update)[0]
    value = json.loads(record.value)
    assert (value["before"], value["after"], value["unchanged"]) == (None, {"id": 1, "note": "n"}, ["big"])


def test_under_full_what_is_not_sent_is_taken_from_the_old_row(stream: Stream) -> None:
    stream.run("CREATE TABLE t (id int PRIMARY KEY, big text, note text)")
    stream.run("ALTER TABLE t ALTER big SET STORAGE EXTERNAL; ALTER TABLE t REPLICA IDENTITY FULL")
    stream.run("INSERT INTO t VALUES (1, repeat('x', 10000), NULL)")
    stream.take()
    stream.run("UPDATE t SET note = 'n'")
    [update] = [pgoutput.read_update(one) for one in stream.changes("U")]
    assert update[2][1] is UNCHANGED
    record = codec(stream.relation("t"), "id").update(HEAD, 1, 1, 1, *update)[0]
    value = json.loads(record.value)
    assert value["after"] == {"id": 1, "big": "x" * 10_000, "note": "n"}
    assert value["before"] == {"id": 1, "big": "x" * 10_000, "note": None}
    assert "unchanged" not in value


def test_a_stored_key_that_is_not_touched_is_still_the_key(stream: Stream) -> None:
    stream.run("CREATE TABLE t (id text PRIMARY KEY, note text); ALTER TABLE t ALTER id SET STORAGE EXTERNAL")
    stream.run("INSERT INTO t SELECT string_agg(md5(i::text), ''), 'a' FROM generate_series(1, 80) i")
    stream.take()
    stream.run("UPDATE t SET note = 'b'")
    [update] = [pgoutput.read_update(one) for one in stream.changes("U")]
    record = codec(stream.relation("t"), "id").update(HEAD, 1, 1, 1, *update)[0]
    value = json.loads(record.value)
    assert (value["op"], len(value["after"]["id"]), value["after"]["note"]) == ("u", 2560, "b")


def test_a_key_change_is_two_records_that_name_each_other(stream: Stream) -> None:
    stream.run("CREATE TABLE t (a int, b text, note text, PRIMARY KEY (b, a)); INSERT INTO t VALUES (1, 'x', 'n')")
    stream.take()
    stream.run("UPDATE t SET a = 2")
    [update] = [pgoutput.read_update(one) for one in stream.changes("U")]
    records = codec(stream.relation("t"), "b", "a").update(HEAD, 1, 4, 1, *update)
    assert len(records) == 2
    gone, new = records
    assert (gone.key, new.key) == (b'{"b":"x","a":1}', b'{"b":"x","a":2}')
    old, created = json.loads(gone.value), json.loads(new.value)
    assert (old["op"], old["after"], old["moved_to"]) == ("d", None, {"b": "x", "a": 2})
    assert (created["op"], created["moved_from"], created["after"]["note"]) == ("c", {"b": "x", "a": 1}, "n")
    assert (old["source"]["ordinal"], created["source"]["ordinal"]) == (4, 5)


def test_a_truncate_names_all_its_tables(stream: Stream) -> None:
    stream.run("CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY)")
    stream.run("TRUNCATE a, b RESTART IDENTITY")
    [truncate] = [pgoutput.read_truncate(one) for one in stream.changes("T")]
    assert truncate.restart_identity
    assert not truncate.cascade
    assert set(truncate.oids) == {stream.relation("a").oid, stream.relation("b").oid}


def test_messages_come_with_prefix_and_content(stream: Stream) -> None:
    stream.run("SELECT pg_logical_emit_message(true, 'ours', 'ünï'), pg_logical_emit_message(false, 'other', '')")
    messages = {one.prefix: one for one in map(pgoutput.read_message, stream.changes("M"))}
    assert (messages["ours"].transactional, messages["ours"].content) == (True, "ünï".encode())
    assert (messages["other"].transactional, messages["other"].content) == (False, b"")


def test_a_table_of_1600_columns_is_one_row(stream: Stream) -> None:
    columns = ", ".join(f"c{number} smallint" for number in range(1599))
    stream.run(f"CREATE TABLE wide (id int PRIMARY KEY, {columns})")
    stream.run(f"INSERT INTO wide SELECT 1{', 7' * 1599}")
    messages = stream.take()
    [relation] = [pgoutput.read_relation(one) for one in messages if one[:1] == b"R"]
    [row] = [pgoutput.read_insert(one) for one in messages if one[:1] == b"I"]
    assert json.loads(codec(relation, "id").insert(HEAD, 1, 1, 1, row).value)["after"]["c1598"] == 7


def test_origin_and_type_messages_are_known(stream: Stream) -> None:
    stream.run("CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TABLE t (id int PRIMARY KEY, mood mood)")
    origin = f"origin_{uuid.uuid4().hex[:8]}"
    try:
        stream.run(f"SELECT pg_replication_origin_create('{origin}')")
        stream.run(f"SELECT pg_replication_origin_session_setup('{origin}')")
        stream.run("INSERT INTO t VALUES (1, 'ok')")
        messages = stream.take()
        assert [pgoutput.read_origin(one) for one in messages if one[:1] == b"O"] == [origin]
        assert [one for one in messages if one[:1] == b"Y"]
    finally:
        stream.run("SELECT pg_replication_origin_session_reset()")
        stream.run(f"SELECT pg_replication_origin_drop('{origin}')")
