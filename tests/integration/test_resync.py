"""After a gap `placemat resync` makes targets equal to their source again, deletes included, while people write."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from confluent_kafka import TopicPartition

from connectors.postgres.sink import PostgresSink
from daemon import broker, seams
from daemon.apply.worker import ApplyWorker
from daemon.audit.telling import LOST
from daemon.audit.verify import verify
from daemon.audit.worker import AuditWorker
from daemon.capture.provision import identify
from daemon.embedded.postgres import PostgresServer
from daemon.resync import faults
from daemon.state.engine import opened
from daemon.wiring import outbox
from schemas.outbox import decode
from schemas.position import era_of
from schemas.topics import table_topic
from tests.fix_capture import DDL, TABLES, Life, Rig, RigFactory, as_sinks_take_them, read_topics
from tests.waiting import until

ROUTED = ("items", "parts")


@dataclass(slots=True)
class Pair:
    """A captured database, and a target of two of its tables."""

    rig: Rig
    target: str
    stack: ExitStack

    def apply(self) -> Life:
        life = Life(ApplyWorker(self.rig.site.settings, "copy", PostgresSink))  # type: ignore[arg-type]
        self.stack.callback(life.stop)
        return life

    def rows(self, url: str) -> list[Any]:
        with psycopg.connect(url, autocommit=True) as connection:
            return [
                connection.execute(f"SELECT to_jsonb(t) FROM {table} t ORDER BY id".encode()).fetchall()
                for table in ROUTED
            ]

    @property
    def equal(self) -> bool:
        return self.rows(self.target) == self.rows(self.rig.url)

    def flow(self) -> None:
        """Rows flow to the target, then everything stops."""
        with self.rig.start(), self.apply():
            self.rig.copied()
            until(lambda: self.equal, 30, what="the target to be equal")
            self.rig.caught_up()
        released(self.rig)

    def resync(self, *arguments: str) -> subprocess.Popen[str]:
        return self.rig.site.spawn("resync", self.rig.site.source, "--json", *arguments)

    def repair(self, code: int = 0) -> Any:
        """Resync from its beginning to its end, while capture, apply and a writer are at work."""
        process = self.resync()
        ready = "SELECT 1 FROM placemat.gaps WHERE done_at IS NULL AND targets <> '[]'"
        until(lambda: self.rig.state(ready) or process.poll() is not None, 30, what="the target to go on from the ends")
        assert process.poll() is None, process.communicate()
        stop = threading.Event()
        writer = threading.Thread(target=self._write, args=(stop,), daemon=True)
        with self.rig.start() as capture, self.apply() as apply:
            writer.start()
            out, err = process.communicate(timeout=90)
            stop.set()
            writer.join(10)
            assert process.returncode == code, (out, err, capture.error, apply.error)
            until(lambda: self.equal, 30, what="the target to be equal")
            self.rig.caught_up()
            verified = self.rig.site.placemat("verify", "--json")
            assert verified.code == 0, verified.out + verified.err
        assert (capture.error, apply.error) == (None, None)
        return json.loads(out)

    def _write(self, stop: threading.Event) -> None:
        with psycopg.connect(self.rig.url, autocommit=True) as connection:
            while not stop.wait(0.01):
                connection.execute("UPDATE items SET version = version + 1 WHERE id = 1 + (random() * 100)::int")
                connection.execute("DELETE FROM parts WHERE id = (SELECT min(id) FROM parts WHERE id > 60)")
                connection.execute("INSERT INTO items SELECT coalesce(max(id), 0) + 1 FROM items")


@pytest.fixture
def pair(capture_factory: RigFactory, database_factory: Callable[[str], str]) -> Pair:
    rig = capture_factory(chunk_rows=40)
    rig.sql("INSERT INTO items SELECT i, 0, 'n' || i FROM generate_series(1, 200) i")
    rig.sql("INSERT INTO parts SELECT i, 1 + i % 100 FROM generate_series(1, 100) i")
    target = database_factory("target")
    with psycopg.connect(target) as connection:
        connection.execute(DDL.encode())
    tables: dict[str, Any] = {f"public.{table}": {} for table in ROUTED}
    rig.site.set("targets", {"copy": {"url": target, "source": rig.site.source, "tables": tables}})
    rig.init()
    pair = Pair(rig, target, rig.stack)
    pair.flow()
    return pair


def released(rig: Rig) -> None:
    """Wait until nothing reads the slot any more."""
    until(lambda: rig.sql("SELECT 1 FROM pg_replication_slots WHERE slot_name = %s AND NOT active", [rig.site.slot]))


def change_unseen(rig: Rig) -> None:
    """What people do while nothing captures."""
    rig.sql("UPDATE items SET note = 'unseen' WHERE id % 10 = 0")
    rig.sql("DELETE FROM parts WHERE id BETWEEN 11 AND 40")
    rig.sql("DELETE FROM items WHERE id > 150")
    rig.sql("INSERT INTO items VALUES (1000, 7, 'unseen')")
    rig.sql("INSERT INTO parts VALUES (1000, 1000, 'unseen')")


def drop_slot(pair: Pair, _other: Callable[..., PostgresServer]) -> None:
    pair.rig.sql("SELECT pg_drop_replication_slot(%s)", [pair.rig.site.slot])
    change_unseen(pair.rig)


def make_topic_anew(pair: Pair, _other: Callable[..., PostgresServer]) -> None:
    change_unseen(pair.rig)
    settings = pair.rig.site.settings
    name = table_topic(pair.rig.site.source, "public", "items")
    admin = broker.reach(settings.kafka)
    for deleted in admin.delete_topics([name]).values():
        deleted.result()
    until(lambda: not broker.describe(admin, [name]), what="the end of the topic")
    broker.ensure(admin, settings.kafka, {name: 5})


def delete_all_topics(pair: Pair, _other: Callable[..., PostgresServer]) -> None:
    """As another cluster: nothing of it is there, and its id is another."""
    change_unseen(pair.rig)
    admin = broker.reach(pair.rig.site.settings.kafka)
    names = [topic for (topic,) in pair.rig.state("SELECT topic FROM placemat.topics")]
    for deleted in admin.delete_topics(names).values():
        deleted.result()
    until(lambda: not broker.describe(admin, names), what="the end of the topics")
    pair.rig.state("UPDATE placemat.sources SET cluster_id = 'another'")


def change_server(pair: Pair, other: Callable[..., PostgresServer]) -> None:
    """The same rows but for some, on a server whose log is at an earlier place."""
    rows = pair.rows(pair.rig.url)
    server = other(settings={"fsync": "off"})
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE moved")
    pair.rig.disconnect()
    pair.rig.url = server.dsn("moved")
    pair.rig.site.set(f"sources.{pair.rig.site.source}.url", pair.rig.url)
    pair.rig.sql(DDL)
    for table, found in zip(ROUTED, rows, strict=True):
        for (row,) in found:
            pair.rig.sql(
                f"INSERT INTO {table} SELECT * FROM jsonb_populate_record(NULL::{table}, %s)", [json.dumps(row)]
            )
    change_unseen(pair.rig)


Break = Callable[[Pair, Callable[..., PostgresServer]], None]
GAPS: dict[Break, str] = {
    drop_slot: "missing",
    make_topic_anew: "made anew",
    delete_all_topics: "cluster",
    change_server: "another server",
}


@pytest.mark.parametrize("gap", GAPS, ids=lambda gap: gap.__name__)
def test_a_gap_is_repaired_deletes_included(
    pair: Pair,
    own_postgres: Callable[..., PostgresServer],
    gap: Break,
) -> None:
    gap(pair, own_postgres)
    with pair.rig.start() as stopped:
        assert stopped.ended() is not None, "a capture does not go on over a gap"
    found = pair.repair()
    assert GAPS[gap] in found["reason"]
    assert (found["done"], found["era"], found["away"]) == (True, 1, {})
    assert found["targets"]["copy"]["deleted"] >= 80
    assert found["targets"]["copy"]["left"] == 0
    assert pair.rig.state("SELECT count(*) FROM placemat.gaps WHERE done_at IS NOT NULL") == [(1,)]
    records = pair.rig.records("items")
    taken, dropped = as_sinks_take_them(records)
    assert not [one for one in dropped if era_of(one.position.timeline)], "positions rise over a gap"
    assert {era_of(one.position.timeline) for one in taken} <= {0, 1}


def test_a_parked_key_whose_row_went_away_in_the_gap_waits_no_longer(pair: Pair) -> None:
    def target(statement: str) -> list[Any]:
        with psycopg.connect(pair.target, autocommit=True) as connection:
            found = connection.execute(statement.encode())
            return found.fetchall() if found.description else []

    parked = "SELECT key::jsonb ->> 'id' FROM placemat.parked ORDER BY id"
    target("ALTER TABLE items ADD CONSTRAINT welcome CHECK (note <> 'refused')")
    with pair.rig.start(), pair.apply():
        pair.rig.sql("INSERT INTO items VALUES (2000, 0, 'refused'), (2001, 0, 'refused')")
        until(lambda: target(parked) == [("2000",), ("2001",)], what="two parked keys")
        pair.rig.caught_up()
    released(pair.rig)
    pair.rig.sql("SELECT pg_drop_replication_slot(%s)", [pair.rig.site.slot])
    pair.rig.sql("DELETE FROM items WHERE id = 2000")
    pair.rig.sql("UPDATE items SET note = 'welcome' WHERE id = 2001")
    found = pair.repair()
    assert (found["done"], found["targets"]["copy"]["settled"]) == (True, 1)
    assert target(parked) == []


@pytest.mark.long
def test_a_row_whose_key_the_source_cannot_hold_keeps_a_resync_open_and_no_other_row_in_its_place(pair: Pair) -> None:
    with psycopg.connect(pair.target, autocommit=True) as target:
        target.execute("ALTER TABLE parts ALTER id TYPE numeric")
        target.execute("INSERT INTO parts VALUES (1e30, 1)")
        drop_slot(pair, lambda: None)  # type: ignore[arg-type,return-value]
        process = pair.resync()
        until(lambda: pair.rig.state("SELECT 1 FROM placemat.gaps"), 30)
        with pair.rig.start(), pair.apply():
            out, err = process.communicate(timeout=60)
            assert (process.returncode, json.loads(out)["targets"]["copy"]["left"]) == (1, 1), err
            items = "the items, which come after the parts, to be equal"
            until(lambda: pair.rows(pair.target)[0] == pair.rows(pair.rig.url)[0], what=items)
            target.execute("DELETE FROM parts WHERE id = 1e30")
            ended = pair.rig.site.placemat("resync", pair.rig.site.source, "--json")
            assert (ended.code, ended.json["done"]) == (0, True), ended.err
            until(lambda: pair.equal, what="the target to be equal")


def test_every_reason_is_told_and_what_becomes_of_a_table_without_a_key(capture_factory: RigFactory) -> None:
    rig = capture_factory(
        ddl=DDL + "CREATE TABLE notes (note text); ALTER TABLE notes REPLICA IDENTITY FULL", tables=(*TABLES, "notes")
    ).init()
    with rig.start():
        rig.copied()
        rig.caught_up()
    publication = rig.site.settings.sources[rig.site.source].publication
    rig.state("UPDATE placemat.partitions SET timeline = 7 WHERE commit_lsn > 0")  # as if another server had published
    for statement in ("DROP TABLE items", "ADD TABLE items"):
        rig.sql(f"ALTER PUBLICATION {publication} {statement}")
    released(rig)
    rig.sql("SELECT pg_drop_replication_slot(%s)", [rig.site.slot])
    reasons = ["slot_missing", "publication_changed", "other_timeline"]
    planned = rig.site.placemat("resync", rig.site.source, "--dry-run", "--json").json
    assert (planned["gaps"], planned["without_key"]) == (reasons, ["public.notes"])
    assert "public.notes" not in planned["tables"]
    process = rig.site.spawn("resync", rig.site.source)
    until(lambda: rig.state("SELECT 1 FROM placemat.gaps") or process.poll() is not None, 30)
    with rig.start() as capture:
        out, err = process.communicate(timeout=60)
        rig.caught_up()
    assert (process.returncode, capture.error) == (0, None), err
    assert ", ".join(reasons) in out
    assert "public.notes has no key and is not copied" in out
    assert rig.state("SELECT kinds FROM placemat.gaps") == [(reasons,)]


@pytest.mark.long
@pytest.mark.parametrize(
    "seam", [seams.AFTER_NEW_SLOT, seams.AFTER_GAP_BEGUN, seams.AFTER_TARGET_SET, seams.AFTER_TABLE_ASKED]
)
def test_a_resync_that_is_killed_is_seen_through_by_another_one(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, seam: str
) -> None:
    drop_slot(pair, lambda: None)  # type: ignore[arg-type,return-value]
    monkeypatch.setenv(seams.VARIABLE, seam)
    process = pair.resync()
    monkeypatch.delenv(seams.VARIABLE)
    with ExitStack() as at_work:
        if seam == seams.AFTER_TABLE_ASKED:  # of the two tables one is without what is gone, the other is not
            until(lambda: pair.rig.state("SELECT 1 FROM placemat.gaps"), 30)
            at_work.enter_context(pair.rig.start())
            at_work.enter_context(pair.apply())
        assert (process.wait(60), process.communicate()[0]) == (-signal.SIGKILL, "")
    released(pair.rig)
    found = pair.repair()
    assert (found["done"], found["away"], found["targets"]["copy"]["left"]) == (True, {}, 0)
    assert found["gaps"]
    assert pair.rig.state("SELECT count(*) FROM placemat.gaps WHERE done_at IS NULL") == [(0,)]


class Meanwhile:
    """A connection to the source before each of whose looks at the slot a capture tells it more."""

    def __init__(self, connection: psycopg.Connection[Any], tell: Callable[[], object]) -> None:
        self._connection = connection
        self._tell = tell
        self.told = 0

    def execute(self, statement: bytes, values: Sequence[Any] = ()) -> psycopg.Cursor[Any]:
        if b"pg_replication_slots" in statement:
            self._tell()
            self.told += 1
        return self._connection.execute(statement, values)


def test_what_a_running_capture_tells_the_slot_meanwhile_is_no_fault(capture: Rig) -> None:
    def tell() -> None:
        before = capture.confirmed
        capture.sql("INSERT INTO beat DEFAULT VALUES")
        until(lambda: capture.confirmed > before, what="the slot to be told more")

    source = capture.site.settings.sources[capture.site.source]
    with opened(capture.site.state) as engine, psycopg.connect(capture.url, autocommit=True) as connection:
        row = faults.known(engine, capture.site.source)
        identity = identify(source.url.get_secret_value(), capture.site.source)
        busy = Meanwhile(connection, tell)
        with capture.start():
            capture.copied()
            admin = broker.reach(capture.site.settings.kafka)
            found = faults.find(engine, busy, admin, row, source.tables, identity)  # type: ignore[arg-type]
    assert (found, busy.told) == ([], 1)


def test_a_resync_is_refused_while_the_source_is_captured(pair: Pair) -> None:
    with pair.rig.start() as life:
        until(lambda: life.running)
        ended = pair.rig.site.placemat("resync", pair.rig.site.source)
    assert (ended.code, "being read" in ended.err) == (1, True)
    assert pair.rig.state("SELECT 1 FROM placemat.gaps") == []


def test_a_dry_run_names_the_fault_and_changes_nothing(pair: Pair) -> None:
    pair.rig.sql("SELECT pg_drop_replication_slot(%s)", [pair.rig.site.slot])
    before = pair.rig.state("SELECT * FROM placemat.sources")
    told = pair.rig.site.placemat("resync", pair.rig.site.source, "--dry-run", "--json").json
    assert ("missing" in told["reasons"][0], told["targets"]) == (True, ["copy"])
    assert pair.rig.site.placemat("resync", pair.rig.site.source, "--dry-run").code == 0
    assert pair.rig.state("SELECT * FROM placemat.sources") == before
    assert pair.rig.sql("SELECT 1 FROM pg_replication_slots WHERE slot_name = %s", [pair.rig.site.slot]) == []


def test_a_target_that_was_away_is_named_and_finished_by_running_it_again(pair: Pair) -> None:
    drop_slot(pair, lambda: None)  # type: ignore[arg-type,return-value]
    real = pair.rig.site.values["targets"]["copy"]["url"]
    pair.rig.site.set("targets.copy.url", re.sub(r":\d+/", ":1/", real))
    process = pair.resync()
    until(lambda: pair.rig.state("SELECT 1 FROM placemat.gaps"), 30)
    with pair.rig.start():
        out, err = process.communicate(timeout=60)
        pair.rig.caught_up()
    assert (process.returncode, list(json.loads(out)["away"])) == (1, ["copy"]), err
    pair.rig.site.set("targets.copy.url", real)
    with pair.rig.start(), pair.apply() as late:
        until(lambda: "waiting" in late.states, what="a worker that waits for the resync")
        ended = pair.rig.site.placemat("resync", pair.rig.site.source, "--json")
        assert (ended.code, ended.json["done"]) == (0, True), ended.err
        until(lambda: pair.equal, 30, what="the target to be equal")
    assert late.error is None
    assert pair.rig.state("SELECT count(*) FROM placemat.gaps") == [(1,)]


def test_a_target_whose_place_in_the_topics_is_gone_gets_what_it_lacks(pair: Pair) -> None:
    change_unseen(pair.rig)
    with pair.rig.start():
        pair.rig.caught_up()
    admin = broker.reach(pair.rig.site.settings.kafka)
    name = table_topic(pair.rig.site.source, "public", "items")
    ends = broker.offsets(admin, [(name, number) for number in range(3)], "latest")
    for deleted in admin.delete_records([TopicPartition(*place, end) for place, end in ends.items()]).values():
        deleted.result()
    with pair.apply() as late:
        assert "resync" in str(getattr(late.ended(), "try_", ""))
    assert pair.repair()["done"]


def relay(pair: Pair) -> None:
    """Everything that waits for the audit log is entered."""
    settings = pair.rig.site.settings
    with Life(AuditWorker(settings, "copy", lambda: outbox(settings, "copy"))) as life:  # type: ignore[arg-type]

        def entered() -> bool:
            with psycopg.connect(pair.target) as connection:
                return connection.execute("SELECT 1 FROM placemat.outbox").fetchone() is None

        until(entered, 60, what="the outbox relayed")
    assert life.error is None


@pytest.mark.parametrize("lags", [False, True])
def test_events_of_a_topic_that_was_made_anew_have_entries_of_their_own(
    pair: Pair, own_postgres: Callable[..., PostgresServer], lags: bool
) -> None:
    topic = table_topic(pair.rig.site.source, "public", "items")
    with psycopg.connect(pair.target) as connection:
        rows = [decode(text) for (text,) in connection.execute("SELECT events FROM placemat.outbox").fetchall()]
    earlier = sum(
        after - first for row in rows for one in row.partitions if one.topic == topic for first, after in one.applied
    )
    if not lags:
        relay(pair)
    make_topic_anew(pair, own_postgres)
    pair.repair()
    relay(pair)
    bootstrap = pair.rig.site.settings.kafka.bootstrap_servers
    published = sorted((one.partition, one.offset, one.key) for one in read_topics(bootstrap, [topic]))
    by_era: dict[bool, list[tuple[int, int, bytes]]] = {False: [], True: []}
    query = f"""SELECT partition, "offset", key, position FROM placemat.audit_entries WHERE topic = '{topic}'"""
    for number, offset, key, position in pair.rig.state(query):
        anew = position is not None and era_of(int(position.split(":")[0])) > 0
        by_era[anew].append((number, offset, (key or "").encode()))
    assert sorted(by_era[True]) == published
    assert len(by_era[False]) == len({one[:2] for one in by_era[False]}) == earlier > 0
    lost = pair.rig.state(f"SELECT count(*) FROM placemat.audit_entries WHERE reason = '{LOST}'")
    assert lost == [(earlier if lags else 0,)]
    report = verify(pair.rig.site.settings)
    assert report.clean, report.render()
