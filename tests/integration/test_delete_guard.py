"""Deletes beyond what a target may lose unasked: held before one reaches it, and answered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from connectors.postgres import conditions
from connectors.postgres.answers import Answers, HeldDeletes
from connectors.postgres.holds import Answer
from connectors.postgres.pauses import Pauses
from daemon.routes import routings
from tests.asking import kept
from tests.fix_servers import Kafka
from tests.integration.apply_stream import World, absent, delete, insert, move, running, truncate, update
from tests.waiting import until

DDL = """
CREATE TABLE parents (id int PRIMARY KEY, n int);
CREATE TABLE children (id int PRIMARY KEY, parent_id int NOT NULL REFERENCES parents);
CREATE TABLE log (seq bigint GENERATED ALWAYS AS IDENTITY, id int);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO public.log (id) VALUES (OLD.id); RETURN NULL; END $$;
CREATE TRIGGER note AFTER DELETE ON parents FOR EACH ROW EXECUTE FUNCTION note();
"""
PARENTS, CHILDREN = "public.parents", "public.children"
GUARD = {"share": 0.2, "least": 5}
MANY = 40

OF_PARENT = {"where": "parent.n = 0", "parents": {"parent": PARENTS}}

Open = Callable[..., World]


@pytest.fixture
def opened(kafka_server: Kafka, database_factory: Callable[[str], str]) -> Open:
    def make(guard: dict[str, Any] | None = None, ddl: str = DDL, **options: Any) -> World:
        tables: dict[str, dict[str, Any]] = options.pop("tables", {PARENTS: {}, CHILDREN: {}})
        guard = GUARD if guard is None else guard
        return World(kafka_server, database_factory("target"), ddl, tables, delete_guard=guard, **options)

    return make


@pytest.fixture
def world(opened: Open) -> World:
    return opened()


def with_conditions(world: World) -> World:
    """What `placemat init` tells the target of the columns that conditions name."""
    with psycopg.connect(world.url) as source, psycopg.connect(world.url) as target:
        conditions.remember(source, target, world.source, routings(world.settings, world.target))
    return world


def row(id_: int, n: int = 0) -> dict[str, object]:
    return {"id": id_, "n": n}


def child(id_: int, parent_id: int) -> dict[str, object]:
    return {"id": id_, "parent_id": parent_id}


def filled(world: World, many: int = MANY, children: int = 0) -> None:
    world.stream.transaction(
        *(insert(PARENTS, row(id_)) for id_ in range(many)),
        *(insert(CHILDREN, child(id_, id_)) for id_ in range(children)),
    )
    world.applied_through()


def gone(*ids: int) -> list[Any]:
    return [delete(PARENTS, {"id": id_}) for id_ in ids]


def answers(world: World) -> Answers:
    return Answers(kept(world.url), world.target, world.source)


def held(world: World) -> HeldDeletes:
    return until(lambda: answers(world).held(), what="a hold")[0]


def answer(world: World, verdict: Answer) -> None:
    assert answers(world).answer(held(world), verdict, "Ada", "Because")


def ids(world: World, table: str = "parents") -> list[int]:
    return [id_ for (id_,) in world.rows(f"SELECT id FROM {table} ORDER BY id")]


def rejected(world: World) -> dict[str, list[str]]:
    rows = world.rows("SELECT table_name, array_agg(key ORDER BY key) FROM placemat.rejected GROUP BY table_name")
    return dict(rows)


def test_a_delete_of_everything_does_not_reach_the_target_before_it_is_confirmed(world: World) -> None:
    with running(world) as worker:
        filled(world)
        before = world.stream.transaction(update(PARENTS, row(1, 7)))
        commit = world.stream.transaction(*gone(*range(MANY)))
        found = held(world)
        after = world.stream.transaction(insert(PARENTS, row(100)))
        assert (found.first, found.through, found.answer) == ((1, commit), (1, commit), None)
        [excess] = found.excesses
        assert (excess.table, excess.deletes, excess.rows, excess.share) == (PARENTS, MANY, MANY, 1.0)
        assert all('"id"' in key for key in excess.sample)
        world.applied_through(before)
        until(lambda: worker.states[-1] == "waiting", what="the worker to tell that it waits")
        assert (ids(world), world.rows("SELECT n FROM parents WHERE id = 1")) == (list(range(MANY)), [(7,)])
        answer(world, "confirmed")
        world.applied_through(after)
        assert ids(world) == [100]
        until(lambda: worker.states[-1] == "running", what="the worker to tell that it goes on")
    assert (answers(world).held(), answers(world).rejected()) == ([], [])
    assert world.rows("SELECT count(*) FROM log") == [(MANY,)]


def test_below_the_limit_nothing_is_asked(world: World) -> None:
    with running(world):
        filled(world)
        world.stream.transaction(*gone(*range(8)))
        world.applied_through()
    assert (len(ids(world)), answers(world).held()) == (MANY - 8, [])


def test_few_rows_are_never_asked_about(world: World) -> None:
    with running(world):
        filled(world, 4)
        world.stream.transaction(*gone(*range(4)))
        world.applied_through()
    assert ids(world) == []


def test_a_guard_that_is_switched_off_asks_about_nothing(opened: Open) -> None:
    world = opened({"enabled": False})
    with running(world):
        filled(world, 200)
        world.stream.transaction(*gone(*range(200)))
        world.applied_through()
    assert ids(world) == []


def test_deletes_of_an_hour_count_together_over_transactions_and_restarts(world: World) -> None:
    with running(world):
        filled(world)
        for id_ in range(8):
            world.stream.transaction(*gone(id_))
            world.applied_through()
    with running(world):
        commit = world.stream.transaction(*gone(8))
        found = held(world)
        assert (found.first, [(one.deletes, one.before, one.rows) for one in found.excesses]) == (
            (1, commit),
            [(1, 8, MANY)],
        )
        assert len(ids(world)) == MANY - 8
        world.rows("UPDATE placemat.deletes SET minute = minute - interval '61 minutes' RETURNING 1")
        answer(world, "confirmed")
        world.applied_through()
        for id_ in range(9, 14):  # 1 + 5 of 31: what was confirmed, and what was earlier than an hour, counts no more
            world.stream.transaction(*gone(id_))
        world.applied_through()
    assert ids(world) == list(range(14, MANY))


def test_a_truncate_counts_as_all_rows(world: World) -> None:
    with running(world):
        filled(world, children=10)
        world.stream.transaction(truncate(CHILDREN, PARENTS))
        assert sorted((one.table, one.deletes) for one in held(world).excesses) == [(CHILDREN, 10), (PARENTS, MANY)]
        assert (len(ids(world)), len(ids(world, "children"))) == (MANY, 10)
        answer(world, "rejected")
        world.applied_through()
        assert (len(ids(world)), len(ids(world, "children"))) == (MANY, 10)
        assert rejected(world) == {CHILDREN: [""], PARENTS: [""]}


def test_a_transaction_that_flows_in_parts_is_held_whole(opened: Open) -> None:
    world = opened(batch_rows=50)
    with running(world):
        filled(world, 3_000)
        commit = world.stream.transaction(
            update(PARENTS, row(2_999, 7)), *gone(*range(2_900)), update(PARENTS, row(2_999, 8))
        )
        found = held(world)
        assert (found.through, found.excesses[0].deletes, found.excesses[0].rows) == ((1, commit), 2_900, 3_000)
        assert world.rows("SELECT count(*), sum(n) FROM parents") == [(3_000, 0)]
        answer(world, "rejected")
        world.applied_through(seconds=60)
    assert world.rows("SELECT count(*), sum(n) FROM parents") == [(3_000, 8)]
    assert len(rejected(world)[PARENTS]) == 2_900


def test_a_hold_outlives_the_worker(world: World) -> None:
    with running(world):
        filled(world)
        world.stream.transaction(*gone(*range(MANY)))
        first = held(world)
    with running(world, "two") as worker:
        until(lambda: worker.states and worker.states[-1] == "waiting", what="the next worker to wait")
        assert "running" not in worker.states
        assert held(world) == first
    answer(world, "confirmed")
    with running(world, "three"):
        world.applied_through()
    assert ids(world) == []


def test_only_deletes_of_the_held_commits_are_rejected(world: World) -> None:
    with running(world):
        filled(world, children=3)
        world.stream.transaction(
            update(PARENTS, row(20, 5)), *(delete(CHILDREN, {"id": id_}) for id_ in range(3)), *gone(*range(30))
        )
        held(world)
        later = world.stream.transaction(*gone(30, 31), insert(PARENTS, row(5, 9)))
        again = world.stream.transaction(*gone(5))
        answer(world, "rejected")
        world.applied_through(later)
        world.applied_through(again)
    assert ids(world) == [*range(5), *range(6, 30), *range(32, MANY)]
    assert ids(world, "children") == [0, 1, 2]
    assert world.rows("SELECT n FROM parents WHERE id = 20") == [(5,)], "what came before the deletes has come"
    assert {table: len(keys) for table, keys in rejected(world).items()} == {PARENTS: 30, CHILDREN: 3}


def test_an_answer_does_not_reach_behind_what_was_shown(world: World) -> None:
    with running(world):
        filled(world)
        first = world.stream.transaction(*gone(*range(20)))
        assert held(world).through == (1, first)
        second = world.stream.transaction(*gone(*range(20, MANY)))
        answer(world, "confirmed")
        until(lambda: (found := answers(world).held()) and found[0].first == (1, second), what="the next hold")
        assert ids(world) == list(range(20, MANY))


def test_a_changed_key_is_no_delete(world: World) -> None:
    with running(world):
        filled(world)
        world.stream.transaction(*(move(PARENTS, {"id": id_}, row(id_ + 100)) for id_ in range(MANY)))
        world.applied_through()
    assert ids(world) == list(range(100, 100 + MANY))


def test_what_an_operator_has_asked_for_is_not_asked_about(world: World) -> None:
    with running(world):
        filled(world)
        world.stream.transaction(*(absent(PARENTS, {"id": id_}) for id_ in range(MANY)))
        world.applied_through()
    assert ids(world) == []


def test_rows_that_pass_a_condition_no_more_are_deletes(opened: Open) -> None:
    world = with_conditions(opened(tables={PARENTS: {"where": "n = 0"}}))
    with running(world):
        filled(world)
        world.stream.transaction(*(update(PARENTS, row(id_, 1)) for id_ in range(20)))
        assert held(world).excesses[0].deletes == 20
        assert len(ids(world)) == MANY
        answer(world, "confirmed")
        world.applied_through()
    assert ids(world) == list(range(20, MANY))


def test_rows_that_leave_because_of_a_parent_are_deletes_and_stay_when_they_are_rejected(opened: Open) -> None:
    world = with_conditions(opened(tables={PARENTS: {}, CHILDREN: OF_PARENT}))
    with running(world):
        filled(world, 2)
        world.stream.transaction(*(insert(CHILDREN, child(id_, id_ % 2)) for id_ in range(MANY)))
        world.applied_through()
        world.stream.transaction(update(PARENTS, row(0, 1)))
        assert [(one.table, one.deletes) for one in held(world).excesses] == [(CHILDREN, MANY // 2)]
        assert len(ids(world, "children")) == MANY
        answer(world, "rejected")
        world.applied_through()
        assert (len(ids(world, "children")), len(rejected(world)[CHILDREN])) == (MANY, MANY // 2)
        world.stream.transaction(update(PARENTS, row(0, 0)), *(update(CHILDREN, child(id_, 1)) for id_ in (0, 2)))
        world.applied_through()
    assert len(ids(world, "children")) == MANY


def test_what_a_table_would_lose_as_it_comes_back_is_held_too(opened: Open) -> None:
    world = with_conditions(opened(tables={PARENTS: {}, CHILDREN: OF_PARENT}))
    with running(world):
        filled(world, 2)
        world.stream.transaction(*(insert(CHILDREN, child(id_, id_ % 2)) for id_ in range(MANY)))
        world.applied_through()
        pauses = Pauses(kept(world.url), world.target, world.source)
        pauses.pause(CHILDREN, "Ada", "Because")
        until(lambda: pauses.read()[0].state == "paused", what="the pause")
        world.stream.transaction(update(PARENTS, row(0, 1)))
        world.applied_through()
        pauses.resume(CHILDREN)
        found = held(world)
        assert (found.table, found.through, found.excesses[0].deletes) == (CHILDREN, None, MANY // 2)
        world.stream.transaction(update(PARENTS, row(1, 0)))
        world.applied_through()
        assert len(ids(world, "children")) == MANY
        answer(world, "confirmed")
        until(lambda: not pauses.read(), what="the table to come back")
        assert ids(world, "children") == list(range(1, MANY, 2))
        assert answers(world).held() == []


def test_deletes_that_the_target_refuses_for_now_are_asked_about_when_they_come(world: World) -> None:
    with running(world):
        filled(world, children=MANY)
        pauses = Pauses(kept(world.url), world.target, world.source)
        pauses.pause(CHILDREN, "Ada", "Because")
        until(lambda: pauses.read()[0].state == "paused", what="the pause")
        world.stream.transaction(*(delete(CHILDREN, {"id": id_}) for id_ in range(MANY)), *gone(*range(MANY)))
        assert [(one.table, one.deletes) for one in held(world).excesses] == [(PARENTS, MANY)]
        assert (len(ids(world)), world.parked()) == (MANY, [])


def test_switching_the_guard_off_lets_go_of_what_nobody_has_answered(opened: Open) -> None:
    world = opened()
    with running(world):
        filled(world)
        world.stream.transaction(*gone(*range(MANY)))
        held(world)
    target = world.settings.targets[world.target]
    off = target.model_copy(update={"delete_guard": target.delete_guard.model_copy(update={"enabled": False})})
    world.settings = world.settings.model_copy(update={"targets": {world.target: off}})
    with running(world):
        world.applied_through()
    assert (ids(world), answers(world).held()) == ([], [])


def test_an_answer_is_for_what_was_shown(world: World) -> None:
    with running(world):
        filled(world)
        world.stream.transaction(*gone(*range(MANY)))
        shown = held(world)
    with psycopg.connect(world.url, autocommit=True) as connection:
        connection.execute("UPDATE placemat.holds SET held_at = held_at + interval '1 s'")
    assert not answers(world).answer(shown, "confirmed", "Ada", "")
    assert held(world).answer is None
