"""The initial copy and single rows on request, beside writers: no older row ever lands over a newer one."""

from __future__ import annotations

import itertools
import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest
from confluent_kafka import Producer

from daemon.capture import copier
from daemon.capture.reader import Reader
from daemon.capture.visibility import Visibility
from daemon.embedded.postgres import PostgresServer
from schemas.topics import requests_topic
from tests.fix_capture import Read, Rig, RigFactory, assert_whole, replay
from tests.waiting import until

WRITERS = 8
ROWS = 400


@pytest.fixture
def standby_less(capture_factory: RigFactory, own_postgres: Callable[..., PostgresServer]) -> Rig:
    """A captured table on a server of its own, whose commits can be held invisible; 20 rows a chunk."""
    server = own_postgres(settings={"fsync": "off", "autovacuum": "off"})
    rig = capture_factory(postgres=server, chunk_rows=20)
    rig.sql(f"INSERT INTO items SELECT i, 0, 'n' FROM generate_series(1, {ROWS}) i")
    rig.init()
    rig.sql("SET synchronous_commit = local")
    return rig


def hold(rig: Rig) -> None:
    """From now on commits are in the log and in the stream, and nobody sees them."""
    rig.sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    rig.sql("SELECT pg_reload_conf()")
    until(lambda: rig.sql("SHOW synchronous_standby_names") == [("nobody",)])


def release(rig: Rig) -> None:
    rig.sql("ALTER SYSTEM RESET synchronous_standby_names")
    rig.sql("SELECT pg_reload_conf()")


def held(rig: Rig) -> int:
    [(count,)] = rig.sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
    return int(count)


@contextmanager
def writers(rig: Rig) -> Iterator[threading.Event]:
    """Eight sessions that count up the versions of random rows, delete some and bring them back higher."""
    stop = threading.Event()

    def write(seed: int) -> None:
        chance = random.Random(seed)
        with psycopg.connect(rig.url, autocommit=True) as connection:
            while not stop.is_set():
                key = chance.randrange(ROWS // WRITERS) * WRITERS + seed + 1
                if chance.random() < 0.1:
                    connection.execute("DELETE FROM items WHERE id = %s", [key])
                    connection.execute("INSERT INTO items VALUES (%s, nextval('versions'))", [key])
                else:
                    connection.execute("UPDATE items SET version = nextval('versions') WHERE id = %s", [key])

    rig.sql("CREATE SEQUENCE versions START 1")
    threads = [threading.Thread(target=write, args=(seed,), daemon=True) for seed in range(WRITERS)]
    for thread in threads:
        thread.start()
    try:
        yield stop
    finally:
        stop.set()
        release(rig)
        for thread in threads:
            thread.join(20)


def older_over_newer(records: list[Read]) -> list[tuple[int, int, int]]:
    """(key, newer version, older version after it): each key's versions only rise in the source."""
    highest: dict[int, int] = {}
    found = []
    for read in records:
        if read.value["after"] is None:
            continue
        key, version = read.row_key["id"], read.value["after"]["version"]
        if version < highest.get(key, 0):
            found.append((key, highest[key], version))
        highest[key] = max(version, highest.get(key, 0))
    return found


def copy_beside_writers(rig: Rig) -> list[Read]:
    """Copy the table while commits are held invisible again and again; the first ones when the stream begins."""
    not_done = "SELECT 1 FROM placemat.snapshots WHERE done_at IS NULL"
    with writers(rig) as stop:
        until(lambda: len(rig.sql("SELECT 1 FROM items WHERE version > 0")) > 20, what="the writers")
        hold(rig)
        until(lambda: held(rig) == WRITERS, what="commits that are held")
        with rig.start() as life:
            until(lambda: life.running, what="the start of the capture")
            while rig.state(not_done):
                release(rig)
                until(lambda: rig.sql("SHOW synchronous_standby_names") == [("",)])
                hold(rig)
                until(lambda: held(rig) == WRITERS, what="commits that are held")
                looks = itertools.count()
                until(lambda looks=looks: next(looks) > 10 or not rig.state(not_done))  # type: ignore[misc]
            stop.set()
            release(rig)
            until(lambda: held(rig) == 0)
            rig.caught_up()
    assert life.error is None
    return rig.records("items")


def test_no_older_row_lands_over_a_newer_one_beside_writers(standby_less: Rig) -> None:
    records = copy_beside_writers(standby_less)
    assert sum(one.value["op"] == "r" for one in records) >= ROWS * 0.9
    assert older_over_newer(records) == []
    assert replay(records, "items") == standby_less.rows("items")
    assert_whole(standby_less.records())


def test_without_the_visibility_rule_older_rows_land_over_newer_ones(
    standby_less: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Visibility, "dirty", lambda *_: lambda _: False)
    assert older_over_newer(copy_beside_writers(standby_less))


def update_that_nobody_sees(rig: Rig) -> threading.Thread:
    """A commit that waits for a standby: published, confirmed, and invisible."""

    def update() -> None:
        with psycopg.connect(rig.url, autocommit=True) as connection:
            connection.execute("UPDATE items SET version = 7 WHERE id = 1")

    thread = threading.Thread(target=update, daemon=True)
    thread.start()
    until(lambda: held(rig) == 1, what="the held commit")
    return thread


def captured_twice_around_a_held_commit(rig: Rig, *, waits: bool) -> list[Read]:
    hold(rig)
    with rig.start():
        thread = update_that_nobody_sees(rig)
        until(lambda: 7 in [one.value["after"]["version"] for one in rig.records("items")])
        rig.caught_up()
    assert rig.state("SELECT last_key FROM placemat.snapshots WHERE table_name = 'public.items'") == [(None,)]
    with rig.start() as life:
        until(lambda: life.running)
        rig.caught_up()
        if waits:
            assert [one for one in rig.records("items") if one.epoch == 2] == []
        else:
            until(lambda: [one for one in rig.records("items") if one.epoch == 2])
        release(rig)
        thread.join(20)
        rig.copied()
    assert life.error is None
    return rig.records("items")


def test_trace_01_a_copy_waits_for_what_was_streamed_before_its_start_and_is_not_seen_yet(standby_less: Rig) -> None:
    records = captured_twice_around_a_held_commit(standby_less, waits=True)
    assert older_over_newer(records) == []
    assert replay(records, "items") == standby_less.rows("items")


def test_trace_01_without_the_wait_the_older_row_lands_over_the_newer_one(
    standby_less: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Visibility, "waits_for", lambda *_: None)
    records = captured_twice_around_a_held_commit(standby_less, waits=False)
    assert older_over_newer(records) == [(1, 7, 0)]


def test_a_chunk_that_is_not_seen_yet_is_not_asked_for_without_pause(standby_less: Rig) -> None:
    hold(standby_less)
    with standby_less.start() as life:
        thread = update_that_nobody_sees(standby_less)
        until(lambda: 7 in [one.value["after"]["version"] for one in standby_less.records("items")])
        standby_less.caught_up()
        marks = len(standby_less.ends())
        started = time.monotonic()
        until(lambda: len(standby_less.ends()) >= marks + 3, what="further tries")
        assert time.monotonic() - started >= 2 * copier.RETRY_SECONDS
        release(standby_less)
        thread.join(20)
        standby_less.copied()
    assert life.error is None


def test_a_copy_goes_on_behind_the_last_finished_chunk(capture_factory: RigFactory) -> None:
    rig = capture_factory(chunk_rows=20, snapshot={"tables": 1})
    rig.sql("INSERT INTO items SELECT i FROM generate_series(1, 100) i")
    rig.init()
    assert rig.spawn("before_progress:3").wait(30) == -9
    assert rig.state("SELECT last_key, rows FROM placemat.snapshots WHERE chunks > 0") == [(["40"], 40)]
    with rig.start() as life:
        rig.copied()
    assert life.error is None
    again = [one.row_key["id"] for one in rig.records("items") if one.epoch == 2]
    assert sorted(again) == list(range(41, 101))
    assert_whole(rig.records())


def test_parents_are_copied_before_children(capture_factory: RigFactory) -> None:
    rig = capture_factory(chunk_rows=20)
    rig.sql("INSERT INTO items SELECT i FROM generate_series(1, 50) i")
    rig.sql("INSERT INTO parts SELECT i, i FROM generate_series(1, 50) i")
    rig.init()
    with rig.start():
        rig.copied()
    items, parts = rig.records("items"), rig.records("parts")
    assert max(one.position for one in items) < min(one.position for one in parts)
    assert {one.value["op"] for one in items + parts} == {"r"}
    assert {one.value["source"]["snapshot"] for one in items} == {"incremental"}


KEYS = """
CREATE TABLE items (id bigint PRIMARY KEY, version bigint NOT NULL DEFAULT 0, note text);
CREATE TABLE beat (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY);
CREATE TABLE odd (a bytea, b text, c timestamptz, d numeric, e text[], f boolean, g jsonb, note text,
                  PRIMARY KEY (g, b, a, c, d, e, f));
"""


def ask(rig: Rig, table: str, key: object) -> None:
    producer = Producer({"bootstrap.servers": rig.site.settings.kafka.bootstrap_servers})
    request = {"target": "test", "schema": "public", "table": table, "key": key}
    producer.produce(requests_topic(rig.site.source), json.dumps(request))
    assert producer.flush(10) == 0


def answers(rig: Rig, table: str, since: int) -> list[Read]:
    return [one for one in rig.records(table) if one.value["op"] == "r" and one.position.commit_lsn > since]


def answer(rig: Rig, table: str, key: object) -> Read:
    """Ask as targets do, again until it is answered."""
    [(lsn,)] = rig.sql("SELECT pg_current_wal_insert_lsn() - '0/0'")
    asked = 0.0

    def answered() -> list[Read]:
        nonlocal asked
        if time.monotonic() > asked + 1.0:
            asked = time.monotonic()
            ask(rig, table, key)
        return answers(rig, table, int(lsn))

    return until(answered, what="the answer")[0]


def test_trace_14_a_requested_row_is_answered_also_when_it_is_gone_and_also_twice(capture: Rig) -> None:
    capture.sql("INSERT INTO items VALUES (1, 5, 'here')")
    with capture.start() as life:
        capture.copied()
        for _ in range(2):
            found = answer(capture, "items", {"id": 1})
            assert found.value["after"] == {"id": 1, "version": 5, "note": "here"}
            gone = answer(capture, "items", {"id": 2})
            assert (gone.key, gone.value["after"]) == (b'{"id":2}', None)
    assert life.error is None
    assert_whole(capture.records())


def test_a_row_is_found_by_a_key_of_any_type(capture_factory: RigFactory) -> None:
    rig = capture_factory(ddl=KEYS, tables=("items", "odd", "beat"))
    rig.sql(
        r"""INSERT INTO odd VALUES ('\x00ff61', 'a "b" \\ é', '2026-01-02 03:04:05.678+10', 1.50,
           ARRAY['x', NULL, 'y,"z"'], true, '{"k": [1, 1e30]}', 'found')"""
    )
    rig.init()
    with rig.start() as life:
        rig.copied()
        [copied] = rig.records("odd")
        found = answer(rig, "odd", copied.row_key)
        assert (found.key, found.value["after"]) == (copied.key, copied.value["after"])
        rig.caught_up()
        assert {one.key for one in rig.records("odd")} == {copied.key}
    assert life.error is None


def test_a_row_answers_every_writing_of_its_key_and_none_of_them_is_absent(capture_factory: RigFactory) -> None:
    ddl = "CREATE TABLE items (id numeric PRIMARY KEY);"
    beat = "CREATE TABLE beat (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY);"
    rig = capture_factory(ddl=ddl + beat, tables=("items", "beat"))
    rig.sql("INSERT INTO items VALUES (1.00), (2)")
    rig.init()
    with rig.start() as life:
        rig.copied()
        for asked in ({"id": "1.0"}, {"id": "1.00"}, {"id": "2.000"}, {"id": "2"}, {"id": "3"}):
            ask(rig, "items", asked)
        answer(rig, "items", {"id": "4"})
        rig.caught_up()
        found = {(one.key, one.value["after"] is None) for one in rig.records("items")}
    assert life.error is None
    gone = {(b'{"id":"3"}', True), (b'{"id":"4"}', True)}
    assert found == {(b'{"id":"1.00"}', False), (b'{"id":"2"}', False), *gone}


NO_KEYS = [
    ("nowhere", {"id": 1}),
    ("items", {"other": 1}),
    ("items", {"id": "x"}),
    ("items", {"id": [1]}),
    ("items", {}),
    ("items", {"id": None}),
]


def test_requests_that_make_no_sense_stop_nothing(capture: Rig) -> None:
    capture.sql("INSERT INTO items VALUES (1, 5, 'here')")
    with capture.start() as life:
        capture.copied()
        answer(capture, "items", {"id": 1})
        for table, key in NO_KEYS:
            ask(capture, table, key)
        assert answer(capture, "items", {"id": 1}).value["after"]["version"] == 5
    assert life.error is None
    assert {one.key for one in capture.records("items")} == {b'{"id":1}'}


def test_more_keys_than_one_statement_takes_are_read_in_one_snapshot(capture_factory: RigFactory) -> None:
    ddl = "CREATE TABLE pairs (a bigint, b bigint, PRIMARY KEY (a, b));"
    beat = "CREATE TABLE beat (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY);"
    rig = capture_factory(ddl=ddl + beat, tables=("pairs", "beat"))
    rig.sql("INSERT INTO pairs SELECT i, i FROM generate_series(1, 10000) i")
    reader = Reader(rig.url, rig.site.source)
    try:
        found = reader.keys(reader.table("public.pairs"), [[str(i), str(i)] for i in range(1, 10_011)])
        assert len(found.rows) == 10_000
    finally:
        reader.close()


def test_the_newest_commit_that_nobody_sees_yet_is_known_as_unfinished(standby_less: Rig) -> None:
    hold(standby_less)
    thread = update_that_nobody_sees(standby_less)
    reader = Reader(standby_less.url, "test")
    try:
        assert len(reader.unfinished()) == 1
        release(standby_less)
        thread.join(20)
        assert reader.unfinished() == frozenset()
    finally:
        reader.close()


def test_a_table_that_is_rewritten_while_a_chunk_is_read_does_not_look_empty(capture: Rig) -> None:
    capture.sql("INSERT INTO items SELECT i FROM generate_series(1, 100) i")
    reader = Reader(capture.url, "test")
    table = reader.table("public.items")
    with psycopg.connect(capture.url) as writer:
        writer.execute("LOCK TABLE items IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            reader.chunk(table, None, 1_000)
        writer.execute("ALTER TABLE items ALTER version TYPE numeric")
    assert len(reader.chunk(table, None, 1_000).rows) == 100
    reader.close()


def test_a_chunk_that_the_server_thinks_about_keeps_no_other_thread_from_running(capture: Rig) -> None:
    """Statuses go out meanwhile; held up, the whole process would look dead. The time-out is for that case."""
    capture.sql("INSERT INTO items VALUES (1)")
    capture.sql(f"ALTER DATABASE {capture.url.rpartition('/')[2]} SET statement_timeout = '5s'")
    reader = Reader(capture.url, "test")
    table = reader.table("public.items")
    waiting = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711 AND NOT granted"
    condition = "pg_advisory_xact_lock_shared(4711) IS NOT NULL"
    capture.sql("SELECT pg_advisory_lock(4711)")
    with ThreadPoolExecutor(1) as threads:
        chunk = threads.submit(reader.chunk, table, None, 10, condition=condition)
        until(lambda: capture.sql(waiting), 4, what="a SELECT that waits")
        capture.sql("SELECT pg_advisory_unlock(4711)")
        assert len(chunk.result(10).rows) == 1
    reader.close()
