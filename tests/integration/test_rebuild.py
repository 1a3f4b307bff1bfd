"""`placemat rebuild` of what a real capture has published: PostgreSQL says whether the rows are those of then."""

from __future__ import annotations

import csv
import json
import random
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.fix_capture import Rig, RigFactory
from tests.integration.every_type import DDL, ROWS, TYPES

BEAT = "CREATE TABLE beat (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY);"
DOCS = """
CREATE TABLE docs (id int PRIMARY KEY, n numeric, long text, doc jsonb, list text[]);
ALTER TABLE docs ALTER long SET STORAGE EXTERNAL;
"""


def rig_of(capture_factory: RigFactory, ddl: str, *tables: str, **source: Any) -> Rig:
    rig = capture_factory(ddl=BEAT + ddl, tables=(*tables, "beat"), **source)
    rig.site.set(f"sources.{rig.site.source}.restore_url", rig.url)
    return rig.init()


def now(rig: Rig) -> tuple[str, str]:
    """This moment, as a time and as an LSN."""
    [(at, lsn)] = rig.sql("SELECT clock_timestamp(), pg_current_wal_insert_lsn()::text")
    return at.isoformat(), lsn


def rebuild(rig: Rig, *arguments: str) -> tuple[int, list[Any], Any]:
    """Exit status, the rows that were printed, and the whole."""
    ended = rig.site.placemat("rebuild", *arguments, "--json")
    assert ended.out, ended.err
    *rows, whole = [json.loads(line) for line in ended.out.splitlines()]
    return ended.code, rows, whole


def differing(rig: Rig, one: str, other: str) -> list[Any]:
    """Rows that only one of two tables has, by every value's text."""
    sides = [f"SELECT t::text FROM (SELECT {columns(rig, one)} FROM {name}) t" for name in (one, other)]
    return rig.sql(f"(({sides[0]}) EXCEPT ({sides[1]})) UNION ALL (({sides[1]}) EXCEPT ({sides[0]}))")


def columns(rig: Rig, table: str) -> str:
    [(names,)] = rig.sql(
        "SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute"
        f" WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped"
    )
    return str(names)


def edit(rig: Rig, chance: random.Random) -> None:
    """A transaction of some random changes, of keys too."""
    statements = []
    for _ in range(chance.randint(1, 6)):
        id_, other = chance.randint(1, 12), chance.randint(1, 12)
        stored = f"repeat(md5('{chance.random()}'), 100)"
        row = f"({id_}, {chance.random()}, {stored}, '{{\"a\": {other}}}', '{{a,NULL}}')"
        free = f"NOT EXISTS (SELECT FROM docs WHERE id = {other})"
        choices = [
            f"INSERT INTO docs VALUES {row} ON CONFLICT (id) DO UPDATE SET n = EXCLUDED.n",
            f"UPDATE docs SET n = n + 1 WHERE id <= {id_}",
            f"UPDATE docs SET long = {stored}, doc = 'null' WHERE id = {id_}",
            f"UPDATE docs SET doc = NULL, list = '{{}}' WHERE id = {id_}",
            f"DELETE FROM docs WHERE id = {id_}",
            f"UPDATE docs SET id = {other}, n = -n WHERE id = {id_} AND {free}",
        ]
        statements.append("TRUNCATE docs" if chance.random() < 0.02 else chance.choice(choices))
    rig.sql("BEGIN; " + "; ".join(statements) + "; COMMIT")


@pytest.mark.parametrize("identity", ["DEFAULT", "FULL"])
def test_a_table_rebuilt_at_a_time_or_an_lsn_is_the_table_of_then(capture_factory: RigFactory, identity: str) -> None:
    rig = rig_of(capture_factory, DOCS + f"ALTER TABLE docs REPLICA IDENTITY {identity};", "docs")
    chance = random.Random(f"rebuild {identity}")
    moments: list[tuple[str, str, str]] = []
    with rig.start():
        rig.copied()
        for number in range(60):
            edit(rig, chance)
            if number % 10 == 9:
                rig.sql(f"CREATE TABLE then_{number} AS SELECT * FROM docs")
                moments.append((f"then_{number}", *now(rig)))
        rig.caught_up()
    assert any(rig.sql(f"SELECT 1 FROM {name}") for name, _, _ in moments)
    for number, (name, *forms) in enumerate(moments):
        into = f"again_{uuid.uuid4().hex[:8]}"
        code, _, whole = rebuild(rig, "docs", "--at", forms[number % 2], "--into", into)
        assert (code, whole["complete"]) == (0, True), whole
        assert differing(rig, name, into) == []


def test_values_of_every_type_are_rebuilt_equal(capture_factory: RigFactory) -> None:
    rig = rig_of(capture_factory, f"{TYPES} CREATE TABLE zoo (id int PRIMARY KEY, {DDL});", "zoo")
    with rig.start():
        rig.copied()
        for id_, row in enumerate(ROWS):
            rig.sql(f"INSERT INTO zoo SELECT {id_}, {row}")
        rig.sql("CREATE TABLE zoo_then AS SELECT * FROM zoo")
        at, _ = now(rig)
        rig.sql("DELETE FROM zoo")
        rig.caught_up()
    assert rebuild(rig, "zoo", "--at", at, "--into", "again")[0] == 0
    assert differing(rig, "zoo_then", "again") == []
    types = rig.sql(
        "SELECT a.attname FROM pg_attribute a JOIN pg_attribute b USING (attname)"
        " WHERE a.attrelid = 'zoo'::regclass AND b.attrelid = 'again'::regclass AND a.attnum > 0"
        " AND (a.atttypid, a.atttypmod) <> (b.atttypid, b.atttypmod)"
    )
    assert types == []


def test_a_table_that_changed_its_columns_has_those_of_then(capture_factory: RigFactory) -> None:
    ddl = "CREATE TABLE items (id int PRIMARY KEY, note text, gone int);"
    ddl += "INSERT INTO items VALUES (1, 'a', 5), (2, 'b', 6);"
    rig = rig_of(capture_factory, ddl, "items")
    with rig.start():
        rig.copied()
        _, first = now(rig)
        rig.sql("ALTER TABLE items ADD colour text NOT NULL DEFAULT 'red', ADD empty int")
        rig.sql("UPDATE items SET note = 'c' WHERE id = 1")
        _, second = now(rig)
        rig.sql("ALTER TABLE items DROP gone")
        rig.sql("UPDATE items SET note = 'd' WHERE id = 1")
        _, third = now(rig)
        rig.caught_up()
    found = [
        {row["key"]["id"]: row["row"] for row in rebuild(rig, "items", "--at", at)[1]} for at in (first, second, third)
    ]
    assert found == [
        {1: {"id": 1, "note": "a", "gone": 5}, 2: {"id": 2, "note": "b", "gone": 6}},
        {
            1: {"id": 1, "note": "c", "gone": 5, "colour": "red", "empty": None},
            2: {"id": 2, "note": "b", "gone": 6, "colour": "red", "empty": None},
        },
        {
            1: {"id": 1, "note": "d", "colour": "red", "empty": None},
            2: {"id": 2, "note": "b", "colour": "red", "empty": None},
        },
    ]


def test_rows_of_a_table_that_was_made_anew_are_not_those_of_the_one_before(capture_factory: RigFactory) -> None:
    rig = rig_of(
        capture_factory, "CREATE TABLE items (id int PRIMARY KEY); INSERT INTO items VALUES (1), (2);", "items"
    )
    with rig.start():
        rig.copied()
        _, before = now(rig)
        rig.sql("DROP TABLE items; CREATE TABLE items (id int PRIMARY KEY)")
        rig.sql(f'ALTER PUBLICATION "{publication(rig)}" ADD TABLE items')
        rig.sql("INSERT INTO items VALUES (3)")
        _, after = now(rig)
        rig.caught_up()
    found = [{row["key"]["id"] for row in rebuild(rig, "items", "--at", at)[1]} for at in (before, after)]
    assert found == [{1, 2}, {3}]


def publication(rig: Rig) -> str:
    return str(rig.site.settings.sources[rig.site.source].publication)


def test_one_row_a_file_of_csv_and_a_table_for_people(capture_factory: RigFactory, tmp_path: Path) -> None:
    rig = rig_of(capture_factory, DOCS, "docs")
    with rig.start():
        rig.copied()
        rig.sql(
            "INSERT INTO docs VALUES (2, NULL, '', NULL, NULL),"
            """ (1, 1.50, E'two\\nlines, "quoted"', '[null]', '{a}')"""
        )
        at, _ = now(rig)
        rig.caught_up()
    assert [row["row"]["n"] for row in rebuild(rig, "docs", "1", "--at", at)[1]] == ["1.50"]
    file = tmp_path / "docs.csv"
    ended = rig.site.placemat("rebuild", "docs", "--at", at, "--format", "csv", "--out", str(file))
    assert (ended.code, ended.out) == (0, ""), ended.err
    with file.open(newline="") as opened:
        header, *rows = csv.reader(opened)
    assert header == ["id", "n", "long", "doc", "list"]
    assert sorted(rows) == [["1", "1.50", 'two\nlines, "quoted"', "[null]", '["a"]'], ["2", "", "", "", ""]]
    assert '2,,"",,' in file.read_text(), "an empty text is told from NULL"
    shown = rig.site.placemat("rebuild", "docs", "2", "--at", at, "--format", "table").out.splitlines()
    assert [line.split() for line in shown] == [["id", "n", "long", "doc", "list"], ["2", "NULL", "NULL", "NULL"]]
    again = rig.site.placemat("rebuild", "docs", "--at", at, "--out", str(file))
    assert (again.code, f"{file} exists" in again.err) == (2, True)


def test_a_table_of_that_name_is_left_alone(capture_factory: RigFactory) -> None:
    rig = rig_of(capture_factory, "CREATE TABLE items (id int PRIMARY KEY); CREATE TABLE other (a int);", "items")
    with rig.start():
        rig.copied()
        rig.sql("INSERT INTO items VALUES (1)")
        rig.caught_up()
    ended = rig.site.placemat("rebuild", "items", "--at", datetime.now(UTC).isoformat(), "--into", "other")
    assert (ended.code, "has a table public.other" in ended.err) == (1, True), ended.err
    assert columns(rig, "other") == "a"
