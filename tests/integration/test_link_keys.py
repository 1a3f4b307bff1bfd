"""Rows of a spoke get the hub's keys, whatever refers to them and however."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from connectors.contract import BothWays, Destination, Routing
from connectors.postgres import bookkeeping
from connectors.postgres.two_way.linking import PostgresLinkSide
from connectors.postgres.two_way.linking_spoke import PostgresLinkSpoke
from daemon.errors import OperatorError
from daemon.link.link import Link
from daemon.link.pairs import Pair
from daemon.link.plan import Matches
from daemon.resolve.inward import HubResolver
from daemon.resolve.outward import SpokeResolver
from daemon.resolve.rules import Rules
from tests.fix_capture import RigFactory

MATCHES = [("name",), ("part", "number")]
TABLES = """
CREATE TABLE people (
    id integer PRIMARY KEY, name text, boss integer REFERENCES people,
    mentor integer REFERENCES people ON UPDATE RESTRICT
);
CREATE TABLE houses (
    street text, number integer, name text, owner integer NOT NULL REFERENCES people ON UPDATE RESTRICT,
    keeper integer REFERENCES people ON UPDATE SET NULL, PRIMARY KEY (street, number)
);
CREATE TABLE stays (
    guest integer REFERENCES people ON UPDATE CASCADE, street text, number integer, since date, part text,
    PRIMARY KEY (guest, street, number), FOREIGN KEY (street, number) REFERENCES houses DEFERRABLE
);
CREATE TABLE meals (
    id integer PRIMARY KEY, name text, guest integer, street text, number integer,
    FOREIGN KEY (guest, street, number) REFERENCES stays (guest, street, number)
);
"""
HUB = """
INSERT INTO people VALUES (1, 'Ada', NULL, NULL), (2, 'Ben', 1, 1), (3, 'Cyd', 2, 1);
INSERT INTO houses VALUES ('High', 1, 'Mill', 1, 3), ('High', 2, 'Inn', 2, NULL);
INSERT INTO stays VALUES (3, 'High', 1, '2026-01-01', 'x'), (2, 'High', 2, NULL, 'y');
INSERT INTO meals VALUES (100, 'Soup', 3, 'High', 1), (101, 'Tea', 2, 'High', 2);
"""
SPOKE = """
INSERT INTO people VALUES (11, 'Ada', NULL, NULL), (12, 'Ben', 11, 11), (13, 'Cyd', 12, 11);
INSERT INTO houses VALUES ('Low', 7, 'Mill', 11, 13), ('Low', 8, 'Inn', 12, NULL);
INSERT INTO stays VALUES (13, 'Low', 7, '2026-01-01', 'x'), (12, 'Low', 8, NULL, 'y');
INSERT INTO meals VALUES (200, 'Soup', 13, 'Low', 7), (201, 'Tea', 12, 'Low', 8);
"""
NAMES = ("people", "houses", "stays", "meals")


@dataclass
class Two:
    """Both databases, and what links them."""

    hub: psycopg.Connection[Any]
    spoke: psycopg.Connection[Any]
    run: Callable[..., Link]

    def rows(self, connection: psycopg.Connection[Any], table: str) -> list[tuple[Any, ...]]:
        return connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2".encode()).fetchall()

    def link(self, matches: Matches = MATCHES) -> None:
        link = self.run()
        link.write(link.plan([], matches), "ada")


@pytest.fixture
def two(database_factory: Callable[[str], str]) -> Iterator[Two]:
    with ExitStack() as stack:
        urls = database_factory("hub"), database_factory("spoke")
        hub, spoke = (stack.enter_context(psycopg.connect(url, autocommit=True)) for url in urls)
        for connection, rows in ((hub, HUB), (spoke, SPOKE)):
            connection.execute(TABLES.encode())
            connection.execute(rows.encode())
            bookkeeping.install(connection)

        def run(names: tuple[str, ...] = NAMES) -> Link:
            tables = [f"public.{name}" for name in names]
            routes = {table: Routing() for table in tables}
            inward = BothWays(frozenset(tables), "h", inward=HubResolver("s", {}))
            outward = BothWays(frozenset(tables), "h", outward=SpokeResolver("s", {}))
            ours = PostgresLinkSide(Destination("back", urls[0], "s", routes, both_ways=inward), {})
            theirs = PostgresLinkSpoke(Destination("s", urls[1], "h", routes, both_ways=outward), {})
            stack.callback(ours.close)
            stack.callback(theirs.close)
            return Link(ours, theirs, "s", {table: Rules() for table in tables})

        yield Two(hub, spoke, run)


def test_all_that_refers_to_a_row_goes_with_its_key_in_one_statement(two: Two) -> None:
    two.link()
    for name in NAMES:
        assert two.rows(two.spoke, name) == two.rows(two.hub, name), name
    plans = two.run().plan([], MATCHES)
    assert all(one.nothing_to_do for one in plans)


def test_each_row_changes_once_so_that_no_state_between_is_ever_told(two: Two) -> None:
    two.spoke.execute(
        "CREATE TABLE seen (name text);"
        "CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN INSERT INTO public.seen VALUES (TG_TABLE_NAME || OLD::text); RETURN NEW; END $$"
    )
    for name in NAMES:
        two.spoke.execute(f"CREATE TRIGGER look BEFORE UPDATE ON {name} FOR EACH ROW EXECUTE FUNCTION look()".encode())
    two.link()
    row = two.spoke.execute("SELECT count(*), count(DISTINCT name) FROM seen").fetchone()
    assert row == (3 + 2 + 2 + 2, 3 + 2 + 2 + 2)


def test_a_table_that_is_not_routed_is_in_the_way_unless_it_follows_by_itself(two: Two) -> None:
    two.spoke.execute("CREATE TABLE notes (about integer REFERENCES people); INSERT INTO notes VALUES (11)")
    with pytest.raises(OperatorError, match=r"public\.notes in s refers to public\.people and is not routed") as error:
        two.link()
    assert "ON UPDATE CASCADE" in error.value.try_
    assert two.rows(two.spoke, "people")[0][0] == 11
    two.spoke.execute(
        "ALTER TABLE notes DROP CONSTRAINT notes_about_fkey,"
        " ADD FOREIGN KEY (about) REFERENCES people ON UPDATE CASCADE"
    )
    two.link()
    assert two.rows(two.spoke, "notes, people WHERE about = id") == [(1, 1, "Ada", None, None)]


def test_a_key_that_cannot_be_set_is_told_before_anything_is_written(two: Two) -> None:
    two.spoke.execute("ALTER TABLE people ALTER id ADD GENERATED ALWAYS AS IDENTITY")
    with pytest.raises(OperatorError, match=r"Column id of public\.people in s is GENERATED ALWAYS") as error:
        two.link()
    two.spoke.execute(error.value.try_.removeprefix("There run: ").encode())
    two.link()
    assert two.rows(two.spoke, "people") == two.rows(two.hub, "people")


def test_a_trigger_that_leaves_rows_as_they_are_stops_it_whole(two: Two) -> None:
    two.spoke.execute(
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;"
        "CREATE TRIGGER no BEFORE UPDATE ON meals FOR EACH ROW EXECUTE FUNCTION no();"
        "ALTER TABLE meals DROP CONSTRAINT meals_guest_street_number_fkey"
    )
    with pytest.raises(OperatorError, match=r"Only 0 of 2 rows of public\.meals in s have changed"):
        two.link()
    assert two.rows(two.spoke, "people")[0][0] == 11


def test_what_a_row_refers_to_is_compared_by_the_keys_that_will_be(two: Two) -> None:
    plans = {one.table.table: one for one in two.run().plan([], MATCHES)}
    assert plans["public.houses"].equal == 2
    assert len(plans["public.stays"].moves) == 2
    assert [one.match for one in plans["public.stays"].pairing.pairs] == [None, None], "their keys are their parents'"
    assert not any(one.differing for one in plans.values()), (
        "bosses and mentors neither, though their keys were not known"
    )
    two.spoke.execute("UPDATE people SET boss = 11 WHERE id = 13")
    (one,) = two.run().plan(["public.people"], [("name",)])
    assert [
        (row.pair.ours, [(field.field, field.ours, field.theirs) for field in row.fields]) for row in one.differing
    ] == [(("3",), [("boss", "2", "1")])]
    with pytest.raises(OperatorError, match="No table that is linked has name and boss"):
        two.run().plan([], [("name", "boss")])


def test_fields_that_no_table_has_are_refused(two: Two) -> None:
    with pytest.raises(OperatorError, match="No table that is linked has nonsense and name among the fields") as error:
        two.link([("nonsense", "name")])
    assert error.value.exit_code == 2


def test_tables_and_columns_that_have_other_names_there_are_linked_by_the_hubs(
    database_factory: Callable[[str], str],
) -> None:
    urls = database_factory("hub"), database_factory("spoke")
    with ExitStack() as stack:
        hub, spoke = (stack.enter_context(psycopg.connect(url, autocommit=True)) for url in urls)
        hub.execute(
            "CREATE TABLE people (id integer PRIMARY KEY, name text, age numeric, at timestamptz, secret text);"
            "CREATE TABLE pets (id integer PRIMARY KEY, name text, owner integer REFERENCES people);"
            "INSERT INTO people VALUES (1, 'Ada', 7, '2026-01-01Z', 'x'); INSERT INTO pets VALUES (5, 'Rex', 1)"
        )
        spoke.execute(
            'CREATE TABLE "Folk 100%"'
            ' (nr integer PRIMARY KEY, "full name" text, age numeric(5, 2), changed timestamptz);'
            'CREATE TABLE pets (nr integer PRIMARY KEY, name text, "of" integer REFERENCES "Folk 100%");'
            "INSERT INTO \"Folk 100%\" VALUES (11, 'Ada', 8, '2026-02-01Z'); INSERT INTO pets VALUES (15, 'Rex', 11)"
        )
        for connection in (hub, spoke):
            bookkeeping.install(connection)
        outward = {
            "public.people": Routing(
                table="public.Folk 100%", columns={"id": "nr", "name": "full name", "at": "changed"},
                exclude=frozenset({"secret"}), local=frozenset({"at"}),
            ),
            "public.pets": Routing(columns={"id": "nr", "owner": "of"}),
        }  # fmt: skip
        inward = {
            "public.Folk 100%": Routing(
                table="public.people",
                columns={"nr": "id", "full name": "name", "changed": "at"},
                local=frozenset({"changed"}),
            ),
            "public.pets": Routing(columns={"nr": "id", "of": "owner"}),
        }
        rules = {"public.people": Rules(), "public.pets": Rules()}
        ours = BothWays(frozenset(inward), "h", inward=HubResolver("s", rules))
        theirs = BothWays(frozenset(outward), "h", outward=SpokeResolver("s", rules))
        left = PostgresLinkSide(Destination("back", urls[0], "s", inward, both_ways=ours), {"public.people": "at"})
        right = PostgresLinkSpoke(
            Destination("s", urls[1], "h", outward, both_ways=theirs), {"public.people": "changed"}
        )
        stack.callback(left.close)
        stack.callback(right.close)
        link = Link(left, right, "s", rules)
        plans = link.plan([], [("name", "age"), ("name",)])
        people, pets = plans
        assert people.pairing.pairs == (Pair(("1",), ("11",), 1),)
        assert [(one.field, one.ours, one.theirs, one.won) for one in people.differing[0].fields] == [
            ("age", "7", "8.00", "theirs")
        ]
        assert (pets.pairing.pairs, pets.differing) == ((Pair(("5",), ("15",), 0),), [])
        link.write(plans, "ada")
        assert spoke.execute('SELECT nr, "full name" FROM "Folk 100%"').fetchall() == [(1, "Ada")]
        assert spoke.execute('SELECT nr, name, "of" FROM pets').fetchall() == [(5, "Rex", 1)]


KEYED = """
CREATE TYPE mood AS ENUM ('glad', 'not so "glad"');
CREATE TABLE keyed (
    raw bytea, moment timestamptz, here timestamp, day date, name text, number bigint, flag boolean, mood mood,
    PRIMARY KEY (raw, moment, here, day, name, number, flag, mood)
);
CREATE TABLE beat (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY);
INSERT INTO keyed VALUES
    ('\\x', '2026-05-04 03:02:01.5+02', '2026-05-04 03:02:01', '2026-05-04', E'a "b"\\t\\u00e9', 1, true, 'glad'),
    ('\\x00ff5c', '0044-03-15 12:00:00+00 BC', '0044-03-15 12:00:00.25 BC', '0044-03-15 BC', 'T BC', -1, false,
     'not so "glad"'),
    ('\\x54', 'infinity', '-infinity', 'infinity', '', 0, true, 'glad'),
    ('\\x55', '12026-05-04 03:02:01+00', '12026-05-04 03:02:01', '12026-05-04', 'x', 2, true, 'glad');
"""


def test_a_row_is_named_as_its_records_name_it(capture_factory: RigFactory) -> None:
    rig = capture_factory(ddl=KEYED, tables=("keyed", "beat")).init()
    with rig.start():
        rig.copied()
        rig.caught_up()
    recorded = {one.key.decode() for one in rig.records("keyed")}
    assert len(recorded) == 4
    with psycopg.connect(rig.url, autocommit=True) as connection:
        bookkeeping.install(connection)
    both = BothWays(frozenset({"public.keyed"}), "h", inward=HubResolver("s", {}))
    destination = Destination("t", rig.url, "s", {"public.keyed": Routing()}, both_ways=both)
    with closing(PostgresLinkSide(destination, {})) as side:
        [table] = side.tables()
        keys = [tuple(str(row[name]) for name in table.key) for page in side.rows("public.keyed") for row, _ in page]
        canonical = side.canonicals["public.keyed"]
        assert {side.text("public.keyed", key) for key in keys} == {
            canonical.key_text(one.encode()) for one in recorded
        }
        assert side.read("public.keyed", keys).keys() == set(keys)
        side.hold("public.keyed", dict.fromkeys(keys, "like another"))
        assert set(side.held("public.keyed")) == set(keys)
        side.release("public.keyed", keys[:1], gone=True)
    waiting = rig.sql("SELECT key, request FROM placemat.parked")
    assert {frozenset(json.loads(key).items()) for key, _ in waiting} == {
        frozenset(json.loads(one).items()) for one in recorded
    }
    assert sorted(request or "" for _, request in waiting) == ["", "", "", "discard"]
