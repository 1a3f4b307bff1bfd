"""`placemat replay` beside a live worker, over a stream made by hand."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from connectors.contract import Partition, ReplayTarget, TryAgain
from connectors.postgres.pauses import Pauses
from connectors.postgres.replay import PostgresReplay
from daemon import wiring
from daemon.errors import OperatorError
from daemon.recover import replay as replaying
from daemon.recover.replay import Task
from daemon.recover.report import ReplayReport, RowChange
from daemon.recover.window import Beginning, Commit, OneKey, Record
from schemas.topics import partition_of
from tests.fix_servers import Kafka, Postgres, drop_database
from tests.integration.apply_stream import (
    PARTITIONS,
    World,
    absent,
    delete,
    insert,
    move,
    oversize,
    running,
    truncate,
    update,
)
from tests.waiting import until

DDL = """
CREATE TABLE parents (id int PRIMARY KEY, amount numeric CONSTRAINT positive CHECK (amount >= 0), body text, doc json,
    above int REFERENCES parents);
CREATE TABLE children (id int PRIMARY KEY, parent_id int NOT NULL REFERENCES parents);
"""
PARENTS, CHILDREN = "public.parents", "public.children"


def row(id_: int, amount: Any = 1, body: str | None = "b") -> dict[str, object]:
    return {"id": id_, "amount": amount, "body": body, "doc": {"a": id_}}


@pytest.fixture(scope="module")
def applied(postgres_server: Postgres, kafka_server: Kafka) -> Iterator[World]:
    """A world with its worker at work, for all tests here."""
    name = f"replay_{uuid.uuid4().hex[:10]}"
    with psycopg.connect(postgres_server.dsn(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    world = World(
        kafka_server, postgres_server.dsn(name), DDL, {PARENTS: {}, CHILDREN: {}}, delete_guard={"enabled": False}
    )
    with running(world):
        yield world
    drop_database(postgres_server, name)


@pytest.fixture
def world(applied: World) -> World:
    """The same with empty tables."""
    send(applied, truncate(PARENTS, CHILDREN))
    return applied


def send(world: World, *changes: Any) -> int:
    commit_lsn = world.stream.transaction(*changes)
    world.applied_through()
    return commit_lsn


def run(
    world: World, *tables: str, hook: Callable[[], object] | None = None, **options: Any
) -> tuple[ReplayReport, list[RowChange]]:
    """Replay what follows the emptying of the tables; `hook` is called before the first turn."""
    changes: list[RowChange] = []
    options.setdefault("start", Commit(world.stream.commit_lsn))
    target: ReplayTarget = wiring.replay_target(world.settings, world.target)
    if hook is not None:
        assert isinstance(target, PostgresReplay)
        target = _Meddled(target, hook)
    task = Task(tables or (PARENTS, CHILDREN), **options)
    return replaying.replay(world.settings, world.target, target, task, era=0, on_change=changes.append), changes


class _Meddled:
    """A target in which something happens between the fold and the first turn."""

    def __init__(self, target: PostgresReplay, hook: Callable[[], object]) -> None:
        self._target = target
        self._hook: Callable[[], object] | None = hook

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)

    def begin(self) -> dict[Partition, int]:
        hook, self._hook = self._hook, None
        if hook is not None:
            hook()
        return self._target.begin()


def bodies(world: World) -> list[tuple[Any, ...]]:
    return world.rows("SELECT id, body FROM parents ORDER BY id")


def test_an_emptied_and_an_altered_table_come_back_and_the_dry_run_names_those_rows(world: World) -> None:
    since = send(world, *[insert(PARENTS, row(n, 1.5)) for n in range(1_000)])
    send(world, *[insert(CHILDREN, {"id": n, "parent_id": n}) for n in range(1_000)])
    before = world.rows("SELECT * FROM parents ORDER BY id"), world.rows("SELECT * FROM children ORDER BY id")
    world.run_sql("TRUNCATE children; UPDATE parents SET body = body || '!' WHERE id % 100 = 0")
    world.run_sql("UPDATE parents SET amount = 1.50 WHERE id % 7 = 0")  # the same value
    report, named = run(world, start=Commit(since), dry_run=True)
    assert (report.changes, report.left) == (1_010, 0)
    assert {(one.key, one.kind, one.fields) for one in named if one.table == PARENTS} == {
        (b'{"id":%d}' % n, "update", ("body",)) for n in range(0, 1_000, 100)
    }
    assert {one.key for one in named if one.table == CHILDREN} == {b'{"id":%d}' % n for n in range(1_000)}
    done, changed = run(world, start=Commit(since))
    assert [one.to_json() for one in done.tables] == [one.to_json() for one in report.tables]
    assert set(changed) == set(named)
    assert run(world, start=Commit(since))[0].changes == 0
    after = world.rows("SELECT * FROM parents ORDER BY id"), world.rows("SELECT * FROM children ORDER BY id")
    assert [list(map(str, table)) for table in after][1] == [list(map(str, table)) for table in before][1]
    assert [r[:1] + r[2:3] for r in after[0]] == [r[:1] + r[2:3] for r in before[0]]


def test_what_is_committed_between_fold_and_write_is_what_is_written(world: World) -> None:
    since = send(world, insert(PARENTS, row(1)), insert(PARENTS, row(2)))
    world.run_sql("UPDATE parents SET body = 'damaged'")
    report, _ = run(world, start=Commit(since), hook=lambda: send(world, update(PARENTS, row(1, body="newer"))))
    assert bodies(world) == [(1, "newer"), (2, "b")]
    assert report.changes == 1


def test_a_part_of_a_row_that_comes_between_is_laid_over_what_is_known(world: World) -> None:
    since = send(world, insert(PARENTS, row(1)))
    world.run_sql("UPDATE parents SET body = 'damaged'")
    partial = update(PARENTS, {"id": 1, "amount": 7}, ["body", "doc"])
    run(world, start=Commit(since), hook=lambda: send(world, partial))
    assert world.rows("SELECT amount, body, doc FROM parents") == [(7, "b", {"a": 1})]


def test_a_missing_row_that_is_deleted_meanwhile_does_not_rise_again(world: World) -> None:
    since = send(world, insert(PARENTS, row(1)))
    world.run_sql("DELETE FROM parents")
    report, _ = run(world, start=Commit(since), hook=lambda: send(world, delete(PARENTS, {"id": 1})))
    assert (bodies(world), report.changes) == ([], 0)


def test_of_a_part_of_a_row_only_what_is_known_is_written(world: World) -> None:
    send(world, insert(PARENTS, row(1)))
    since = send(world, update(PARENTS, {"id": 1, "amount": 5}, ["body", "doc"]))
    world.run_sql("UPDATE parents SET amount = 6, body = 'not ours to say'")
    report, [change] = run(world, start=Commit(since))
    assert (change.kind, change.fields, report.left) == ("update", ("amount",), 0)
    assert world.rows("SELECT amount, body FROM parents") == [(5, "not ours to say")]


def test_a_row_that_should_not_be_there_goes_children_first(world: World) -> None:
    since = send(world, insert(PARENTS, row(1)), insert(CHILDREN, {"id": 1, "parent_id": 1}))
    send(world, delete(CHILDREN, {"id": 1}), delete(PARENTS, {"id": 1}))
    world.run_sql("INSERT INTO parents VALUES (1); INSERT INTO children VALUES (1, 1)")
    report, changes = run(world, start=Commit(since))
    assert [(one.table, one.kind) for one in changes] == [(CHILDREN, "delete"), (PARENTS, "delete")]
    assert (bodies(world), report.left) == ([], 0)


def test_a_changed_key_is_one_row_under_its_new_key(world: World) -> None:
    since = send(world, insert(PARENTS, row(1)))
    send(world, move(PARENTS, {"id": 1}, row(2)))
    world.run_sql("UPDATE parents SET id = 1")
    run(world, start=Commit(since))
    assert bodies(world) == [(2, "b")]


def test_rows_from_before_a_truncate_go_and_those_after_it_stay(world: World) -> None:
    since = send(world, insert(PARENTS, row(1)), insert(PARENTS, row(2)))
    send(world, truncate(PARENTS, CHILDREN), insert(PARENTS, row(3)))
    world.run_sql("DELETE FROM parents; INSERT INTO parents VALUES (1), (2)")
    run(world, start=Commit(since))
    assert bodies(world) == [(3, "b")]


def test_a_parked_key_is_left_alone(world: World) -> None:
    since = send(world, insert(PARENTS, row(1, -1)), insert(PARENTS, row(2)))
    assert len(world.parked()) == 1
    world.run_sql("DELETE FROM parents")
    report, changes = run(world, start=Commit(since))
    assert [one.key for one in changes] == [b'{"id":2}']
    assert [one.parked for one in report.tables] == [1, 0]
    assert len(world.parked()) == 1


def test_a_row_too_large_to_publish_is_counted_and_never_emptied(world: World) -> None:
    since = send(world, insert(PARENTS, row(1)))
    send(world, oversize(PARENTS, {"id": 1}, 99_000_000))
    world.run_sql("DELETE FROM placemat.parked")
    report, changes = run(world, start=Commit(since))
    assert ([one.too_large for one in report.tables], changes) == ([1, 0], [])
    assert bodies(world) == [(1, "b")]
    send(world, absent(PARENTS, {"id": 1}))


def test_a_row_that_changed_after_the_end_asked_for_is_left_alone(world: World) -> None:
    since = send(world, insert(PARENTS, row(1)), insert(PARENTS, row(2)))
    send(world, update(PARENTS, row(1, body="later")))
    world.run_sql("UPDATE parents SET body = 'damaged'")
    report, _ = run(world, start=Commit(since), until=Commit(since))
    assert bodies(world) == [(1, "damaged"), (2, "b")]
    assert report.tables[0].newer == 1


def test_one_key_is_replayed_and_no_other(world: World) -> None:
    send(world, insert(PARENTS, row(1)), insert(PARENTS, row(2)))
    world.run_sql("UPDATE parents SET body = 'damaged'")
    run(world, PARENTS, start=OneKey("1"))
    assert bodies(world) == [(1, "b"), (2, "damaged")]
    run(world, PARENTS, start=OneKey('{"id": 2}'))
    assert bodies(world) == [(1, "b"), (2, "b")]
    with pytest.raises(OperatorError, match="exactly one table"):
        run(world, start=OneKey("1"))
    with pytest.raises(OperatorError, match="is no key"):
        run(world, PARENTS, start=OneKey('{"name": 2}'))


def test_an_offset_begins_with_its_commit_in_its_partition(world: World) -> None:
    send(world, insert(PARENTS, row(1)))
    send(world, update(PARENTS, row(1, body="second")))
    world.run_sql("DELETE FROM parents")
    partition = partition_of(b'{"id":1}', PARTITIONS)
    query = "SELECT next_offset FROM placemat.offsets WHERE partition = %s AND topic LIKE '%%parents'"
    ((after,),) = world.rows(query, partition)
    report, _ = run(world, PARENTS, start=Record(partition, after - 1))
    assert (report.records, bodies(world)) == (1, [(1, "second")])
    with pytest.raises(OperatorError, match="no record"):
        run(world, PARENTS, start=Record(partition, after))


def test_records_that_a_replaced_capture_appends_late_are_no_news(world: World) -> None:
    first = len(world.stream.sent)
    since = send(world, insert(PARENTS, row(1)))
    last = len(world.stream.sent)
    send(world, update(PARENTS, row(1, body="newer")))
    for late in world.stream.sent[first:last]:
        world.stream.send(*late)
    world.stream.flush()
    send(world, update(PARENTS, row(1, body="newest")), insert(PARENTS, row(2)))
    report, _ = run(world, start=Commit(since), until=Commit(world.stream.commit_lsn - 1))
    assert (report.changes, report.tables[0].newer) == (0, 1)
    report, _ = run(world, start=Commit(since))
    assert (report.changes, report.records) == (0, 4)
    assert bodies(world) == [(1, "newest"), (2, "b")]


def test_a_refused_row_is_named_and_the_others_come_back(world: World) -> None:
    since = send(world, *[insert(PARENTS, row(n)) for n in range(100)])
    world.run_sql("DELETE FROM parents; ALTER TABLE parents ADD CONSTRAINT odd CHECK (id <> 42) NOT VALID")
    try:
        report, _ = run(world, start=Commit(since))
    finally:
        world.run_sql("ALTER TABLE parents DROP CONSTRAINT odd")
    [left] = report.tables[0].left.listed
    assert (left.key, report.tables[0].inserted) == (b'{"id":42}', 99)
    assert "odd" in left.reason
    run(world, start=Commit(since))
    assert len(bodies(world)) == 100


def test_a_child_that_is_replayed_before_its_parent_is_tried_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{**row(n), "above": n + 1 if n < 9 else None} for n in range(10)]
    since = send(world, *[insert(PARENTS, one) for one in reversed(rows)])
    for one in rows:
        world.stream.transaction(update(PARENTS, one))
    world.applied_through()
    world.run_sql("DELETE FROM parents")
    monkeypatch.setattr(replaying, "CHUNK_ROWS", 1)
    report, _ = run(world, start=Commit(since + 1))
    assert (len(bodies(world)), report.left) == (10, 0)


def test_the_live_worker_waits_while_a_replay_has_its_turn(world: World) -> None:
    target = wiring.replay_target(world.settings, world.target)
    target.open()
    target.begin()
    lsn = world.stream.transaction(insert(PARENTS, row(1)))
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    until(lambda: world.rows(waiting) == [(1,)], what="the live worker at the lock")
    assert bodies(world) == []
    target.rollback()
    world.applied_through(lsn)
    target.close()


def test_a_replay_waits_for_a_live_transaction_and_says_so(world: World) -> None:
    target = wiring.replay_target(world.settings, world.target)
    target.open()
    with psycopg.connect(world.url) as live:
        live.execute("LOCK TABLE placemat.lanes IN EXCLUSIVE MODE")  # the live transaction cannot end
        world.stream.transaction(insert(PARENTS, row(1)))
        held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted"
        until(lambda: world.rows(held) == [(1,)], what="the live worker's transaction")
        with pytest.raises(TryAgain):
            target.begin()
    target.close()
    world.applied_through()


def test_a_paused_table_is_replayed_as_of_where_it_was_paused(world: World) -> None:
    since = send(world, insert(PARENTS, row(1)))
    with psycopg.connect(world.url, autocommit=True) as connection:
        pauses = Pauses(connection, world.target, world.source)
        pauses.pause(PARENTS, "Ada", "Because")
        until(lambda: [one.state for one in pauses.read()] == ["paused"], what="the pause")
        world.stream.transaction(update(PARENTS, row(1, body="waits")), insert(PARENTS, row(2)))
        world.run_sql("DELETE FROM parents")
        run(world, start=Commit(since))
        assert bodies(world) == [(1, "b")]
        pauses.resume(PARENTS)
        until(lambda: pauses.read() == [], what="the end of the pause")
    until(lambda: bodies(world) == [(1, "waits"), (2, "b")], what="what has waited")


def test_everything_is_replayed_from_the_beginning(world: World) -> None:
    send(world, insert(PARENTS, row(1)))
    world.run_sql("DELETE FROM parents")
    run(world, start=Beginning())
    assert bodies(world) == [(1, "b")]
