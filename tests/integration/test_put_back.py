"""Rows whose delete was rejected, put back into their source from what the target holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import psycopg
import pytest

from connectors.contract import Routing
from connectors.errors import OperatorError
from connectors.postgres import bookkeeping
from connectors.postgres.put_back import BATCH_ROWS, Back, PutBack
from connectors.postgres.session import open_session
from connectors.route.masks import Drop, Truncate
from daemon import wiring
from daemon.config.settings import Settings
from tests.asking import ask

SOURCE_DDL = """
CREATE TYPE mood AS ENUM ('glad', 'sad');
CREATE TABLE people (id int PRIMARY KEY, boss_id int REFERENCES people, name text UNIQUE, secret text, phone text);
CREATE TABLE stories (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), person_id int NOT NULL REFERENCES people, title varchar(20),
    themes text[], mood mood, rating numeric(10, 2), at timestamptz, extra jsonb, blob bytea, span int4range,
    words int GENERATED ALWAYS AS (length(title)) STORED, seq bigint GENERATED ALWAYS AS IDENTITY
);
CREATE TABLE parts (story_id uuid REFERENCES stories, no numeric, note text, PRIMARY KEY (story_id, no));
"""
TARGET_DDL = SOURCE_DDL.replace("title varchar(20)", "heading varchar(20)").replace("length(title)", "length(heading)")
PEOPLE, STORIES, PARTS = "public.people", "public.stories", "public.parts"
ROUTES: Mapping[str, Routing] = {
    PEOPLE: Routing(masks={"secret": Drop(), "phone": Truncate(3)}),
    STORIES: Routing(columns={"title": "heading"}),
    PARTS: Routing(),
}
PERSON = "INSERT INTO people (id, boss_id, name, phone) SELECT i, nullif(i - 1, 0), 'n' || i, '000' FROM {series} i"
STORY = """
INSERT INTO stories (person_id, {title}, themes, mood, rating, at, extra, blob, span)
SELECT 1 + i %% 3, CASE WHEN i = 2 THEN NULL ELSE 'a "b" {{}}, \\' || i END, ARRAY['x, y', NULL, 'z"'], 'sad', 1.50,
    '0044-03-15 12:00:00 BC', '{{"a": [1, null]}}', '\\x00ff', '[1,5)' FROM generate_series(1, 5) i
"""
ROWS = "SELECT to_jsonb(s) - 'title' - 'heading', {title} FROM stories s ORDER BY s.id"


class Pair:
    """A source that has lost its rows, and a target that holds them."""

    def __init__(self, source: str, target: str) -> None:
        self.source, self.target = source, target
        with psycopg.connect(source) as connection:
            connection.execute(SOURCE_DDL.encode())
        with psycopg.connect(target) as connection:
            bookkeeping.install(connection)
            connection.execute(TARGET_DDL.encode())

    def here(self, statement: str) -> list[tuple[Any, ...]]:
        return ask(self.source, statement)

    def there(self, statement: str) -> list[tuple[Any, ...]]:
        return ask(self.target, statement)

    def reject(self, table: str, keys: str) -> None:
        """`keys` is a query for record keys."""
        self.there(f"INSERT INTO placemat.rejected SELECT 's', '{table}', key FROM ({keys}) AS t (key)")

    @contextmanager
    def put_back(self, routes: Mapping[str, Routing] = ROUTES) -> Iterator[PutBack]:
        with ExitStack() as stack:
            sessions = [stack.enter_context(closing(open_session(url, "test"))) for url in (self.target, self.source)]
            yield PutBack(sessions[0], sessions[1], "t", "s", routes, "Ada")

    def run(self, between: Callable[[], None] = lambda: None) -> dict[str, Back]:
        with self.put_back() as put_back:
            return {one.table: one for one in put_back.run(between)}

    def waiting(self) -> int:
        return int(self.there("SELECT count(*) FROM placemat.rejected")[0][0])


@pytest.fixture
def pair(database_factory: Callable[[str], str]) -> Pair:
    return Pair(database_factory("source"), database_factory("target"))


def fill(pair: Pair, many: int = 3) -> None:
    pair.there(PERSON.format(series=f"generate_series(1, {many})"))
    pair.there(STORY.format(title="heading").replace("%%", "%"))
    pair.there("INSERT INTO parts SELECT id, n, 'p' FROM stories, (VALUES (1.0), (2.50)) AS v (n)")


def all_rejected(pair: Pair) -> None:
    pair.reject(PARTS, "SELECT jsonb_build_object('story_id', story_id, 'no', no::text)::text FROM parts")
    pair.reject(STORIES, "SELECT jsonb_build_object('id', id)::text FROM stories")
    pair.reject(PEOPLE, "SELECT jsonb_build_object('id', id)::text FROM people")


def test_rows_come_back_equal_and_with_what_refers_to_them(pair: Pair) -> None:
    fill(pair)
    all_rejected(pair)
    found = pair.run()
    assert {table: (one.back, one.there, one.gone, dict(one.left)) for table, one in found.items()} == {
        PEOPLE: (3, 0, 0, {}),
        STORIES: (5, 0, 0, {}),
        PARTS: (10, 0, 0, {}),
    }
    assert pair.here(ROWS.format(title="title")) == pair.there(ROWS.format(title="heading"))
    rows = "SELECT * FROM parts ORDER BY story_id, no"
    assert pair.here(rows) == pair.there(rows)
    assert pair.waiting() == 0


def test_values_that_the_route_does_not_bring_stay_away_and_are_named(pair: Pair) -> None:
    fill(pair)
    with pair.put_back() as put_back:
        assert put_back.lost([PEOPLE, STORIES]) == {PEOPLE: ("secret", "phone"), STORIES: ()}
    all_rejected(pair)
    pair.run()
    assert pair.here("SELECT DISTINCT secret, phone FROM people") == [(None, None)]


def test_a_value_that_is_masked_at_the_source_does_not_come_back_and_the_targets_own_role_may_write(pair: Pair) -> None:
    def settings(source_name: str, **more: Any) -> Settings:
        source = {"url": pair.source, "tables": [PEOPLE], "masks": {PEOPLE: {"phone": "drop"}}, **more}
        targets = {"t": {"url": pair.target, "source": source_name, "tables": {PEOPLE: {}}}}
        if source_name == "s":
            targets["s"] = {"url": pair.source, "source": source_name, "tables": {PEOPLE: {}}}
        return Settings.model_validate(
            {
                "state": {"url": pair.source},
                "kafka": {"bootstrap_servers": "localhost:1"},
                "sources": {source_name: source},
                "targets": targets,
            }
        )

    for found in (settings("s"), settings("other", restore_url=pair.source)):
        with wiring.put_back(found, "t", "Ada") as put_back:
            assert put_back.lost([PEOPLE]) == {PEOPLE: ("phone",)}
    with (
        pytest.raises(OperatorError, match="may write into the source other"),
        wiring.put_back(settings("other"), "t", "Ada"),
    ):
        pass


def test_a_row_that_was_made_again_stays_as_it_is(pair: Pair) -> None:
    fill(pair)
    pair.here("INSERT INTO people (id, name) VALUES (2, 'somebody else')")
    pair.reject(PEOPLE, "SELECT jsonb_build_object('id', id)::text FROM people")
    found = pair.run()[PEOPLE]
    assert (found.back, found.there) == (2, 1)
    assert pair.here("SELECT name FROM people WHERE id = 2") == [("somebody else",)]


def test_a_row_that_the_target_has_lost_since_is_told(pair: Pair) -> None:
    fill(pair)
    all_rejected(pair)
    pair.there("DELETE FROM parts")
    found = pair.run()[PARTS]
    assert (found.back, found.gone, pair.waiting()) == (0, 10, 0)


def test_a_row_that_the_source_refuses_waits_with_its_reason_and_holds_up_no_other(pair: Pair) -> None:
    fill(pair, 40)
    pair.here("INSERT INTO people (id, name) VALUES (99, 'n7')")
    pair.reject(PEOPLE, "SELECT jsonb_build_object('id', id)::text FROM people")
    found = pair.run()[PEOPLE]
    assert found.back == 6, "the chain above the one that is refused"
    assert sum(found.left.values()) == 34
    assert any("people_name_key" in reason for reason in found.left)
    pair.here("DELETE FROM people WHERE id = 99")
    again = pair.run()[PEOPLE]
    assert (again.back, dict(again.left), pair.waiting()) == (34, {}, 0)


def test_rows_that_refer_to_rows_of_a_later_batch_come_back_in_another_round(pair: Pair) -> None:
    many = BATCH_ROWS + 200
    pair.there(PERSON.format(series=f"generate_series(1, {many})"))
    pair.reject(PEOPLE, "SELECT jsonb_build_object('id', id)::text FROM people")
    found = pair.run()[PEOPLE]
    assert (found.back, dict(found.left), pair.waiting()) == (many, {}, 0)
    rows = "SELECT id, boss_id, name FROM people ORDER BY id"
    assert pair.here(rows) == pair.there(rows)


def test_a_truncated_table_comes_back_whole(pair: Pair) -> None:
    fill(pair, BATCH_ROWS + 3)
    pair.here("INSERT INTO people (id, name) VALUES (2, 'made again')")
    for table in (PEOPLE, STORIES, PARTS):
        pair.reject(table, "VALUES ('')")
    found = pair.run()
    assert (found[PEOPLE].back, found[PEOPLE].there) == (BATCH_ROWS + 2, 1)
    assert (found[STORIES].back, found[PARTS].back, pair.waiting()) == (5, 10, 0)
    assert pair.here(ROWS.format(title="title")) == pair.there(ROWS.format(title="heading"))


def test_what_dies_between_the_two_commits_is_done_again_and_ends_right(pair: Pair) -> None:
    class Killed(Exception):
        pass

    fill(pair, BATCH_ROWS + 3)
    all_rejected(pair)
    before = pair.waiting()
    deaths = iter(range(10))

    def die() -> None:
        if next(deaths, None) is not None:
            raise Killed

    for _ in range(10):
        with pytest.raises(Killed):
            pair.run(die)
    assert pair.waiting() == before
    found = pair.run(die)
    assert pair.waiting() == 0
    assert found[PEOPLE].there > 0, "those of the batches that died"
    assert pair.here("SELECT count(*) FROM people") == [(BATCH_ROWS + 3,)]
    assert pair.here(ROWS.format(title="title")) == pair.there(ROWS.format(title="heading"))


def test_a_role_that_may_not_write_is_told_of_before_anything_is_done(
    pair: Pair, role_factory: Callable[[str], str]
) -> None:
    role = role_factory("")
    with pair.put_back() as put_back:
        put_back._source.execute(f"SET ROLE {role}".encode())
        put_back._source.commit()
        with pytest.raises(OperatorError, match=r"may not write public\.people of source s"):
            put_back.lost([PEOPLE])


def test_a_table_without_a_route_is_told(pair: Pair) -> None:
    pair.reject("public.others", "VALUES ('{}')")
    with pytest.raises(OperatorError, match=r"public\.others .* no route"):
        pair.run()


def test_who_puts_rows_back_stands_in_the_log_with_them(pair: Pair) -> None:
    fill(pair)
    all_rejected(pair)
    slot = f"who_{pair.source.rpartition('_')[2]}"
    pair.here("CREATE PUBLICATION everything FOR ALL TABLES")
    pair.here(f"SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')")
    pair.run()
    told = f"""
    SELECT count(*) FROM pg_logical_slot_get_binary_changes('{slot}', NULL, NULL, 'proto_version', '1',
        'publication_names', 'everything', 'messages', 'true')
    WHERE position('placemat.actor'::bytea IN data) > 0 AND position('Ada'::bytea IN data) > 0
    """
    assert pair.here(told) == [(3,)], "a transaction for each table"
