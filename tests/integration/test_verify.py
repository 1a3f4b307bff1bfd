"""`verify` compares every row and every field, as PostgreSQL compares values."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable, Iterator

import pytest

from daemon.reconcile import Progress
from tests.integration.verify_pair import Pair, only_table, pair_of

NOTES = "CREATE TABLE notes (id uuid PRIMARY KEY, title text, body text, size int)"
FIVE_NOTES = """
INSERT INTO notes SELECT ('00000000-0000-0000-0000-00000000000' || n)::uuid, 'title ' || n, NULLIF(n, 3)::text, n
FROM generate_series(1, 5) n
"""


def note(n: int) -> str:
    return f"00000000-0000-0000-0000-00000000000{n}"


@pytest.fixture
def pair(database_factory: Callable[[str], str]) -> Iterator[Pair]:
    with pair_of(database_factory) as made:
        yield made


@pytest.fixture
def notes(pair: Pair) -> Pair:
    pair.both(NOTES)
    pair.both(FIVE_NOTES)
    return pair


def test_equal_tables_are_clean(notes: Pair) -> None:
    report = notes.verify("notes")
    assert report.clean
    assert only_table(report) == {
        "table": "public.notes",
        "rows": {"source": 5, "target": 5, "compared": 5},
        "fields": 20,
        "differences": 0,
        "still_changing": 0,
        "parked": 0,
        "waits": 0,
        "listed": [],
        "changing": [],
    }
    assert "No difference in 5 rows and 20 fields compared" in report.render()


def test_empty_tables_are_clean(pair: Pair) -> None:
    pair.both(NOTES)
    assert pair.verify("notes").clean


def test_a_changed_field_is_named_by_table_key_and_field(notes: Pair) -> None:
    notes.target.execute("UPDATE notes SET body = 'someone else wrote this' WHERE size = 2")
    report = notes.verify("notes")
    assert not report.clean
    (found,) = only_table(report)["listed"]
    assert (found["key"], found["kind"], found["fields"]) == ({"id": note(2)}, "differs", ["body"])
    assert (found["parked"], found["waits"], found["waiting"]) == (None, None, [])
    assert f"id={note(2)}: body differs" in report.render()
    assert "someone else" not in report.render() + json.dumps(report.to_json())


def test_null_is_not_an_empty_text(notes: Pair) -> None:
    notes.target.execute("UPDATE notes SET body = '' WHERE size = 3")
    (found,) = only_table(notes.verify("notes"))["listed"]
    assert (found["key"], found["fields"]) == ({"id": note(3)}, ["body"])


def test_values_are_shown_only_when_asked_for(notes: Pair) -> None:
    notes.target.execute("UPDATE notes SET title = NULL WHERE size = 2")
    report = notes.verify("notes", show_values=True)
    (found,) = only_table(report)["listed"]
    assert found["values"] == {"title": {"source": "title 2", "target": None}}
    assert "title: 'title 2' in primary, NULL in empathy_ledger" in report.render()


def test_rows_of_one_side_only_are_told_apart(notes: Pair) -> None:
    notes.source.execute("DELETE FROM notes WHERE size = 1")
    notes.target.execute("DELETE FROM notes WHERE size = 4")
    report = notes.verify("notes")
    table = only_table(report)
    assert [(found["key"]["id"], found["kind"], found["fields"]) for found in table["listed"]] == [
        (note(4), "only_in_source", []),
        (note(1), "only_in_target", []),
    ]
    assert table["rows"] == {"source": 4, "target": 4, "compared": 5}
    assert f"id={note(1)}: only in empathy_ledger" in report.render()


def test_only_the_first_hundred_differences_are_listed(pair: Pair) -> None:
    pair.both("CREATE TABLE numbers (id int PRIMARY KEY)")
    pair.source.execute("INSERT INTO numbers SELECT generate_series(1, 250)")
    report = pair.verify("numbers")
    table = only_table(report)
    assert table["differences"] == 250
    assert [int(found["key"]["id"]) for found in table["listed"]] == list(range(1, 101))
    assert "and 150 more" in report.render()


def test_local_columns_and_the_targets_own_columns_are_left_out(notes: Pair) -> None:
    notes.target.execute("ALTER TABLE notes ADD COLUMN seen boolean NOT NULL DEFAULT false")
    notes.target.execute("UPDATE notes SET size = -size")
    assert notes.verify("notes", local=("size",)).clean
    assert not notes.verify("notes").clean


EQUAL_VALUES = [
    ("numeric", "1.0", "1.00"),
    ("numeric", "NaN", "NaN"),
    ("numeric", "-Infinity", "-Infinity"),
    ("numeric[]", "{1.0,2}", "{1,2.00}"),
    ("double precision", "-0", "0"),
    ("double precision", "NaN", "NaN"),
    ("real", "0.1", "0.1"),
    ("jsonb", '{"b": 1.0, "a": [1]}', '{"a": [1], "b": 1.00}'),
    ("json", '{"b": 1, "a": 2}', '{"b": 1, "a": 2}'),
    ("timestamptz", "2024-05-01 10:00:00+10", "2024-05-01 00:00:00Z"),
    ("timestamptz", "0044-03-15 12:00:00+00 BC", "0044-03-15 12:00:00+00 BC"),
    ("timestamptz", "infinity", "infinity"),
    ("interval", "1 mon", "30 days"),
    ("bytea", r"\x00ff", r"\x00FF"),
    ("text[]", '{"a,b",NULL,"NULL"}', '{"a,b",NULL,"NULL"}'),
    ("numrange", "[1.0,2)", "[1,2.00)"),
    ("char(5)", "ab", "ab   "),
    ("box", "(1,1),(0,0)", "(1,1),(0,0)"),
]
UNEQUAL_VALUES = [
    ("numeric", "1.0", "1.01"),
    ("jsonb", '{"a": 1}', '{"a": null}'),
    ("json", '{"a": 1}', '{"a":1}'),
    ("timestamptz", "2024-05-01 10:00:00+10", "2024-05-01 10:00:00+00"),
    ("bytea", r"\x00ff", r"\x00fe"),
    ("text[]", '{"a","b"}', '{"a,b"}'),
    ("text[]", "{NULL}", '{"NULL"}'),
    ("text", "e\u0301", "é"),
    ("box", "(1,1),(0,0)", "(2,2),(1,1)"),
    ("circle", "<(0,0),1>", "<(5,5),1>"),
]


@pytest.mark.parametrize(("kind", "ours", "theirs"), EQUAL_VALUES)
def test_values_that_postgresql_calls_equal_are_no_difference(pair: Pair, kind: str, ours: str, theirs: str) -> None:
    pair.both(f"CREATE TABLE items (id int PRIMARY KEY, value {kind})")
    pair.source.execute("INSERT INTO items VALUES (1, %s)", [ours])
    pair.target.execute("INSERT INTO items VALUES (1, %s)", [theirs])
    assert pair.verify("items").clean


@pytest.mark.parametrize(("kind", "ours", "theirs"), UNEQUAL_VALUES)
def test_values_that_postgresql_tells_apart_are_a_difference(pair: Pair, kind: str, ours: str, theirs: str) -> None:
    pair.both(f"CREATE TABLE items (id int PRIMARY KEY, value {kind})")
    pair.source.execute("INSERT INTO items VALUES (1, %s)", [ours])
    pair.target.execute("INSERT INTO items VALUES (1, %s)", [theirs])
    (found,) = only_table(pair.verify("items"))["listed"]
    assert found["fields"] == ["value"]


def test_enums_domains_and_composites_of_the_two_sides_are_compared_by_value(pair: Pair) -> None:
    pair.both("CREATE TYPE mood AS ENUM ('glad', 'sad')")
    pair.both("CREATE DOMAIN amount AS numeric CHECK (VALUE > 0)")
    pair.both("CREATE TYPE place AS (street text, at numeric)")
    pair.both("CREATE TABLE items (id mood PRIMARY KEY, price amount, place place)")
    pair.source.execute("INSERT INTO items VALUES ('glad', 1.0, ('High St', 1.0)), ('sad', 2.0, ('Low St', 1))")
    pair.target.execute("INSERT INTO items VALUES ('glad', 1.00, ('High St', 1)), ('sad', 2.0, ('Low St', 2))")
    (found,) = only_table(pair.verify("items"))["listed"]
    assert (found["key"], found["fields"]) == ({"id": "sad"}, ["place"])


def test_a_target_of_another_type_is_compared_by_the_value_it_stands_for(pair: Pair) -> None:
    pair.source.execute("CREATE TABLE items (id int PRIMARY KEY, price numeric)")
    pair.target.execute("CREATE TABLE items (id bigint PRIMARY KEY, price text)")
    pair.source.execute("INSERT INTO items VALUES (1, 1.5), (2, 2.5), (3, 3.5)")
    pair.target.execute("INSERT INTO items VALUES (1, '1.50'), (2, 'two'), (3, '3.51')")
    listed = only_table(pair.verify("items"))["listed"]
    assert [found["key"]["id"] for found in listed] == ["2", "3"]


@pytest.mark.parametrize("sample", [None, 10])
def test_a_key_that_the_source_cannot_hold_is_a_row_of_the_target_only(pair: Pair, sample: int | None) -> None:
    pair.source.execute("CREATE TABLE items (id int, part int, PRIMARY KEY (id, part))")
    pair.target.execute("CREATE TABLE items (id bigint, part bigint, PRIMARY KEY (id, part))")
    pair.both("INSERT INTO items VALUES (1, 1), (2, 2)")
    pair.target.execute("INSERT INTO items VALUES (3000000000, 1), (1, 3000000000), (3, 3)")
    listed = only_table(pair.verify("items", sample=sample))["listed"]
    assert {(found["key"]["id"], found["key"]["part"], found["kind"]) for found in listed} == {
        ("3000000000", "1", "only_in_target"),
        ("1", "3000000000", "only_in_target"),
        ("3", "3", "only_in_target"),
    }


def test_rows_are_matched_by_a_composite_key(pair: Pair) -> None:
    pair.both("CREATE TABLE members (role text, team int, since date, PRIMARY KEY (team, role))")
    rows = "SELECT chr(64 + r), t, '2024-01-01' FROM generate_series(1, 20) r, generate_series(1, 500) t"
    pair.both(f"INSERT INTO members {rows}")
    pair.target.execute("UPDATE members SET since = '2024-01-02' WHERE (team, role) = (250, 'C')")
    pair.target.execute("DELETE FROM members WHERE (team, role) = (400, 'A')")
    table = only_table(pair.verify("members"))
    assert [(found["key"], found["kind"], found["fields"]) for found in table["listed"]] == [
        ({"team": "250", "role": "C"}, "differs", ["since"]),
        ({"team": "400", "role": "A"}, "only_in_source", []),
    ]


def test_keys_of_another_order_in_the_target_are_matched(pair: Pair) -> None:
    pair.source.execute("CREATE TYPE word AS ENUM ('a', 'B', 'ß', '😀', '''')")
    pair.target.execute("CREATE TYPE word AS ENUM ('''', '😀', 'ß', 'a', 'B')")
    pair.both("CREATE TABLE words (id word, n int, size int, PRIMARY KEY (id, n))")
    pair.both("INSERT INTO words SELECT id, n, n FROM unnest(enum_range(NULL::word)) id, generate_series(1, 1000) n")
    pair.target.execute("UPDATE words SET size = 0 WHERE (id, n) = ('B', 400)")
    pair.target.execute("INSERT INTO words VALUES ('😀', 0, 0)")
    listed = only_table(pair.verify("words"))["listed"]
    assert [(found["key"], found["kind"]) for found in listed] == [
        ({"id": "B", "n": "400"}, "differs"),
        ({"id": "😀", "n": "0"}, "only_in_target"),
    ]


def test_many_megabytes_of_rows_take_little_memory(pair: Pair) -> None:
    pair.both("CREATE TABLE stories (id uuid PRIMARY KEY, title text, content text)")
    rows = "SELECT md5(n::text)::uuid, 'title ' || n, repeat('word ', 250) FROM generate_series(1, 20000) n"
    pair.both(f"INSERT INTO stories {rows}")
    pair.target.execute("UPDATE stories SET title = 'other' WHERE title IN ('title 1', 'title 19999')")
    tracemalloc.start()
    try:
        report = pair.verify("stories")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    table = only_table(report)
    assert (table["rows"]["compared"], table["differences"]) == (20_000, 2)
    assert peak < 8_000_000


def test_a_sample_as_large_as_the_table_finds_every_kind_of_damage(notes: Pair) -> None:
    notes.target.execute("UPDATE notes SET title = 'other' WHERE size = 1")
    notes.target.execute("DELETE FROM notes WHERE size = 2")
    notes.source.execute("DELETE FROM notes WHERE size = 3")
    report = notes.verify("notes", sample=5)
    assert {(found["key"]["id"], found["kind"]) for found in only_table(report)["listed"]} == {
        (note(1), "differs"),
        (note(2), "only_in_source"),
        (note(3), "only_in_target"),
    }
    assert report.to_json()["sample"] == 5


def test_a_sample_compares_only_so_many_rows_of_each_side(notes: Pair) -> None:
    table = only_table(notes.verify("notes", sample=1))
    assert 1 <= table["rows"]["compared"] <= 2
    assert table["rows"]["source"] == 5


def test_progress_ends_at_its_total(notes: Pair) -> None:
    told: list[Progress] = []
    notes.verify("notes", on_progress=told.append)
    assert told[0] == Progress("empathy_ledger public.notes", 0, 10)
    assert told[-1] == Progress("empathy_ledger public.notes", 10, 10)


def test_columns_and_tables_with_odd_names_are_compared(pair: Pair) -> None:
    pair.both('CREATE TABLE "Odd ""name" ("Id!" int PRIMARY KEY, "order" text, "100 %" text)')
    pair.both("""INSERT INTO "Odd ""name" VALUES (1, 'a', 'b')""")
    pair.target.execute("""UPDATE "Odd ""name" SET "100 %" = 'c'""".replace("%", "%%"), [])
    (found,) = only_table(pair.verify('Odd "name'))["listed"]
    assert (found["key"], found["fields"]) == ({"Id!": "1"}, ["100 %"])
