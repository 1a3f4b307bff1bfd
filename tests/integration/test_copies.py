"""Copies that were asked for: several at once, each with an end of its own, beside the stream."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from confluent_kafka import Producer

from daemon.capture import copier, pace
from daemon.capture.copier import Copier
from daemon.capture.reader import Reader
from daemon.state.engine import opened
from daemon.state.jobs import Order, ask
from schemas.topics import requests_topic
from tests.fix_capture import Read, Rig, RigFactory, assert_whole, replay
from tests.waiting import until

KEYS = """
CREATE TABLE pairs (a bigint, b text COLLATE "C", note text, PRIMARY KEY (b, a));
CREATE TABLE words (id text PRIMARY KEY, note text);
CREATE TABLE uuids (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), note text);
CREATE TABLE beat (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY);
"""
FAMILY = """
CREATE TABLE people (id bigint PRIMARY KEY, consent text);
CREATE TABLE stories (id bigint PRIMARY KEY, person_id bigint REFERENCES people);
CREATE TABLE media (id bigint PRIMARY KEY, story_id bigint REFERENCES stories);
CREATE TABLE beat (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY);
"""


def snapshot(rig: Rig, *arguments: str, code: int = 0) -> Any:
    ended = rig.site.placemat("snapshot", *arguments, "--json")
    assert ended.code == code, ended.err
    return ended.json


def copied_again(rig: Rig, table: str, since: int) -> list[Read]:
    return [one for one in rig.records(table) if one.value["op"] == "r" and one.position.commit_lsn > since]


def now(rig: Rig) -> int:
    [(lsn,)] = rig.sql("SELECT pg_current_wal_insert_lsn() - '0/0'")
    return int(lsn)


def test_a_table_is_copied_again_while_the_stream_goes_on(capture_factory: RigFactory) -> None:
    rig = capture_factory(chunk_rows=50)
    rig.sql("INSERT INTO items SELECT i FROM generate_series(1, 500) i")
    rig.init()
    with rig.start() as life:
        rig.copied()
        since = now(rig)
        [job] = snapshot(rig, "items", "--no-wait")["jobs"]
        rig.sql("UPDATE items SET version = 1 WHERE id % 7 = 0")
        rig.copied()
        found = copied_again(rig, "items", since)
        rig.caught_up()
        told = snapshot(rig, "items")["jobs"]
    assert life.error is None
    assert (job["state"], job["kind"], told[0]["state"], told[0]["rows"]) == ("waiting", "asked", "done", 500)
    assert {one.row_key["id"] for one in found} == set(range(1, 501))
    assert replay(rig.records("items"), "items") == rig.rows("items")
    assert_whole(rig.records())


def test_only_rows_of_a_condition_and_from_a_key_on_are_copied(capture: Rig) -> None:
    capture.sql("INSERT INTO items SELECT i, i % 2 FROM generate_series(1, 100) i")
    with capture.start():
        capture.copied()
        since = now(capture)
        snapshot(capture, "items", "--where", "version = 1 -- odd ones", "--from", "51")
        found = copied_again(capture, "items", since)
    assert sorted(one.row_key["id"] for one in found) == list(range(51, 101, 2))


REFUSED = [
    (["--where", "version ="], "--where"),
    (["--where", "version"], "--where"),
    (["--where", "other = 1"], "--where"),
    (["--where", "true; DROP TABLE items"], "--where"),
    (["--where", "true) UNION SELECT 1, 1, current_user WHERE (true"], "--where"),
    (["--where", "true) OR (true /*"], "--where"),
    (["--from", "x"], "--from"),
    (["--from", '{"id": 1, "other": 2}'], "--from"),
    (["--from", "[1, 2]"], "--from"),
    (["--source", "nobody"], "source"),
]


@pytest.mark.parametrize(("arguments", "named"), REFUSED, ids=[" ".join(words) for words, _ in REFUSED])
def test_what_the_source_does_not_take_is_refused_before_anything_is_asked(
    capture: Rig, arguments: list[str], named: str
) -> None:
    ended = capture.site.placemat("snapshot", "items", *arguments)
    assert (ended.code, ended.err.count("Error: ")) == (2, 1)
    assert named in ended.err
    assert capture.state("SELECT 1 FROM placemat.snapshots WHERE kind = 'asked'") == []
    assert capture.sql("SELECT to_regclass('items') IS NOT NULL") == [(True,)]


def test_a_dry_run_tells_the_statement_and_asks_for_nothing(capture: Rig) -> None:
    capture.sql("INSERT INTO items SELECT i FROM generate_series(1, 100) i")
    capture.sql("ANALYZE items")
    told = snapshot(capture, "items", "--dry-run", "--from", "7")
    [table] = told["tables"]
    assert (told["dry_run"], table["estimate"] > 50, table["parameters"]) == (True, True, ["7"])
    assert "FROM" in table["statement"]
    assert capture.state("SELECT 1 FROM placemat.snapshots WHERE kind = 'asked'") == []
    assert capture.site.placemat("snapshot", "items", "--dry-run").code == 0


def test_the_same_is_asked_for_once_while_it_waits(capture: Rig) -> None:
    first = snapshot(capture, "items", "parts", "--no-wait")["jobs"]
    again = snapshot(capture, "parts", "items", "--no-wait")["jobs"]
    other = snapshot(capture, "items", "--from", "3", "--no-wait")["jobs"]
    assert {job["id"] for job in first} == {job["id"] for job in again}
    assert other[0]["id"] not in {job["id"] for job in first}


def test_chunks_of_several_tables_are_on_their_way_at_once(
    capture_factory: RigFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = 0
    at_mark = Copier.at_mark

    def counted(self: Copier, number: int) -> object:
        nonlocal most
        most = max(most, len(self._chunks))
        return at_mark(self, number)

    monkeypatch.setattr(Copier, "at_mark", counted)
    rig = capture_factory(tables=("items", "beat"), chunk_rows=5, snapshot={"tables": 2})
    rig.sql("INSERT INTO items SELECT i FROM generate_series(1, 300) i")
    rig.sql("INSERT INTO beat SELECT FROM generate_series(1, 300) i")
    rig.init()
    with rig.start() as life:
        rig.copied()
        rig.caught_up()
    assert life.error is None
    assert most == 2
    assert replay(rig.records("items"), "items") == rig.rows("items")
    assert_whole(rig.records())


def test_a_table_that_cannot_be_read_fails_alone(capture_factory: RigFactory) -> None:
    ddl = "".join(f"CREATE TABLE {name} (id bigint PRIMARY KEY);" for name in ("good", "keyless", "locked"))
    beat = "CREATE TABLE beat (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY);"
    rig = capture_factory(ddl=ddl + beat, tables=("locked", "keyless", "good", "beat"), chunk_rows=10)
    for table in ("good", "locked"):
        rig.sql(f"INSERT INTO {table} SELECT generate_series(1, 100)")
    rig.init()
    rig.sql("ALTER TABLE keyless DROP CONSTRAINT keyless_pkey")
    with rig.start() as life:
        rig.copied()
        with psycopg.connect(rig.url) as locking:
            locking.execute("LOCK TABLE locked IN ACCESS EXCLUSIVE MODE")
            rig.sql("INSERT INTO good VALUES (101)")
            snapshot(rig, "good", "--where", "1 / (id - 55) > -9", code=1)
            with opened(rig.site.state) as engine:
                ask(engine, rig.site.source, "asked", [Order("public.locked")])
            assert snapshot(rig, "good")["jobs"][0]["rows"] == 101
        rig.copied()
        rig.caught_up()
    assert life.error is None
    assert rig.state("SELECT epoch FROM placemat.sources") == [(1,)], "the capture was not started again"
    ended = rig.state("SELECT table_name, rows, error FROM placemat.snapshots ORDER BY id")
    rows = [(table, rows) for table, rows, error in ended if error is None]
    assert rows == [
        ("public.locked", 100),
        ("public.good", 100),
        ("public.beat", 0),
        ("public.locked", 100),
        ("public.good", 101),
    ]
    errors = dict((table, error) for table, _, error in ended if error is not None)
    assert "primary key" in errors["public.keyless"]
    assert "cannot be read" in errors["public.good"]
    assert errors["public.keyless"] in rig.site.placemat("status").out


def test_keys_of_several_columns_of_texts_and_uuids_are_copied_whole(capture_factory: RigFactory) -> None:
    names = ("pairs", "words", "uuids", "beat")
    rig = capture_factory(ddl=KEYS, tables=names, chunk_rows=7)
    rig.sql("INSERT INTO pairs SELECT i % 5, chr(65 + i % 60) || i / 5, 'x' FROM generate_series(1, 200) i")
    rig.sql("INSERT INTO words SELECT chr(64 + i % 60) || ' é\"\\' || i FROM generate_series(1, 100) i")
    rig.sql("INSERT INTO uuids SELECT FROM generate_series(1, 100)")
    rig.init()
    with rig.start() as life:
        rig.copied()
        since = now(rig)
        [(b, a)] = rig.sql("SELECT b, a FROM pairs ORDER BY b, a OFFSET 100 LIMIT 1")
        snapshot(rig, "pairs", "--from", json.dumps({"a": a, "b": b}))
        found = copied_again(rig, "pairs", since)
    assert life.error is None
    assert len(found) == 100
    for name in names[:-1]:
        key = "a::text || b" if name == "pairs" else "id::text"
        copied = {
            str(one.row_key.get("a", "")) + str(one.row_key.get("b", one.row_key.get("id")))
            for one in rig.records(name)
        }
        assert copied == {text for (text,) in rig.sql(f"SELECT {key} FROM {name}")}, name


def test_a_copy_begins_anew_when_the_key_of_its_table_is_another_one(capture_factory: RigFactory) -> None:
    ddl = "CREATE TABLE items (id bigint PRIMARY KEY, other bigint NOT NULL);"
    beat = "CREATE TABLE beat (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY);"
    rig = capture_factory(chunk_rows=20, snapshot={"tables": 1}, ddl=ddl + beat, tables=("items", "beat"))
    rig.sql("INSERT INTO items SELECT i, 101 - i FROM generate_series(1, 100) i")
    rig.init()
    assert rig.spawn("before_progress:3").wait(30) == -9
    assert rig.state("SELECT last_key, key_columns FROM placemat.snapshots WHERE last_key IS NOT NULL") == [
        (["40"], ["id bigint"])
    ]
    snapshot(rig, "items", "--from", "90", "--no-wait")
    rig.sql("ALTER TABLE items DROP CONSTRAINT items_pkey, ADD PRIMARY KEY (other)")
    with rig.start() as life:
        rig.copied()
        found = {one.value["after"]["id"] for one in rig.records("items") if one.epoch == 2}
    assert (life.error, found) == (None, set(range(1, 101)))
    [(error,)] = rig.state("SELECT error FROM placemat.snapshots WHERE error IS NOT NULL")
    assert error.startswith(
        "The key of public.items was (id bigint) when its copy was asked for, and is (other bigint)"
    )


def test_wide_rows_are_read_by_bytes(capture: Rig) -> None:
    capture.sql("INSERT INTO items SELECT i, 0, repeat(md5(i::text), 3125) FROM generate_series(1, 50) i")
    reader = Reader(capture.url, "test")
    try:
        table = reader.table("public.items")
        found = reader.chunk(table, None, 1_000, most_bytes=350_000)
        assert (len(found.rows), found.cut) == (4, True)
        assert len(reader.chunk(table, None, 1_000, most_bytes=10**9).rows) == 50
    finally:
        reader.close()
    capture.site.set(f"sources.{capture.site.source}.snapshot.chunk_bytes", 350_000)
    with capture.start() as life:
        capture.copied()
    assert life.error is None
    [(chunks, rows)] = capture.state("SELECT chunks, rows FROM placemat.snapshots WHERE table_name = 'public.items'")
    assert (chunks, rows) == (13, 50)
    assert len([one for one in capture.records("items") if one.value["op"] == "r"]) == 50


def test_nothing_is_copied_outside_the_window_but_what_targets_wait_for(
    capture_factory: RigFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = datetime(2026, 1, 1, 2, 0, tzinfo=UTC)
    monkeypatch.setattr(pace, "utc_now", lambda: clock)
    rig = capture_factory(snapshot={"window": "22:00-05:00 Australia/Brisbane"})
    rig.sql("INSERT INTO items SELECT i FROM generate_series(1, 10) i")
    rig.init()
    with rig.start() as life:
        until(lambda: life.running)
        ask_for_table(rig, {"table": "items", "where": [{"id": 3}]})
        until(lambda: rig.state("SELECT 1 FROM placemat.snapshots WHERE kind = 'needed' AND done_at IS NOT NULL"))
        rig.caught_up()
        assert [one.row_key["id"] for one in rig.records("items")] == [3]
        clock = datetime(2026, 1, 1, 18, 59, tzinfo=UTC)
        rig.copied()
    assert life.error is None


def ask_for_table(rig: Rig, request: dict[str, Any]) -> None:
    producer = Producer({"bootstrap.servers": rig.site.settings.kafka.bootstrap_servers})
    value = {"target": "test", "schema": "public", **request}
    producer.produce(requests_topic(rig.site.source), json.dumps(value), partition=0)
    assert producer.flush(10) == 0


def test_rows_asked_of_a_locked_table_hold_up_no_other(capture_factory: RigFactory) -> None:
    ddl = "".join(f"CREATE TABLE {name} (id bigint PRIMARY KEY);" for name in ("good", "locked", "beat"))
    rig = capture_factory(ddl=ddl, tables=("locked", "good", "beat"))
    for table in ("good", "locked"):
        rig.sql(f"INSERT INTO {table} SELECT generate_series(1, 3)")
    rig.init()
    with rig.start() as life:
        rig.copied()
        since = now(rig)
        with psycopg.connect(rig.url) as locking:
            locking.execute("LOCK TABLE locked IN ACCESS EXCLUSIVE MODE")
            for number in (1, 2, 3):
                ask_for_table(rig, {"table": "locked", "key": {"id": number}})
                ask_for_table(rig, {"table": "good", "key": {"id": number}})
            until(lambda: len(copied_again(rig, "good", since)) >= 3, what="answers for the table that is not locked")
            assert copied_again(rig, "locked", since) == []
        until(lambda: len(copied_again(rig, "locked", since)) >= 3, what="answers for the table that was locked")
    assert life.error is None


def test_a_target_gets_the_rows_below_a_parent_also_when_it_asked_while_no_capture_ran(
    capture_factory: RigFactory,
) -> None:
    rig = capture_factory(ddl=FAMILY, tables=("people", "stories", "media", "beat"))
    rig.sql("INSERT INTO people VALUES (1, 'given'), (2, 'none')")
    rig.sql("INSERT INTO stories SELECT i, 1 + i % 2 FROM generate_series(1, 20) i")
    rig.sql("INSERT INTO media SELECT i, 1 + i % 20 FROM generate_series(1, 60) i")
    rig.init()
    with rig.start():
        rig.copied()
    since = now(rig)
    to_stories = {"schema": "public", "table": "stories", "columns": {"story_id": "id"}}
    to_people = {"schema": "public", "table": "people", "columns": {"person_id": "id"}}
    of_one = [{"id": 1}]
    for _ in range(2):
        ask_for_table(rig, {"table": "media", "path": [to_stories, to_people], "where": of_one})
    ask_for_table(rig, {"table": "stories", "where": [{"person_id": 1}]})
    ask_for_table(rig, {"table": "stories", "where": [{"nothing": 1}]})
    ask_for_table(rig, {"table": "stories"})
    ask_for_table(rig, {"table": "stories", "path": [to_stories]})
    with rig.start() as life:
        until(lambda: rig.state("SELECT count(*) FROM placemat.snapshots WHERE kind = 'needed'") == [(3,)])
        rig.copied()
    assert life.error is None
    whole = "SELECT place FROM placemat.snapshots WHERE kind = 'needed' AND condition IS NULL"
    assert rig.state(whole) == [(1,)], "behind their parents, should those be asked for too"
    expected = {
        row for (row,) in rig.sql("SELECT m.id FROM media m JOIN stories s ON s.id = story_id WHERE person_id = 1")
    }
    assert {one.row_key["id"] for one in copied_again(rig, "media", since)} == expected
    assert rig.state("SELECT count(*) FROM placemat.snapshots WHERE kind = 'needed'") == [(3,)]


def test_a_table_that_a_target_needs_is_copied_once_it_can_be_read(
    capture_factory: RigFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copier, "LONGEST_REFUSAL_SECONDS", 0.1)
    rig = capture_factory(chunk_rows=10)
    rig.sql("INSERT INTO items SELECT generate_series(1, 30)")
    rig.init()
    needed = "SELECT table_name, rows, waiting, error FROM placemat.snapshots WHERE kind = 'needed' AND {} ORDER BY id"
    with rig.start() as life:
        rig.copied()
        rig.sql("ALTER TABLE items DROP CONSTRAINT items_pkey CASCADE")
        ask_for_table(rig, {"table": "nowhere"})
        ask_for_table(rig, {"table": "items"})
        until(lambda: rig.state(needed.format("waiting IS NOT NULL")), what="a copy that waits")
        told = rig.site.placemat("status").out
        rig.sql("ALTER TABLE items ADD PRIMARY KEY (id)")
        until(lambda: rig.state(needed.format("rows > 0")) == [("public.items", 30, None, None)], what="the copy")
    assert life.error is None
    assert "public.items: waiting, 0 rows, for target test. public.items has no primary key" in told
    assert "After that it is copied by itself." in told
    assert "public.nowhere: failed, 0 rows, for target test. public.nowhere is not captured." in told
    assert "then: placemat snapshot public.nowhere" in told


def test_copies_of_several_tables_go_on_after_a_kill_where_each_was(capture_factory: RigFactory) -> None:
    rig = capture_factory(tables=("items", "beat"), chunk_rows=20)
    rig.sql("INSERT INTO items SELECT i FROM generate_series(1, 200) i")
    rig.sql("INSERT INTO beat SELECT FROM generate_series(1, 200) i")
    rig.init()
    with rig.start():
        rig.copied()
    since = now(rig)
    snapshot(rig, "items", "beat", "--no-wait")
    assert rig.spawn("before_progress:7").wait(60) == -9
    done = dict(rig.state("SELECT table_name, rows FROM placemat.snapshots WHERE kind = 'asked' AND done_at IS NULL"))
    assert sum(done.values()) == 6 * 20
    rig.sql("UPDATE items SET version = 1")
    with rig.start() as life:
        rig.copied()
        rig.caught_up()
    assert life.error is None
    newest = max(one.epoch for one in rig.records("items", "beat"))
    for table in ("items", "beat"):
        again = [one for one in copied_again(rig, table, since) if one.epoch == newest]
        assert len(again) == 200 - done[f"public.{table}"]
        assert len({one.key for one in copied_again(rig, table, since)}) == 200
    assert replay(rig.records("items"), "items") == rig.rows("items")


def test_rows_are_copied_no_faster_than_the_rate(capture_factory: RigFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 1_000.0
    monkeypatch.setattr(pace.Pace.__init__, "__defaults__", (None, lambda: clock))
    rig = capture_factory(chunk_rows=100, snapshot={"rows_per_second": 10})
    rig.sql("INSERT INTO items SELECT i FROM generate_series(1, 25) i")
    rig.init()
    progress = "SELECT rows FROM placemat.snapshots WHERE table_name = 'public.items'"
    with rig.start():
        for rows in (10, 20, 25):
            until(lambda rows=rows: rig.state(progress) == [(rows,)])  # type: ignore[misc]
            rig.caught_up()
            assert rig.state(progress) == [(rows,)]
            clock += 1.5
        rig.copied()
