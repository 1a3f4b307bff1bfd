"""Paused tables: a lane of their own, what waits for them, and how they come back."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from connectors.contract import Destination, Progress, Routing
from connectors.postgres.pauses import Pause, Pauses
from connectors.postgres.sink import PostgresSink
from daemon import seams, wiring
from daemon.errors import Fenced, OperatorError
from daemon.observe.lag import TargetLag
from daemon.observe.measure import TargetMeasure
from daemon.observe.topic_log import TopicLog
from tests.asking import kept
from tests.fix_servers import Kafka
from tests.integration.apply_stream import Running, World, absent, delete, insert, move, read, running, truncate, update
from tests.waiting import until

DDL = """
CREATE TABLE parents (id int PRIMARY KEY, n int);
CREATE TABLE children (id int PRIMARY KEY, parent_id int NOT NULL REFERENCES parents);
CREATE TABLE others (id int PRIMARY KEY, n int);
CREATE TABLE log (seq bigint GENERATED ALWAYS AS IDENTITY, tab text, op text, id int, n int);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO public.log (tab, op, id, n) VALUES (TG_TABLE_NAME, TG_OP, NEW.id, (to_jsonb(NEW) ->> 'n')::int);
RETURN NULL; END $$;
CREATE TRIGGER note AFTER INSERT OR UPDATE ON parents FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER note AFTER INSERT OR UPDATE ON others FOR EACH ROW EXECUTE FUNCTION note();
"""
PARENTS, CHILDREN, OTHERS = "public.parents", "public.children", "public.others"
BATCH = 50
MEET_SECONDS = 60.0
UNFIT = (
    ("RENAME TO elsewhere", 'relation "public.others" does not exist', "ALTER TABLE elsewhere RENAME TO others"),
    ("RENAME n TO m", 'column "n" of relation "others" does not exist', "ALTER TABLE others RENAME m TO n"),
    ("ALTER n TYPE date USING NULL", 'column "n" is of type date', "ALTER TABLE others ALTER n TYPE int USING NULL"),
    ("DROP CONSTRAINT others_pkey", 'no unique key on ("id") any more', "ALTER TABLE others ADD PRIMARY KEY (id)"),
)
"""What makes a table unfit, what is said of that, and what makes it fit again."""


@pytest.fixture
def world(kafka_server: Kafka, database_factory: Callable[[str], str]) -> World:
    tables: dict[str, dict[str, Any]] = {PARENTS: {}, CHILDREN: {}, OTHERS: {}}
    return World(kafka_server, database_factory("target"), DDL, tables, batch_rows=BATCH)


def row(id_: int, n: int = 0) -> dict[str, object]:
    return {"id": id_, "n": n}


def child(id_: int, parent_id: int) -> dict[str, object]:
    return {"id": id_, "parent_id": parent_id}


def pauses(world: World) -> list[Pause]:
    return Pauses(kept(world.url), world.target, world.source).read()


def state(world: World, table: str) -> str:
    return next((one.state for one in pauses(world) if one.table == table), "running")


def ask_pause(world: World, table: str) -> None:
    with psycopg.connect(world.url, autocommit=True) as connection:
        Pauses(connection, world.target, world.source).pause(table, "Ada", "Because")


def pause(world: World, table: str) -> None:
    ask_pause(world, table)
    until(lambda: state(world, table) == "paused", what="the pause")


def ask_resume(world: World, table: str) -> None:
    with psycopg.connect(world.url, autocommit=True) as connection:
        Pauses(connection, world.target, world.source).resume(table)


def resume(world: World, table: str) -> None:
    ask_resume(world, table)
    rejoined(world, table)


def rejoined(world: World, table: str) -> None:
    until(lambda: state(world, table) == "running", what=f"{table} in the main lane again")
    assert world.rows("SELECT lane FROM placemat.lanes WHERE lane = %s", table) == []


def measured(world: World) -> TargetLag:
    with TopicLog(world.settings.kafka) as log:
        progress = wiring.progress_reader(world.settings, world.target)
        try:
            return TargetMeasure(world.settings, world.target, log, progress)()
        finally:
            progress.close()


def test_trace_16_a_paused_table_finds_every_event_when_it_is_resumed(world: World) -> None:
    with running(world):
        world.stream.transaction(insert(PARENTS, row(1)), insert(OTHERS, row(1)))
        world.applied_through()
        pause(world, PARENTS)
        for n in range(1, 31):  # the same transactions in both lanes; one record of each table in every one
            world.stream.transaction(update(PARENTS, row(1, n)), insert(OTHERS, row(1 + n)))
        world.applied_through()
        assert world.rows("SELECT n FROM parents") == [(0,)]
        assert world.rows("SELECT count(*) FROM others") == [(31,)]
        resume(world, PARENTS)
        assert world.rows("SELECT n FROM parents") == [(30,)]
        world.stream.transaction(update(PARENTS, row(1, 99)))
        world.applied_through()
        assert world.rows("SELECT n FROM parents") == [(99,)]
    counted = world.rows("SELECT tab, op, count(*) FROM log GROUP BY tab, op ORDER BY tab, op")
    assert counted == [("others", "INSERT", 31), ("parents", "INSERT", 1), ("parents", "UPDATE", counted[2][2])]
    assert world.rows("SELECT count(DISTINCT n) = count(*) FROM log WHERE tab = 'parents'") == [(True,)]


def test_a_pause_tells_who_when_why_and_since_which_commit(world: World) -> None:
    with running(world):
        commit = world.stream.transaction(insert(PARENTS, row(1)))
        world.applied_through()
        pause(world, PARENTS)
    [found] = pauses(world)
    assert (found.table, found.state, found.paused_by, found.reason) == (PARENTS, "paused", "Ada", "Because")
    assert found.commit_lsn == commit
    assert found.paused_at is not None


def test_a_table_stays_paused_when_the_worker_is_started_again(world: World) -> None:
    with running(world):
        pause(world, PARENTS)
    with running(world):
        world.stream.transaction(insert(PARENTS, row(1)), insert(OTHERS, row(1)))
        world.applied_through()
        assert world.rows("SELECT * FROM parents") == []
        resume(world, PARENTS)
    assert world.rows("SELECT id FROM parents") == [(1,)]


def test_a_pause_that_was_asked_for_while_nothing_ran_is_kept_and_can_be_taken_back(world: World) -> None:
    ask_pause(world, PARENTS)
    ask_resume(world, PARENTS)
    assert pauses(world) == []
    ask_pause(world, PARENTS)
    world.stream.transaction(insert(OTHERS, row(1)))
    with running(world):
        until(lambda: state(world, PARENTS) == "paused", what="the pause")


def test_children_that_come_while_their_parents_table_is_paused_come_when_it_is_resumed(world: World) -> None:
    with running(world):
        pause(world, PARENTS)
        world.stream.transaction(insert(PARENTS, row(1)), insert(CHILDREN, child(10, 1)), insert(OTHERS, row(1)))
        world.applied_through()
        assert [(key.table_name, key.sqlstate) for key in world.parked()] == [(CHILDREN, "23503")]
        assert world.rows("SELECT id FROM others") == [(1,)]
        resume(world, PARENTS)
        until(lambda: world.parked() == [], what="the child")
    assert world.rows("SELECT id FROM children") == [(10,)]


def test_a_parent_deleted_while_its_childrens_table_is_paused_goes_when_that_is_resumed(world: World) -> None:
    with running(world):
        world.stream.transaction(insert(PARENTS, row(1)), insert(CHILDREN, child(10, 1)))
        world.applied_through()
        pause(world, CHILDREN)
        world.stream.transaction(delete(CHILDREN, {"id": 10}), delete(PARENTS, {"id": 1}))
        world.applied_through()
        assert [(key.table_name, key.sqlstate) for key in world.parked()] == [(PARENTS, "23503")]
        resume(world, CHILDREN)
        until(lambda: world.parked() == [], what="the delete of the parent")
    assert world.rows("SELECT id FROM parents UNION ALL SELECT id FROM children") == []


def test_tables_that_refer_to_each_other_are_resumed_parents_first(world: World) -> None:
    with running(world):
        pause(world, CHILDREN)
        pause(world, PARENTS)
        for n in range(200):
            world.stream.transaction(insert(PARENTS, row(n)), insert(CHILDREN, child(n, n)))
        world.applied_through()
        ask_resume(world, CHILDREN)
        ask_resume(world, PARENTS)
        rejoined(world, PARENTS)
        rejoined(world, CHILDREN)
        until(lambda: world.parked() == [], what="every child")
    assert world.rows("SELECT count(*) FROM children") == [(200,)]


def test_every_kind_of_event_of_a_paused_table_waits_and_is_applied_in_order(world: World) -> None:
    with running(world):
        world.stream.transaction(*[insert(PARENTS, row(n)) for n in range(5)])
        world.applied_through()
        pause(world, PARENTS)
        world.stream.transaction(truncate(PARENTS), insert(OTHERS, row(1)))
        world.stream.transaction(insert(PARENTS, row(1, 1)), insert(PARENTS, row(2, 1)))
        world.stream.transaction(read(PARENTS, row(3, 1)), absent(PARENTS, {"id": 2}), kind="snapshot")
        world.stream.transaction(move(PARENTS, {"id": 1}, row(7, 2)))
        world.stream.transaction(read(PARENTS, row(9, 9)), end=False)  # what an abandoned chunk left
        world.stream.transaction(update(PARENTS, {"id": 3}, ["n"]))
        world.stream.resend()
        world.stream.transaction(insert(OTHERS, row(2)))
        world.applied_through()
        assert world.rows("SELECT count(*) FROM parents") == [(5,)]
        resume(world, PARENTS)
        assert world.rows("SELECT id, n FROM parents ORDER BY id") == [(3, 1), (7, 2)]


def test_a_paused_table_catches_up_beside_a_main_lane_that_never_rests(world: World) -> None:
    with running(world):
        pause(world, PARENTS)
        for n in range(500):
            world.stream.transaction(insert(PARENTS, row(n)), insert(OTHERS, row(n)))
        ask_resume(world, PARENTS)
        more = 500
        deadline = time.monotonic() + MEET_SECONDS
        while state(world, PARENTS) != "running":
            assert time.monotonic() < deadline, "the lanes do not meet: neither waits for the other"
            world.stream.transaction(insert(PARENTS, row(more)), insert(OTHERS, row(more)))
            more += 1
        world.applied_through()
        until(lambda: world.rows("SELECT count(*) FROM parents") == [(more,)], what="every parent")
    assert world.rows("SELECT count(*) FROM others") == [(more,)]
    assert world.rows("SELECT count(*) FROM log") == [(2 * more,)]


def test_a_transaction_of_a_paused_table_that_is_too_large_to_hold_flows_through(world: World) -> None:
    with running(world):
        pause(world, PARENTS)
        rows = [insert(PARENTS, row(n)) for n in range(20 * BATCH)]
        world.stream.transaction(*rows, *[insert(OTHERS, row(n)) for n in range(20 * BATCH)])
        world.applied_through()
        resume(world, PARENTS)
    assert world.rows("SELECT count(*), count(DISTINCT xmin::text) FROM parents")[0][0] == 20 * BATCH
    assert world.rows("SELECT tab, count(*) FROM log GROUP BY tab ORDER BY tab") == [
        ("others", 20 * BATCH),
        ("parents", 20 * BATCH),
    ]


@pytest.mark.parametrize(
    ("name", "at"),
    [
        (seams.BEFORE_TARGET_COMMIT, 2),
        (seams.AFTER_TARGET_COMMIT, 2),
        (seams.BEFORE_REJOIN, 1),
        (seams.AFTER_REJOIN, 1),
    ],
)
def test_a_worker_killed_while_a_table_catches_up_goes_on_where_it_was(
    world: World, monkeypatch: pytest.MonkeyPatch, name: str, at: int
) -> None:
    with running(world):
        pause(world, PARENTS)
    for n in range(3 * BATCH):
        world.stream.transaction(insert(PARENTS, row(n)), insert(OTHERS, row(n)))
    ask_resume(world, PARENTS)
    passed = 0

    def dies(seam: str) -> None:
        nonlocal passed
        passed += seam == name
        if passed == at:
            raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr("daemon.apply.lane.seam", dies)
        patch.setattr("daemon.apply.session.seam", dies)
        killed = Running(world.worker())
        until(lambda: not killed.alive, what="the end of the worker")
    with running(world):
        rejoined(world, PARENTS)
        world.applied_through()
    assert world.rows("SELECT tab, op, count(*) FROM log GROUP BY tab, op ORDER BY tab") == [
        ("others", "INSERT", 3 * BATCH),
        ("parents", "INSERT", 3 * BATCH),
    ]


def test_what_waits_for_a_paused_table_is_counted_apart(world: World) -> None:
    with running(world):
        pause(world, PARENTS)
        for n in range(7):
            world.stream.transaction(insert(PARENTS, row(n)), insert(OTHERS, row(n)))
        world.applied_through()
        until(lambda: measured(world).records == 0, what="no lag but that of the paused table")
        assert measured(world) == TargetLag(0, 0.0, 0, 0, "target", {PARENTS: 7})
        resume(world, PARENTS)
        until(lambda: measured(world) == TargetLag(0, 0.0, 0, 0, "target", {}), what="no lag")


def test_a_paused_table_whose_events_kafka_no_longer_holds_stays_paused_and_says_so(world: World) -> None:
    with running(world) as worker:
        world.stream.transaction(insert(PARENTS, row(1)))
        world.applied_through()
        pause(world, PARENTS)
        world.run_sql("UPDATE placemat.offsets SET next_offset = 99 WHERE topic LIKE '%parents'")
        ask_resume(world, PARENTS)
        until(lambda: any("which Kafka does not hold" in one.reason for one in pauses(world)), what="the sentence")
        world.stream.transaction(insert(OTHERS, row(1)))
        world.applied_through()
        assert worker.alive
    assert state(world, PARENTS) == "paused"


def test_a_column_that_the_target_lacks_pauses_its_table_and_no_other(world: World) -> None:
    with running(world):
        world.stream.transaction(insert(PARENTS, row(1)), insert(OTHERS, row(1)))
        world.stream.transaction(insert(PARENTS, {**row(2), "extra": 1}), insert(OTHERS, row(2)))
        world.stream.transaction(insert(PARENTS, row(3)), insert(OTHERS, row(3)))
        world.applied_through()
        [found] = pauses(world)
        assert (found.table, found.state, found.paused_by) == (PARENTS, "paused", "placemat")
        assert "has no column extra" in found.reason
        assert world.rows("SELECT id FROM parents") in ([], [(1,)])
        assert world.rows("SELECT id FROM others ORDER BY id") == [(1,), (2,), (3,)]
        ask_resume(world, PARENTS)
        until(lambda: state(world, PARENTS) == "paused", what="the table paused again")
        world.run_sql("ALTER TABLE parents ADD COLUMN extra int")
        resume(world, PARENTS)
    assert world.rows("SELECT id, extra FROM parents ORDER BY id") == [(1, None), (2, 1), (3, None)]
    assert world.rows("SELECT count(*) FROM log") == [(6,)]


def test_a_worker_that_was_replaced_neither_pauses_nor_rejoins(world: World) -> None:
    old = PostgresSink(Destination(world.target, world.url, world.source, {PARENTS: Routing(), OTHERS: Routing()}))
    old.claim()
    world.run_sql("UPDATE placemat.lanes SET epoch = epoch + 1")
    with pytest.raises(Fenced):
        old.pause(PARENTS, "a", "b")
    world.run_sql("UPDATE placemat.lanes SET epoch = epoch - 1")
    old.pause(PARENTS, "a", "b")
    old.claim()
    world.run_sql("UPDATE placemat.lanes SET epoch = epoch + 1 WHERE lane = 'main'")
    with pytest.raises(Fenced):
        old.rejoin(PARENTS)
    with pytest.raises(Fenced):
        old.commit(Progress(5, (1, 9), {}), PARENTS)
    old.close()
    assert state(world, PARENTS) == "paused"


def test_a_table_that_the_target_has_lost_is_paused_and_goes_on_when_it_is_back(world: World) -> None:
    world.run_sql("ALTER TABLE others RENAME TO elsewhere")
    with running(world):
        world.stream.transaction(insert(PARENTS, row(1)), insert(OTHERS, row(1)))
        world.applied_through()
        [found] = pauses(world)
        assert found.reason == f"Target {world.target} has no table {OTHERS}."
        world.run_sql("ALTER TABLE elsewhere RENAME TO others")
        resume(world, OTHERS)
    assert world.rows("SELECT id FROM others") == [(1,)]


def test_a_table_that_changes_under_the_worker_is_paused_while_the_others_flow(world: World) -> None:
    with running(world):
        for at, (lost, said, back) in enumerate(UNFIT):
            world.stream.transaction(insert(PARENTS, row(10 + at)), insert(OTHERS, row(10 + at)))
            world.applied_through()
            world.run_sql(f"ALTER TABLE others {lost}")
            world.stream.transaction(insert(PARENTS, row(20 + at)), insert(OTHERS, row(20 + at)))
            world.applied_through()
            [found] = pauses(world)
            assert (found.table, found.state, said in found.reason) == (OTHERS, "paused", True), found.reason
            assert (world.rows("SELECT id FROM parents WHERE id = %s", 20 + at), world.parked()) == ([(20 + at,)], [])
            world.run_sql(back)
            resume(world, OTHERS)
    assert world.rows("SELECT id FROM others ORDER BY id") == world.rows("SELECT id FROM parents ORDER BY id")


def test_a_truncate_that_rows_of_a_paused_table_forbid_pauses_its_table_too(world: World) -> None:
    with running(world) as worker:
        world.stream.transaction(insert(PARENTS, row(1)), insert(CHILDREN, child(1, 1)))
        world.applied_through()
        pause(world, CHILDREN)
        world.stream.transaction(truncate(CHILDREN, PARENTS), insert(OTHERS, row(1)))
        world.applied_through()
        assert state(world, PARENTS) == "paused"
        resume(world, CHILDREN)
        resume(world, PARENTS)
        assert worker.alive
    assert world.rows("SELECT id FROM parents UNION ALL SELECT id FROM children") == []


def test_an_error_that_concerns_no_single_table_still_stops_the_target(world: World) -> None:
    world.run_sql("DROP TABLE placemat.parked CASCADE")
    worker = Running(world.worker())
    until(lambda: not worker.alive, what="the end of the worker")
    assert isinstance(worker.failure, OperatorError)
