"""What comes after a decision, or instead of one: it is taken back, placed in the hub's stream, or nothing differs."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from connectors.postgres import bookkeeping
from connectors.postgres.turns import LOCK_CLASS
from connectors.postgres.two_way.hub import PLACE_DECISION, HubStore
from schemas.position import Position
from tests.deciding import apart, assert_settled, conflict, entered, verb, waits
from tests.fix_linked import Linked
from tests.people import a_teller, put, seen, value


def prepare(linked: Linked) -> None:
    """Of storytellers a person decides, but for names."""
    linked.route("storytellers", rule="manual", rules={"name": "latest"}, title="name", actor="name")


def test_a_decision_is_taken_back_unless_somebody_has_changed_the_field_since(
    both: Linked, workspace: uuid.UUID
) -> None:
    key = a_teller(both, both.hub, workspace)
    number = apart(both, key, {"bio": "ours"}, {"bio": "theirs"})
    verb(both, "resolve", number, "--take", both.spoke_name)
    assert_settled(both, key, bio="theirs")
    tried = verb(both, "undo", number, "--dry-run")
    assert tried["fields"] == {"bio": {"now": {"hub": "theirs"}, "then": "ours"}}
    assert_settled(both, key, bio="theirs")
    verb(both, "undo", number, "--by", "ada", "--reason", "Ruth asked for it.")
    assert_settled(both, key, bio="ours")
    assert entered(both, number) == [
        ("conflicts resolve", {"before": {"bio": "ours"}, "after": {"bio": "theirs"}}),
        ("conflicts undo", {"before": {"bio": "theirs"}, "after": {"bio": "ours"}}),
    ]
    [decision] = verb(both, "show", number)["decisions"]
    assert (decision["undone_by"], decision["undone_reason"]) == ("ada", "Ruth asked for it.")
    assert "taken back" in verb(both, "undo", number, code=1)["error"]

    number = apart(both, key, {"bio": "ours again"}, {"bio": "theirs again"})
    verb(both, "resolve", number, "--take", both.spoke_name)
    both.rest()
    with both.spoke.transaction():
        both.spoke.execute("SELECT pg_logical_emit_message(true, 'placemat.actor', 'hedy')")
        put(both.spoke, "storytellers", key, bio="by somebody")
    both.rest()
    refused = verb(both, "undo", number, code=1)["error"]
    assert "Changed since the decision: bio by" in refused
    assert_settled(both, key, bio="by somebody")


def test_a_decision_for_what_the_hub_had_cannot_be_taken_back_and_says_what_to_do_instead(
    both: Linked, workspace: uuid.UUID
) -> None:
    key = a_teller(both, both.hub, workspace)
    number = apart(both, key, {"bio": "ours"}, {"bio": "theirs"})
    verb(both, "resolve", number, "--keep", "--take", "hub")
    assert_settled(both, key, bio="ours")
    before = both._written()
    for words in ((), ("--dry-run",)):
        refused = verb(both, "undo", number, *words, code=1)["error"]
        assert "was for what the hub had (bio stays as it was there)" in refused
        assert f"For what {both.spoke_name} had, change bio on either side" in refused
    assert both._written() == before
    assert [op for op, _ in entered(both, number)] == ["conflicts resolve"]
    [decision] = verb(both, "show", number)["decisions"]
    assert (decision["over"], decision["undone_at"]) == ({both.spoke_name: {"bio": "theirs"}}, None)
    for_people = both.site.placemat("conflicts", "show", str(number)).out
    assert f"  {both.spoke_name} had bio = theirs" in for_people
    put(both.spoke, "storytellers", key, bio="theirs")
    assert_settled(both, key, bio="theirs")


def test_a_decision_for_the_hubs_row_cannot_be_taken_back_and_says_what_to_do_instead(
    both: Linked, workspace: uuid.UUID
) -> None:
    kept, gone = (a_teller(both, both.hub, workspace) for _ in range(2))
    with both.held():
        put(both.hub, "storytellers", kept, bio="ours")
        both.spoke.execute("DELETE FROM storytellers WHERE id = %s", [kept])
    apart(both, gone, {"bio": "ours"}, {"bio": "theirs"})
    both.hub.execute("DELETE FROM storytellers WHERE id = %s", [gone])
    both.rest()
    for key, word, instead in ((kept, "--keep", "delete the row"), (gone, "--delete", "make the row again")):
        number = conflict(both, key)
        verb(both, "resolve", number, word)
        both.rest()
        assert f"For what {both.spoke_name} had, {instead}" in verb(both, "undo", number, code=1)["error"]
        assert seen(both.hub, "storytellers", key) == seen(both.spoke, "storytellers", key) == (key == kept)


def test_a_row_that_a_decision_has_deleted_is_brought_back(both: Linked, workspace: uuid.UUID) -> None:
    key = a_teller(both, both.hub, workspace, bio="as it was")
    number = apart(both, key, {"bio": "edited"}, None)
    verb(both, "resolve", number, "--take", both.spoke_name)
    both.rest()
    assert not seen(both.hub, "storytellers", key)
    verb(both, "undo", number)
    assert_settled(both, key, bio="edited")


def test_a_row_that_the_hub_does_not_take_stays_undecided(both: Linked, workspace: uuid.UUID) -> None:
    key = a_teller(both, both.hub, workspace)
    number = apart(both, key, {"bio": "ours"}, {"bio": "theirs"})
    refused = verb(both, "resolve", number, "--take", "hub", "--set", f"workspace_id={uuid.uuid4()}", code=1)
    assert "The hub refuses what was decided: the row that a foreign key names is missing" in refused["error"]
    assert "none of type uuid" in verb(
        both, "resolve", number, "--take", "hub", "--set", "workspace_id=x", code=2
    )["error"]  # fmt: skip
    assert waits(both, key)
    verb(both, "resolve", number, "--take", "hub")
    assert_settled(both, key, bio="ours")


def test_a_record_that_was_decided_over_changes_nothing_when_it_comes_again(both: Linked, workspace: uuid.UUID) -> None:
    key = a_teller(both, both.hub, workspace)
    taken = places(both)
    number = apart(both, key, {"bio": "ours"}, {"bio": "theirs"})
    verb(both, "resolve", number, "--take", "hub")
    assert_settled(both, key, bio="ours")
    before = both._written()
    with both.held():
        put_back(both, taken)
    both.rest()
    assert both._written() == before
    assert_settled(both, key, bio="ours")


def places(both: Linked) -> dict[str, list[Any]]:
    """How far the hub has taken the spoke's stream."""
    return {
        table: both.hub.execute(
            f"SELECT * FROM placemat.{table} WHERE source = %s".encode(), [both.spoke_name]
        ).fetchall()
        for table in ("lanes", "offsets")
    }


def put_back(both: Linked, taken: dict[str, list[Any]]) -> None:
    """Let the hub take again what it has taken since."""
    for table, rows in taken.items():
        both.hub.execute(f"DELETE FROM placemat.{table} WHERE source = %s".encode(), [both.spoke_name])
        for row in rows:
            values = ", ".join(["%s"] * len(row))
            both.hub.execute(f"INSERT INTO placemat.{table} VALUES ({values})".encode(), row)


def test_decisions_are_placed_in_the_stream_of_the_hub(both: Linked, workspace: uuid.UUID) -> None:
    key = a_teller(both, both.hub, workspace)
    number = apart(both, key, {"bio": "ours"}, {"bio": "theirs"})
    verb(both, "resolve", number, "--take", both.spoke_name)
    both.rest()
    row = both.hub.execute("SELECT version FROM placemat.decisions WHERE conflict_id = %s", [number]).fetchone()
    assert row is not None
    assert len(json.loads(row[0])) == 3


def test_verify_names_the_conflict_that_a_difference_waits_for(both: Linked, workspace: uuid.UUID) -> None:
    field, wrong, gone = (a_teller(both, both.hub, workspace) for _ in range(3))
    with both.held():
        for key in (field, wrong, gone):
            put(both.hub, "storytellers", key, bio="ours")
        for key in (field, wrong):
            put(both.spoke, "storytellers", key, bio="theirs")
        both.spoke.execute("DELETE FROM storytellers WHERE id = %s", [gone])
    both.rest()
    number = conflict(both, field)
    with damaged(both, wrong):
        ended = both.site.placemat("verify", "storytellers", "--json")
        for_people = both.site.placemat("verify", "storytellers")
    assert (ended.code, ended.json["clean"], ended.json["differences"], ended.json["waits"]) == (3, False, 3, 2)
    ((table,),) = (target["tables"] for target in ended.json["targets"])
    found = {one["key"]["id"]: (one["kind"], one["fields"], one["waits"], one["waiting"]) for one in table["listed"]}
    assert found == {
        str(field): ("differs", ["bio"], number, ["bio"]),
        str(wrong): ("differs", ["bio", "consent_given"], conflict(both, wrong), ["bio"]),
        str(gone): ("only_in_source", [], conflict(both, gone), []),
    }
    assert f"id={field}: bio differs (waits: conflict {number})" in for_people.out
    assert for_people.code == 3
    for key in (field, wrong, gone):
        verb(both, "resolve", conflict(both, key), "--take", "hub")
    both.rest()
    assert both.site.placemat("verify", "storytellers").code == 0


@contextmanager
def damaged(both: Linked, key: uuid.UUID) -> Iterator[None]:
    """A value of the spoke is another one meanwhile, and the hub does not hear of it."""
    change = "UPDATE storytellers SET consent_given = NOT consent_given WHERE id = %s"
    with psycopg.connect(both.site.primary) as hub:
        hub.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [LOCK_CLASS, both.spoke_name])
        both.spoke.execute(change, [key])
        yield
        both.spoke.execute(change, [key])


def test_what_both_sides_have_alike_by_now_waits_no_more_and_is_told(both: Linked, workspace: uuid.UUID) -> None:
    for typist, typed, won in ((both.hub, "theirs", "theirs"), (both.spoke, "ours", "ours")):
        key = a_teller(both, both.hub, workspace, bio="as it was")
        number = apart(both, key, {"bio": "ours"}, {"bio": "theirs"})
        over = verb(both, "show", number)["seen"]
        put(typist, "storytellers", key, bio=typed)
        assert_settled(both, key, bio=typed)
        shown = verb(both, "show", number)
        assert (shown["waits"], shown["waiting"]) == (False, [])
        last = shown["history"][-1]
        assert {name: last[name] for name in ("field", "rule", "resolution", "won", "ours", "theirs", "base")} == {
            "field": "bio", "rule": "manual", "resolution": "agreed", "won": won, "ours": typed, "theirs": "theirs",
            "base": None,
        }  # fmt: skip
        first, other = ("hub", both.spoke_name) if won == "theirs" else (both.spoke_name, "hub")
        words = both.site.placemat("conflicts", "show", str(number)).out
        assert f"{first} has the same bio as {other}: {typed}" in words
        assert both.site.placemat("conflicts", "resolve", str(number), "--take", "hub", "--seen", over).code == 1
        for editor in (both.spoke, both.hub, both.spoke):
            put(editor, "storytellers", key, bio=f"later, and seen {uuid.uuid4()}")
            assert_settled(both, key, bio=value(editor, "storytellers", "bio", key))
        assert len(verb(both, "show", number)["history"]) == len(shown["history"])


def test_a_row_that_both_sides_have_deleted_waits_no_more(both: Linked, workspace: uuid.UUID) -> None:
    for first, second, won in ((both.spoke, both.hub, "theirs"), (both.hub, both.spoke, "ours")):
        key = a_teller(both, both.hub, workspace, bio="as it was")
        with both.held():
            put(both.hub, "storytellers", key, bio="ours")
            if first is both.hub:
                put(both.spoke, "storytellers", key, bio="theirs")
            else:
                first.execute("DELETE FROM storytellers WHERE id = %s", [key])
        both.rest()
        number = conflict(both, key)
        for site in (first, second):
            site.execute("DELETE FROM storytellers WHERE id = %s", [key])
            both.rest()
        assert not waits(both, key)
        last = verb(both, "show", number)["history"][-1]
        assert (last["field"], last["resolution"], last["won"], last["ours"]) == (None, "agreed", won, None)
        assert "has deleted the row too" in both.site.placemat("conflicts", "show", str(number)).out


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
def test_a_decision_is_placed_by_its_index_however_many_were_made(
    database_factory: Callable[[str], str], mode: str
) -> None:
    decided = """
        INSERT INTO placemat.decisions
            (conflict_id, decided_by, table_name, key, action, keeps_row, fields, before, over, version)
        SELECT i, 'ada', 'public.t', i::text, 'none', true, '{}', '{}', '{}', '[1,2,' || i || ']'
        FROM generate_series(1, 5000) AS i
    """
    with psycopg.connect(database_factory("hub"), autocommit=True) as connection:
        bookkeeping.install(connection)
        connection.execute(decided)
        connection.execute("UPDATE placemat.decisions SET version = '\"mark\"' WHERE key = '7'")
        connection.execute("VACUUM ANALYZE placemat.decisions")
        connection.execute(f"SET plan_cache_mode = {mode}".encode())
        values = ["[1,2,3]", '"mark"', "public.t", "7"]
        plan = connection.execute(f"EXPLAIN {PLACE_DECISION}".encode(), values, prepare=True).fetchall()
        assert "decisions_pending" in str(plan)
        HubStore(connection, "h").place_decision(("public.t", "7"), "mark", Position(1, 2, 3))
        row = connection.execute("SELECT version FROM placemat.decisions WHERE key = '7'").fetchone()
        assert row == ("[1,2,3]",)
