"""What the hub does not take of a spoke's changes is shown to those who decide, and ends where it is put right."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from connectors.conflicts import Filter
from connectors.contract import Routing
from connectors.postgres.two_way.refusals import HubRefusals, Way, kind_of
from connectors.route.masks import Drop, Truncate
from tests import deciding
from tests.deciding import text
from tests.fix_linked import Linked
from tests.people import a_teller, made, put, value
from tests.waiting import until

SECRET = "of the spoke alone"


def prepare(linked: Linked) -> None:
    linked.hub.execute("ALTER TABLE storytellers ADD CONSTRAINT welcome CHECK (name <> 'not welcome')")


def verb(both: Linked, *words: object, code: int = 0) -> Any:
    told = deciding.verb(both, *words, code=code)
    assert SECRET not in str(told)
    return told


def refused(both: Linked, key: uuid.UUID) -> int:
    """The number under which the hub has parked a key."""
    query = "SELECT id FROM placemat.parked WHERE key = %s AND kind = 'refused'"
    row = until(lambda: both.hub.execute(query, [text(key)]).fetchone())
    assert row is not None
    return int(row[0])


def unwelcome(both: Linked, workspace: uuid.UUID) -> uuid.UUID:
    return made(
        both.spoke, "storytellers", workspace_id=workspace, name="not welcome", bio="told", preferred_contact=SECRET
    )


def corrected(both: Linked, key: uuid.UUID) -> None:
    put(both.spoke, "storytellers", key, name="welcome")
    until(lambda: both.hub.execute("SELECT FROM placemat.parked").fetchone() is None)


def test_what_the_hub_refuses_is_listed_beside_what_waits_until_it_is_corrected(
    both: Linked, workspace: uuid.UUID
) -> None:
    key = unwelcome(both, workspace)
    number = refused(both, key)
    found = verb(both, "list")
    assert (found["count"], found["waiting"], found["refused_count"]) == (0, [], 1)
    [one] = found["refused"]
    assert (one["id"], one["dlq"], one["target"], one["spoke"]) == (
        f"dlq-{number}", number, both.hub_target, both.spoke_name,
    )  # fmt: skip
    assert (one["table"], one["key"], one["title"]) == ("public.storytellers", {"id": str(key)}, "not welcome")
    assert (one["kind"], one["reason"]) == ("refused", "a check does not hold (constraint welcome, SQLSTATE 23514)")
    listed = both.hub.execute("SELECT id FROM placemat.conflict_log WHERE key = %s", [text(key)]).fetchall()
    assert listed == [(one["number"],)]
    for_people = both.site.placemat("conflicts", "list")
    assert f"dlq-{number}: a check does not hold" in for_people.out
    assert f"placemat dlq redrive N --target {both.hub_target}" in for_people.out
    assert "The hub refuses 1." in for_people.err
    corrected(both, key)
    assert verb(both, "list") == {"count": 0, "waiting": [], "refused_count": 0, "refused": []}


def test_filters_mean_what_the_hub_refuses_too(both: Linked, workspace: uuid.UUID) -> None:
    key = unwelcome(both, workspace)
    refused(both, key)
    for words, many in (
        (("--table", "storytellers"), 1), (("--target", both.spoke_name), 1), (("--table", "stories"), 0),
        (("--field", "name"), 0),
    ):  # fmt: skip
        found = verb(both, "list", *words)
        assert (found["refused_count"], len(found["refused"])) == (many, many), words
    other = unwelcome(both, workspace)
    refused(both, other)
    found = verb(both, "list", "--limit", 1)
    assert (found["refused_count"], [one["key"] for one in found["refused"]]) == (2, [{"id": str(key)}])
    put(both.spoke, "storytellers", other, name="welcome")
    corrected(both, key)


def test_what_waits_of_a_refused_row_is_shown_beside_what_the_hub_has(both: Linked, workspace: uuid.UUID) -> None:
    key = a_teller(both, both.hub, workspace, name="Ruth", bio="as it was")
    put(both.spoke, "storytellers", key, name="not welcome", preferred_contact=SECRET)
    number = refused(both, key)
    shown = verb(both, "show", f"dlq-{number}")
    assert (shown["id"], shown["title"], shown["hub"]["name"]) == (f"dlq-{number}", "Ruth", "Ruth")
    assert (shown["queued"]["name"], shown["queued"]["bio"]) == ("not welcome", "as it was")
    assert "preferred_contact" not in shown["queued"]
    for_people = both.site.placemat("conflicts", "show", f"dlq-{number}").out
    [_, heads, row, *_] = for_people.splitlines()[1:]
    assert (heads.split(), row.split()) == (
        ["FIELD", "HUB", both.spoke_name.upper()], ["name", "Ruth", "not", "welcome"],
    ), "the other fields are the same"  # fmt: skip
    assert f"placemat dlq discard {number} --target {both.hub_target}" in for_people
    assert SECRET not in for_people
    corrected(both, key)
    gone = verb(both, "show", f"dlq-{number}", code=1)
    assert f"The hub refuses nothing under dlq-{number}" in gone["error"]


def test_numbers_that_wait_are_shown_with_all_their_digits(both: Linked, workspace: uuid.UUID) -> None:
    digits = "12345678901234567890.123456780"
    key = made(
        both.spoke, "storytellers", workspace_id=workspace, name="not welcome", metadata=f'{{"n": {digits}}}'
    )  # fmt: skip
    number = refused(both, key)
    for words in (("conflicts", "show", f"dlq-{number}"), ("dlq", "show", str(number), "--values")):
        given = ("--target", both.hub_target) if words[0] == "dlq" else ()
        for form in ((), ("--json",)):
            assert digits in both.site.placemat(*words, *given, *form).out, (*words, *form)
    corrected(both, key)


def test_no_side_is_taken_in_what_the_hub_refuses(both: Linked) -> None:
    for words in (("resolve", "dlq-7", "--take", "hub"), ("undo", "dlq-7")):
        refused = verb(both, *words, code=2)["error"]
        assert "dlq-7 was refused by the hub" in refused
        assert "placemat dlq redrive 7" in refused
    assert "seven is no number of a conflict" in verb(both, "show", "seven", code=2)["error"]


def test_what_is_discarded_is_listed_as_such(both: Linked, workspace: uuid.UUID) -> None:
    key = a_teller(both, both.hub, workspace, name="Ruth")
    put(both.spoke, "storytellers", key, name="not welcome")
    number = refused(both, key)
    [one] = verb(both, "list")["refused"]
    done = both.site.placemat("dlq", "discard", str(number), "--target", both.hub_target)
    assert done.code == 0, done.err
    both.rest()
    assert value(both.spoke, "storytellers", "name", key) == "Ruth"
    assert verb(both, "list")["refused"] == []
    [met] = [each for each in verb(both, "list", "--all")["decided"] if each["number"] == one["number"]]
    assert (met["kind"], met["rule"], met["resolution"], met["won"]) == ("refused", "manual", "discarded", "ours")


def test_kinds_are_those_of_conflicts() -> None:
    assert kind_of("23505", "c") == "insert_exists"
    assert kind_of("23505", "u") == "update_exists"
    assert kind_of("23503", "u") == "fk_parent_missing"
    assert kind_of("23503", "d") == "delete_origin_differs"
    assert kind_of("ambiguous", "") == "ambiguous"
    assert kind_of("23514", "c") == "refused"


# As they are read

ROUTE = Routing(
    table="public.storytellers", columns={"nr": "id", "label": "name"}, exclude=frozenset({"hidden"}),
    masks={"half": Truncate(1), "gone": Drop()},
)  # fmt: skip


class Kept:
    """Parked keys in a database of their own, of a spoke whose names are others."""

    def __init__(self, linked: Linked) -> None:
        self._connection = linked.hub
        self.spoke = f"s{uuid.uuid4().hex[:8]}"
        self.refusals = HubRefusals(linked.hub, [Way("brings", self.spoke, {"public.people": ROUTE})])

    def park(
        self, *events: dict[str, Any], kind: str = "refused", table: str = "public.people", key: str | None = None
    ) -> int:
        row = self._connection.execute(
            "INSERT INTO placemat.parked (source, table_name, key, kind, sqlstate, reason)"
            " VALUES (%s, %s, %s, %s, '23505', 'another row has it') RETURNING id",
            [self.spoke, table, json.dumps({"nr": key or uuid.uuid4().hex}), kind],
        ).fetchone()
        assert row is not None
        for place, event in enumerate(events):
            self._connection.execute(
                "INSERT INTO placemat.parked_events VALUES (%s, %s, 'topic', 0, %s, %s)",
                [row[0], place, place, json.dumps(event)],
            )
        return int(row[0])

    def unpark(self, number: int) -> None:
        self._connection.execute("DELETE FROM placemat.parked WHERE id = %s", [number])


@pytest.fixture
def kept(both: Linked) -> Iterator[Kept]:
    found = Kept(both)
    yield found
    both.hub.execute("DELETE FROM placemat.parked WHERE source = %s", [found.spoke])


def test_rows_are_named_as_at_the_hub_and_hold_nothing_that_the_route_does_not_show(kept: Kept) -> None:
    whole = {"nr": "7", "label": "Ruth", "age": 7.50, "note": None, "hidden": SECRET, "half": SECRET, "gone": SECRET}
    whole |= {"extra": None, "once": SECRET}
    newest = {"op": "u", "after": whole, "json_null": ["extra"], "withheld": ["once"]}
    number = kept.park({"op": "c", "after": {"label": "before"}}, newest, {"op": "n"})
    found = kept.refusals.find(number)
    assert found is not None
    assert (found.target, found.spoke, found.table_name) == ("brings", kept.spoke, "public.storytellers")
    assert list(json.loads(found.key)) == ["id"]
    assert found.row == {"id": '"7"', "name": '"Ruth"', "age": "7.5", "note": None, "extra": "null"}
    assert (found.kind, found.events, found.listed) == ("update_exists", 3, None)
    assert SECRET not in str(found)


def test_only_what_is_refused_of_tables_that_go_both_ways_is_told(kept: Kept) -> None:
    number = kept.park({"op": "d", "after": None})
    kept.park(kind="needs_full_row")
    kept.park(table="public.of_one_way")
    [one] = kept.refusals.waiting(Filter())
    assert (one.number, one.kind, one.op, one.row) == (number, "delete_origin_differs", "d", None)
    assert kept.refusals.count(Filter()) == 1
    assert kept.refusals.count(Filter(table="public.storytellers")) == 1
    assert kept.refusals.count(Filter(spoke="another")) == 0


def test_a_key_is_told_of_once_then_after_a_day_and_anew_when_it_is_parked_again(both: Linked, kept: Kept) -> None:
    now = datetime(2031, 5, 1, tzinfo=UTC)
    day = timedelta(days=1)
    number = kept.park(key="7")
    assert kept.refusals.untold(now - day, 3_600) == [], "it may end by itself"
    due = kept.refusals.untold(now - day, 0)
    assert [one.number for one in due] == [number]
    kept.refusals.told(due, now)
    assert kept.refusals.untold(now - timedelta(seconds=1), 0) == []
    assert [one.number for one in kept.refusals.untold(now, 0)] == [number]
    with psycopg.connect(both.site.primary) as busy:
        busy.execute("SELECT FROM placemat.parked WHERE id = %s FOR UPDATE", [number])
        kept.refusals.told(due, now + day)
    assert [one.number for one in kept.refusals.untold(now, 0)] == [number], "what is tried now is told of later"
    kept.unpark(number)
    kept.refusals.told(due, now)
    again = kept.park(key="7")
    assert [one.number for one in kept.refusals.untold(now - day, 0)] == [again]
