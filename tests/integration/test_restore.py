"""`placemat restore` of a database beside a stream made by hand: the topics tell what was, SQL makes what is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import psycopg
import pytest
from pydantic import SecretStr

from connectors.restoring import RestoreTarget
from daemon import wiring
from daemon.errors import OperatorError
from daemon.history import restore as restoring
from daemon.history.reading import Question
from daemon.history.restore import Task
from daemon.history.restore_report import RestoreReport, RowRestored
from daemon.recover.window import Commit
from tests.fix_servers import Kafka
from tests.integration.apply_stream import World, delete, insert, move, oversize, truncate, update
from tests.integration.past_stream import cut, past_world

PARENTS, CHILDREN = "public.parents", "public.children"
DDL = """
CREATE TABLE parents (id int PRIMARY KEY, n numeric CONSTRAINT positive CHECK (n >= 0), body text, doc json,
    touched timestamptz, above int REFERENCES parents, slug text UNIQUE);
CREATE TABLE children (id int PRIMARY KEY, parent_id int NOT NULL REFERENCES parents ON DELETE CASCADE);
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.touched := now(); RETURN NEW; END $$;
CREATE TRIGGER touch BEFORE UPDATE ON parents FOR EACH ROW EXECUTE FUNCTION touch();
"""
THEN = "2024-01-01T00:00:00Z"


@pytest.fixture
def world(kafka_server: Kafka, database_factory: Callable[[str], str]) -> World:
    """A source whose database is to be restored; `touched` is kept by its trigger, and so local in the route."""
    found = past_world(kafka_server, database_factory("restore"), DDL, PARENTS, CHILDREN)
    source = found.settings.sources[found.source].model_copy(update={"restore_url": SecretStr(found.url)})
    tables = found.settings.targets[found.target].tables
    tables[PARENTS] = tables[PARENTS].model_copy(update={"local": ("touched",)})
    found.settings.sources[found.source] = source
    return found


def row(id_: int, n: Any = 1, body: str | None = "b", **more: Any) -> dict[str, Any]:
    other = {"doc": {"a": id_}, "touched": THEN, "above": None, "slug": f"s{id_}", **more}
    return {"id": id_, "n": n, "body": body, **other}


def send(world: World, *changes: Any) -> int:
    """A transaction; nothing captures the database, so what it holds is made by SQL."""
    return world.stream.transaction(*changes)


def fill(world: World, *rows: dict[str, Any]) -> int:
    """Rows that are in the database, and in the topics."""
    with psycopg.connect(world.url, autocommit=True) as connection:
        for one in rows:
            connection.execute(
                "INSERT INTO parents VALUES (%s, %s, %s, %s, %s, %s, %s)",
                [one["id"], one["n"], one["body"], f'{{"a":{one["id"]}}}', one["touched"], one["above"], one["slug"]],
            )
    return send(world, *[insert(PARENTS, one) for one in rows])


def restore(
    world: World, at: int, *tables: str, target: RestoreTarget | None = None, until: int | None = None,
    keys: tuple[str, ...] = (), **options: Any,
) -> tuple[RestoreReport, list[RowRestored]]:  # fmt: skip
    changes: list[RowRestored] = []
    end = Commit(until) if until is not None else None
    task = Task(Question(world.source, tables or (PARENTS,), Commit(at), end, keys), "then", "ann", **options)
    chosen = target or wiring.restore_target(world.settings, task)
    return restoring.restore(world.settings, 0, task, chosen, on_row=changes.append), changes


def _key(one: RowRestored) -> bytes:
    return one.wrong.key


def bodies(world: World) -> dict[int, str | None]:
    return dict(world.rows("SELECT id, body FROM parents ORDER BY id"))


def test_a_wrong_update_is_taken_back_and_the_dry_run_names_rows_and_fields(world: World) -> None:
    at = fill(world, *[row(n, 1.5) for n in range(300)])
    world.run_sql("UPDATE parents SET body = 'wrong', n = 2 WHERE id % 3 = 0")
    send(world, *[update(PARENTS, row(n, 2, "wrong")) for n in range(0, 300, 3)])
    world.run_sql("UPDATE parents SET n = 1.50 WHERE id = 1")  # the same value
    dry, named = restore(world, at, dry_run=True)
    assert (dry.changes, dry.left, set(bodies(world).values())) == (100, 0, {"b", "wrong"})
    assert {one.wrong.kind for one in named} == {"update"}
    assert {(name, *texts) for one in named for name, texts in one.wrong.fields.items()} == {
        ("body", "wrong", "b"), ("n", "2", "1.5"),
    }  # fmt: skip
    done, changed = restore(world, at)
    assert [one.to_json() for one in done.tables] == [one.to_json() for one in dry.tables]
    assert sorted(changed, key=_key) == sorted(named, key=_key)
    assert set(bodies(world).values()) == {"b"}
    assert restore(world, at)[0].changes == 0


def test_with_an_end_newer_edits_stay_also_those_of_rows_that_were_wrong(world: World) -> None:
    at = fill(world, *[row(n) for n in range(5)])
    until = send(world, *[update(PARENTS, row(n, body="wrong")) for n in (0, 1, 2)])
    send(world, update(PARENTS, row(2, body="since corrected")), update(PARENTS, row(3, body="a newer edit")))
    world.run_sql(
        "UPDATE parents SET body = 'wrong' WHERE id < 2; UPDATE parents SET body = 'newer' WHERE id IN (2, 3)"
    )
    report, changed = restore(world, at, until=until)
    assert {one.wrong.key for one in changed} == {b'{"id":0}', b'{"id":1}'}
    assert bodies(world) == {0: "b", 1: "b", 2: "newer", 3: "newer", 4: "b"}
    assert [one.key for one in report.tables[0].beyond.listed] == [b'{"id":2}']
    assert (report.left, report.complete) == (0, True)


def test_deleted_rows_come_back_with_their_children_parents_first(world: World) -> None:
    fill(world, row(1, above=None), row(2, above=1), row(3, above=2))
    world.run_sql("INSERT INTO children SELECT n, 2 FROM generate_series(1, 50) n")
    at = send(world, *[insert(CHILDREN, {"id": n, "parent_id": 2}) for n in range(1, 51)])
    world.run_sql("DELETE FROM parents WHERE id > 1")
    send(world, *[delete(CHILDREN, {"id": n}) for n in range(1, 51)], *[delete(PARENTS, {"id": n}) for n in (3, 2)])
    report, _ = restore(world, at, CHILDREN, PARENTS)
    assert [(one.table, one.inserted) for one in report.tables] == [(PARENTS, 2), (CHILDREN, 50)]
    assert world.rows("SELECT id, above, touched::date::text, doc->>'a' FROM parents ORDER BY id") == [
        (1, None, "2024-01-01", "1"), (2, 1, "2024-01-01", "2"), (3, 2, "2024-01-01", "3"),
    ]  # fmt: skip
    assert world.rows("SELECT count(*) FROM children") == [(50,)]


def test_a_child_without_its_parent_is_named_and_left(world: World) -> None:
    fill(world, row(1))
    at = send(world, insert(CHILDREN, {"id": 1, "parent_id": 1}))
    world.run_sql("DELETE FROM parents")
    report, _ = restore(world, at, CHILDREN)
    [left] = report.tables[0].left.listed
    assert (left.key, "foreign key" in left.reason) == (b'{"id":1}', True)


def test_an_emptied_table_comes_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restoring, "CHUNK_ROWS", 3)
    at = fill(world, *[row(n, above=n - 1 if n else None) for n in range(20)])
    world.run_sql("TRUNCATE parents CASCADE")
    send(world, truncate(PARENTS, CHILDREN))
    report, _ = restore(world, at)
    assert (report.changes, report.left, len(bodies(world))) == (20, 0, 20)


def test_rows_that_were_made_since_stay_unless_they_are_to_go(world: World) -> None:
    at = fill(world, row(1))
    fill(world, row(2), row(3, above=2))
    report, _ = restore(world, at)
    assert ({one.key for one in report.tables[0].newer.listed}, report.changes) == ({b'{"id":2}', b'{"id":3}'}, 0)
    report, changed = restore(world, at, delete_newer=True)
    assert ({one.wrong.kind for one in changed}, list(bodies(world))) == ({"delete"}, [1])


def test_only_rows_that_had_a_value_or_a_key_and_only_some_columns(world: World) -> None:
    at = fill(world, row(1, 1), row(2, 2), row(3, 3), row(4, 4))
    world.run_sql("UPDATE parents SET body = 'wrong', n = 9")
    restore(world, at, where={PARENTS: [("n", "2.0")]})
    assert bodies(world) == {1: "wrong", 2: "b", 3: "wrong", 4: "wrong"}
    restore(world, at, keys=("3",))
    assert bodies(world) == {1: "wrong", 2: "b", 3: "b", 4: "wrong"}
    restore(world, at, columns=frozenset({"n"}))
    assert world.rows("SELECT id, n::int, body FROM parents ORDER BY id") == [
        (1, 1, "wrong"), (2, 2, "b"), (3, 3, "b"), (4, 4, "wrong"),
    ]  # fmt: skip
    for where in ([("n", "many")], [("doc", "{}")]):
        with pytest.raises(OperatorError, match="--where") as refused:
            restore(world, at, where={PARENTS: where})
        assert refused.value.exit_code == 2
    with pytest.raises(OperatorError, match="no column nobody"):
        restore(world, at, columns=frozenset({"nobody"}))


def test_a_condition_on_what_is_not_told_is_named(world: World) -> None:
    fill(world, row(1, body="stored"))
    cut(world, PARENTS)
    partial = {name: value for name, value in row(1).items() if name != "body"}
    at = send(world, update(PARENTS, partial, ["body"]))
    send(world, update(PARENTS, row(1, 9)))
    report, changed = restore(world, at, where={PARENTS: [("body", "stored")]})
    assert (changed, report.tables[0].left.listed[0].reason) == ([], "what --where asks for is not told of it")


def test_what_a_source_masks_is_neither_asked_for_nor_put_back(world: World) -> None:
    source = world.settings.sources[world.source]
    world.settings.sources[world.source] = source.model_copy(update={"masks": {PARENTS: {"body": "drop"}}})
    at = fill(world, row(1), row(2))
    world.run_sql("UPDATE parents SET body = 'secret', n = 9 WHERE id = 1; DELETE FROM parents WHERE id = 2")
    report, _ = restore(world, at)
    assert world.rows("SELECT id, n::int, body FROM parents") == [(1, 1, "secret")]
    assert [one.key for one in report.tables[0].left.listed] == [b'{"id":2}'], "it cannot be made again whole"
    for options in ({"columns": frozenset({"body"})}, {"where": {PARENTS: [("body", "b")]}}):
        with pytest.raises(OperatorError, match="masked at the source"):
            restore(world, at, **options)


def test_columns_that_a_trigger_keeps_are_put_back_only_where_they_are_named(world: World) -> None:
    at = fill(world, row(1))
    world.run_sql("UPDATE parents SET body = 'wrong'")
    _, [change] = restore(world, at)
    assert set(change.wrong.fields) == {"body"}
    report, [change] = restore(world, at, columns=frozenset({"touched"}))
    assert set(change.wrong.fields) == {"touched"}
    assert "touched" in report.tables[0].kept.listed[0].reason


def test_an_edit_between_look_and_write_gives_way_and_is_told(world: World) -> None:
    at = fill(world, row(1))
    world.run_sql("UPDATE parents SET body = 'wrong'")

    class Meddled:
        def __init__(self, target: RestoreTarget) -> None:
            self._target = target

        def __getattr__(self, name: str) -> Any:
            return getattr(self._target, name)

        def write(self, *arguments: Any) -> Any:
            world.run_sql("UPDATE parents SET n = 7")
            return self._target.write(*arguments)

    task = Task(Question(world.source, (PARENTS,), Commit(at)), "then", "ann")
    meddled: Any = Meddled(wiring.restore_target(world.settings, task))
    _, [change] = restore(world, at, target=meddled)
    assert {name: texts.now for name, texts in change.wrong.fields.items()} == {"body": "wrong", "n": "7"}
    assert world.rows("SELECT n::int, body FROM parents") == [(1, "b")]


def test_a_stored_value_that_was_not_sent_since_is_put_back_whole(world: World) -> None:
    fill(world, row(1, body="stored"))
    partial = {name: value for name, value in row(1, 5).items() if name != "body"}
    at = send(world, update(PARENTS, partial, ["body"]))
    world.run_sql("UPDATE parents SET n = 9, body = NULL")
    restore(world, at)
    assert world.rows("SELECT n::int, body FROM parents") == [(5, "stored")]


def test_values_that_are_not_told_are_never_guessed(world: World) -> None:
    fill(world, *[row(n, body="stored") for n in (1, 2, 3, 4)])
    cut(world, PARENTS)
    partial = {name: value for name, value in row(1, 5).items() if name != "body"}
    at = send(world, *[update(PARENTS, {**partial, "id": n, "slug": f"s{n}"}, ["body"]) for n in (1, 2)])
    send(world, oversize(PARENTS, {"id": 4}, 99_000_000))
    send(world, update(PARENTS, row(1, 9, "wrong")), delete(PARENTS, {"id": 2}), update(PARENTS, row(3, 9, "wrong")))
    world.run_sql("DELETE FROM parents WHERE id = 2; UPDATE parents SET n = 9, body = 'wrong' WHERE id IN (1, 3)")
    report, [change] = restore(world, at)
    assert (change.wrong.key, set(change.wrong.fields), change.wrong.untold) == (b'{"id":1}', {"n"}, ("body",))
    assert world.rows("SELECT id, n::int, body FROM parents ORDER BY id") == [
        (1, 5, "wrong"), (3, 9, "wrong"), (4, 1, "stored"),
    ]  # fmt: skip
    reasons = {one.key: one.reason for one in report.tables[0].left.listed}
    assert set(reasons) == {b'{"id":2}', b'{"id":3}', b'{"id":4}'}
    assert "body" in reasons[b'{"id":2}']
    assert (report.complete, report.partial) == (False, 1)
    restore(world, at, partial=True)
    assert world.rows("SELECT n::int, body FROM parents WHERE id = 2") == [(5, None)]


def test_a_row_whose_key_was_changed_since_is_named_and_not_doubled(world: World) -> None:
    at = fill(world, row(1))
    world.run_sql("UPDATE parents SET id = 2")
    send(world, move(PARENTS, {"id": 1}, row(2, slug="s1")))
    report, changed = restore(world, at, delete_newer=True)
    assert (changed, list(bodies(world))) == ([], [2])
    reasons = [one.reason for one in report.tables[0].left.listed]
    assert any("key was changed since, to id=2" in reason for reason in reasons)


def test_what_the_database_refuses_is_named_and_the_others_come_back(world: World) -> None:
    at = fill(world, *[row(n) for n in range(50)])
    world.run_sql("UPDATE parents SET body = 'wrong', n = 2")
    world.run_sql("ALTER TABLE parents ADD CONSTRAINT odd CHECK (id <> 42 OR n = 2) NOT VALID")
    report, _ = restore(world, at)
    [left] = report.tables[0].left.listed
    assert (left.key, "odd" in left.reason, report.changes) == (b'{"id":42}', True, 49)


def test_unique_values_that_wander_come_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restoring, "CHUNK_ROWS", 1)
    at = fill(world, row(1), row(2))
    world.run_sql("UPDATE parents SET slug = 's9' WHERE id = 2; UPDATE parents SET slug = 's2' WHERE id = 1")
    report, _ = restore(world, at)
    assert (report.left, world.rows("SELECT slug FROM parents ORDER BY id")) == (0, [("s1",), ("s2",)])


def test_a_role_that_may_only_read_is_refused_and_may_look(world: World, role_factory: Callable[[str], str]) -> None:
    at = fill(world, row(1))
    role = role_factory("")
    world.run_sql(f"GRANT SELECT ON parents TO {role}; UPDATE parents SET body = 'wrong'")
    head, _, tail = world.url.rpartition("@")
    url = f"{head.partition('//')[0]}//{role}:only-for-tests@{tail}"
    source = world.settings.sources[world.source]
    world.settings.sources[world.source] = source.model_copy(update={"restore_url": SecretStr(url)})
    try:
        assert restore(world, at, dry_run=True)[0].changes == 1
        with pytest.raises(OperatorError, match="may not INSERT and UPDATE in") as refused:
            restore(world, at)
        assert f'GRANT INSERT, UPDATE ON "public"."parents" TO {role}' in refused.value.try_
        world.run_sql(f"GRANT ALL ON parents TO {role}; ALTER TABLE parents ENABLE ROW LEVEL SECURITY")
        with pytest.raises(OperatorError, match="Row-level security"):
            restore(world, at)
    finally:
        world.run_sql(f"REVOKE ALL ON parents FROM {role}")
    assert bodies(world) == {1: "wrong"}


def test_keys_of_several_columns_and_names_that_need_quotes(
    kafka_server: Kafka, database_factory: Callable[[str], str]
) -> None:
    table, key = "public.100% odd", ("B é", "a")
    ddl = 'CREATE TABLE "100% odd" (a int, "B é" text, "n%s" int, PRIMARY KEY ("B é", a))'
    world = past_world(kafka_server, database_factory("odd"), ddl, table)
    source = world.settings.sources[world.source]
    world.settings.sources[world.source] = source.model_copy(update={"restore_url": SecretStr(world.url)})
    at = send(world, *[insert(table, {"a": n, "B é": "x", "n%s": n}, key) for n in (1, 2, 3)])
    world.run_sql("INSERT INTO \"100% odd\" VALUES (1, 'x', 9), (2, 'x', 9)")
    _, [change] = restore(world, at, table, keys=('{"a": 1, "B é": "x"}',), where={table: [("n%s", "1")]})
    assert change.wrong.key == orjson.dumps({"B é": "x", "a": 1})
    assert restore(world, at, table)[0].changes == 2
    assert world.rows('SELECT a, "n%s" FROM "100% odd" ORDER BY a') == [(1, 1), (2, 2), (3, 3)]
