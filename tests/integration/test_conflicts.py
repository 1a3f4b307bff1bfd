"""What waits for a person between two databases: shown, decided, undone, and on both sides afterwards."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from connectors.conflicts import Order
from connectors.postgres import bookkeeping, session
from connectors.postgres.turns import LOCK_CLASS
from connectors.postgres.two_way import ruling
from connectors.postgres.two_way.hub import PLACE_DECISION, HubStore
from schemas.position import Position
from tests.fix_linked import Linked, made_linked
from tests.fix_servers import Kafka, Postgres
from tests.people import TELLER, a_teller, a_workspace, put, seen, value
from tests.waiting import until


@pytest.fixture(scope="module")
def both(postgres_server: Postgres, kafka_server: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Linked]:
    """Both ways, at work. Of storytellers a person decides, but for names."""
    with made_linked(postgres_server, kafka_server, tmp_path_factory.mktemp("conflicts")) as linked:
        linked.route("storytellers", rule="manual", rules={"name": "latest"}, title="name", actor="name")
        linked.init()
        with linked.running():
            yield linked


@pytest.fixture(scope="module")
def workspace(both: Linked) -> uuid.UUID:
    return a_workspace(both)


def verb(both: Linked, *words: object, code: int = 0) -> Any:
    ended = both.site.placemat("conflicts", *map(str, words), "--json")
    assert ended.code == code, ended.err + ended.out
    return ended.json if ended.out else {"error": ended.err}


def apart(both: Linked, key: uuid.UUID, ours: dict[str, object], theirs: dict[str, object] | None) -> int:
    """Edit the same row on both sides at once, or delete it in the spoke (None); the conflict's number."""
    with both.held():
        put(both.hub, "storytellers", key, **ours)
        if theirs is None:
            both.spoke.execute("DELETE FROM storytellers WHERE id = %s", [key])
        else:
            put(both.spoke, "storytellers", key, **theirs)
    both.rest()
    return conflict(both, key)


def conflict(both: Linked, key: uuid.UUID) -> int:
    row = both.hub.execute("SELECT id FROM placemat.conflicts WHERE waits AND key = %s", [text(key)]).fetchone()
    assert row is not None, "nothing waits"
    return int(row[0])


def waits(both: Linked, key: uuid.UUID) -> bool:
    query = "SELECT FROM placemat.conflicts WHERE waits AND key = %s"
    return both.hub.execute(query, [text(key)]).fetchone() is not None


def text(key: uuid.UUID) -> str:
    return f'{{"id":"{key}"}}'


def on_both(both: Linked, column: str, key: uuid.UUID) -> tuple[Any, Any]:
    return value(both.hub, "storytellers", column, key), value(both.spoke, "storytellers", column, key)


def assert_settled(both: Linked, key: uuid.UUID, **values: object) -> None:
    both.rest()
    for column, expected in values.items():
        assert on_both(both, column, key) == (expected, expected)
    assert not waits(both, key)
    assert both.equal("storytellers", TELLER)


def test_the_side_that_a_person_takes_stands_on_both(both: Linked, workspace: uuid.UUID) -> None:
    for side, expected in ((both.spoke_name, "theirs"), ("hub", "ours")):
        key = a_teller(both, both.hub, workspace, bio="as it was")
        number = apart(both, key, {"bio": "ours"}, {"bio": "theirs"})
        done = verb(both, "resolve", number, "--take", side, "--by", "ada")
        now = {"hub": "ours", both.spoke_name: "theirs"}
        assert done["decided"][0]["fields"] == {"bio": {"now": now, "then": expected}}
        assert_settled(both, key, bio=expected)


def test_each_field_is_decided_for_itself_by_side_or_by_value(both: Linked, workspace: uuid.UUID) -> None:
    key = a_teller(both, both.hub, workspace, bio="b", cultural_background="c", metadata="{}")
    number = apart(
        both, key,
        {"bio": "ours", "cultural_background": "ours", "metadata": '{"of": "ours"}', "consent_given": True},
        {"bio": "theirs", "cultural_background": "theirs", "metadata": '{"of": "theirs"}'},
    )  # fmt: skip
    assert "not decided" in both.site.placemat("conflicts", "resolve", str(number), "--take", "bio=hub").err
    words = ("--take", f"bio={both.spoke_name}", "--set", 'metadata={"of": [1, null]}', "--null", "cultural_background")
    verb(both, "resolve", number, *words)
    assert_settled(both, key, bio="theirs", metadata={"of": [1, None]}, cultural_background=None, consent_given=True)


def test_a_conflict_is_shown_with_both_sides_and_what_they_came_from(both: Linked, workspace: uuid.UUID) -> None:
    key = a_teller(both, both.hub, workspace, name="Ruth", bio="as it was")
    with both.held():
        with both.hub.transaction():
            both.hub.execute("SELECT pg_logical_emit_message(true, 'placemat.actor', 'grace')")
            put(both.hub, "storytellers", key, bio="ours")
        with both.spoke.transaction():
            both.spoke.execute("SELECT pg_logical_emit_message(true, 'placemat.actor', 'hedy')")
            put(both.spoke, "storytellers", key, bio="theirs")
    both.rest()
    number = conflict(both, key)
    shown = verb(both, "show", number)
    assert (shown["title"], shown["key"], shown["waits"], shown["row"]) == (
        "Ruth", {"id": str(key)}, True, {"hub": True, both.spoke_name: True},
    )  # fmt: skip
    [field] = shown["waiting"]
    [theirs] = field["spokes"]
    assert (field["field"], field["label"]) == ("bio", "Bio")
    assert (field["hub"]["value"], field["hub"]["by"]) == ("ours", "grace")
    assert (theirs["spoke"], theirs["value"], theirs["by"]) == (both.spoke_name, "theirs", "hedy")
    assert (theirs["base"], theirs["rule"]) == ("as it was", "manual")
    assert field["hub"]["at"] is not None
    assert theirs["at"] is not None
    assert [one["resolution"] for one in shown["history"]] == ["manual"]
    for_people = both.site.placemat("conflicts", "show", str(number)).out
    assert all(word in for_people for word in ("Ruth", "grace", "hedy", "ours", "theirs", "as it was"))
    verb(both, "resolve", number, "--take", "hub", "--by", "ada", "--reason", "It was agreed.")
    [decision] = verb(both, "show", number)["decisions"]
    assert (decision["by"], decision["reason"], decision["fields"]) == ("ada", "It was agreed.", {"bio": "ours"})
    assert_settled(both, key, bio="ours")


def test_a_column_of_the_row_says_who_where_the_application_does_not_and_nobody_is_unknown(
    both: Linked, workspace: uuid.UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = a_teller(both, both.hub, workspace, name="hedy")
    number = apart(both, key, {"bio": "ours", "name": "grace"}, {"bio": "theirs"})
    [field] = verb(both, "show", number)["waiting"]
    assert (field["hub"]["by"], field["spokes"][0]["by"]) == ("grace", "hedy")
    put(both.hub, "storytellers", key, name="somebody else, who has not touched it")
    both.rest()
    [field] = verb(both, "show", number)["waiting"]
    assert field["hub"]["by"] == "unknown"
    monkeypatch.setenv("PLACEMAT_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setattr("daemon.actors.REQUEST_SECONDS", 0.5)
    [field] = verb(both, "show", number)["waiting"]
    assert (field["hub"]["value"], field["hub"]["by"], field["spokes"][0]["by"]) == ("ours", "unknown", "unknown")
    verb(both, "resolve", number, "--take", "hub")
    assert_settled(both, key, bio="ours")


def test_what_waits_is_listed_and_what_rules_have_decided_too(both: Linked, workspace: uuid.UUID) -> None:
    key = a_teller(both, both.hub, workspace, name="Mary")
    number = apart(both, key, {"bio": "ours", "name": "Ours"}, {"bio": "theirs", "name": "Theirs"})
    words = ("list", "--target", both.spoke_name, "--table", "storytellers", "--field", "bio")
    [one] = [found for found in verb(both, *words)["waiting"] if found["id"] == number]
    assert (one["title"], one["fields"], one["spokes"]) == ("Ours", ["bio"], [both.spoke_name])
    assert verb(both, "list", "--table", "stories") == {"count": 0, "waiting": [], "refused_count": 0, "refused": []}
    found = verb(both, "list", "--all", "--field", "name", "--limit", 1)
    assert [(each["field"], each["ours"], each["theirs"]) for each in found["decided"]] == [("name", "Ours", "Theirs")]
    older = verb(both, "list", "--all", "--limit", 1, "--before", found["before"])
    assert all(each["number"] < found["before"] for each in older["decided"])
    verb(both, "resolve", number, "--take", "hub")
    assert_settled(both, key, bio="ours")


def test_a_dry_run_shows_what_each_side_would_have_and_writes_nothing(both: Linked, workspace: uuid.UUID) -> None:
    key = a_teller(both, both.hub, workspace)
    number = apart(both, key, {"bio": "ours"}, {"bio": "theirs"})
    before = both._written()
    done = verb(both, "resolve", number, "--set", "bio=  neither  ", "--dry-run")
    now = {"hub": "ours", both.spoke_name: "theirs"}
    assert done["decided"][0]["fields"] == {"bio": {"now": now, "then": "  neither  "}}
    both.rest()
    assert both._written() == before
    assert on_both(both, "bio", key) == ("ours", "theirs")
    verb(both, "resolve", number, "--take", "hub")
    assert verb(both, "show", number)["decisions"][0]["by"] != ""
    assert_settled(both, key, bio="ours")


def test_a_decision_over_what_has_changed_since_it_was_shown_does_nothing(both: Linked, workspace: uuid.UUID) -> None:
    key = a_teller(both, both.hub, workspace)
    number = apart(both, key, {"bio": "ours"}, {"bio": "theirs"})
    seen_then = verb(both, "show", number)["seen"]
    put(both.spoke, "storytellers", key, bio="theirs, and later")
    both.rest()
    refused = verb(both, "resolve", number, "--take", both.spoke_name, "--seen", seen_then, code=1)
    assert refused["left"] == [{"id": number, "reason": "changed"}]
    assert refused["now"]["waiting"][0]["spokes"][0]["value"] == "theirs, and later"
    assert on_both(both, "bio", key) == ("ours", "theirs, and later")
    verb(both, "resolve", number, "--take", both.spoke_name, "--seen", refused["now"]["seen"])
    assert_settled(both, key, bio="theirs, and later")


def test_an_edit_that_a_decision_has_waited_for_is_not_lost(both: Linked, workspace: uuid.UUID) -> None:
    key = a_teller(both, both.hub, workspace)
    number = apart(both, key, {"bio": "ours"}, {"bio": "theirs"})
    with ThreadPoolExecutor(1) as pool, psycopg.connect(both.site.primary) as person:
        put(person, "storytellers", key, bio="just now")
        deciding = pool.submit(verb, both, "resolve", number, "--take", both.spoke_name, code=1)
        until(lambda: waits_for_a_lock(both), what="the decision to wait for the row")
        person.commit()
        assert deciding.result()["left"] == [{"id": number, "reason": "changed"}]
    both.rest()
    assert on_both(both, "bio", key) == ("just now", "theirs")
    verb(both, "resolve", number, "--take", "hub")
    assert_settled(both, key, bio="just now")


def waits_for_a_lock(both: Linked) -> bool:
    query = """
    SELECT FROM pg_stat_activity
    WHERE application_name = 'placemat conflicts' AND wait_event_type = 'Lock' AND datname = %s
    """
    return both.hub.execute(query, [both.hub.info.dbname]).fetchone() is not None


def test_an_edit_on_its_way_while_a_person_decides_waits_as_a_new_conflict(both: Linked, workspace: uuid.UUID) -> None:
    key = a_teller(both, both.hub, workspace)
    number = apart(both, key, {"bio": "ours"}, {"bio": "theirs"})
    with both.held():
        put(both.spoke, "storytellers", key, bio="meanwhile")
        verb(both, "resolve", number, "--take", "hub")
    both.rest()
    assert on_both(both, "bio", key) == ("ours", "meanwhile")
    assert conflict(both, key) == number
    verb(both, "resolve", number, "--take", both.spoke_name)
    assert_settled(both, key, bio="meanwhile")


def test_a_row_that_one_side_has_deleted_is_kept_or_deleted_by_a_person(both: Linked, workspace: uuid.UUID) -> None:
    for word, stays in (("--keep", True), ("--delete", False)):
        key = a_teller(both, both.hub, workspace, bio="as it was")
        number = apart(both, key, {"bio": "edited"}, None)
        done = verb(both, "resolve", number, word)
        assert done["decided"][0]["row"] == {"now": {"hub": True, both.spoke_name: False}, "then": stays}
        both.rest()
        assert [seen(at, "storytellers", key) for at in (both.hub, both.spoke)] == [stays, stays]
        assert_settled(both, key, bio="edited" if stays else None)


def test_a_row_that_the_hub_has_deleted_comes_back_with_what_the_person_takes(
    both: Linked, workspace: uuid.UUID
) -> None:
    key = a_teller(both, both.hub, workspace, bio="as it was")
    number = apart(both, key, {"bio": "ours"}, {"bio": "theirs"})
    with both.hub.transaction():
        both.hub.execute("SELECT pg_logical_emit_message(true, 'placemat.actor', 'grace')")
        both.hub.execute("DELETE FROM storytellers WHERE id = %s", [key])
    both.rest()
    assert seen(both.spoke, "storytellers", key)
    shown = verb(both, "show", number)
    assert (shown["row"], shown["title"]) == ({"hub": False, both.spoke_name: True}, "A teller")
    assert [(one["side"], one["by"]) for one in shown["deletions"]] == [("hub", "grace")]
    assert number in [one["id"] for one in verb(both, "list")["waiting"] if one["title"] == "A teller"]
    verb(both, "resolve", number, "--keep")
    assert_settled(both, key, bio="theirs", name="A teller")


def test_many_are_decided_by_one_word(both: Linked, workspace: uuid.UUID) -> None:
    keys = [a_teller(both, both.hub, workspace) for _ in range(3)]
    with both.held():
        for key in keys:
            put(both.hub, "storytellers", key, bio="ours")
            put(both.spoke, "storytellers", key, bio="theirs")
    both.rest()
    words = ("resolve", "--all", "--table", "storytellers", "--field", "bio", "--take", both.spoke_name)
    assert "This would decide 3 conflicts: 3 in public.storytellers." in verb(both, *words, code=2)["error"]
    assert len(verb(both, *words, "--dry-run")["decided"]) == 3
    assert len(verb(both, *words, "--yes")["decided"]) == 3
    for key in keys:
        assert_settled(both, key, bio="theirs")


def three_apart(both: Linked, workspace: uuid.UUID) -> list[uuid.UUID]:
    """The oldest conflict first."""
    keys = [a_teller(both, both.hub, workspace) for _ in range(3)]
    for key in keys:
        apart(both, key, {"bio": "ours"}, {"bio": "theirs"})
    return keys


def test_a_row_that_somebody_holds_keeps_no_other_from_being_decided(
    both: Linked, workspace: uuid.UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = three_apart(both, workspace)
    held = conflict(both, keys[1])
    monkeypatch.setitem(session._SETTINGS, "lock_timeout", "100ms")
    monkeypatch.setattr(ruling, "ATTEMPTS", 1)
    with psycopg.connect(both.site.primary) as person:
        person.execute("SELECT FROM storytellers WHERE id = %s FOR UPDATE", [keys[1]])
        ended = both.site.placemat("conflicts", "resolve", "--all", "--take", "hub", "--yes", "--json")
        person.rollback()
    assert ended.code == 1
    assert "1 of 3 were not decided" in ended.err
    assert "Nothing was done" not in ended.err
    assert len(ended.json["decided"]) == 2
    assert [one["id"] for one in ended.json["left"]] == [held]
    assert "was busy" in ended.json["left"][0]["reason"]
    assert [waits(both, key) for key in keys] == [False, True, False]
    verb(both, "resolve", held, "--take", "hub")
    assert_settled(both, keys[1], bio="ours")


def test_a_hub_that_goes_while_many_are_decided_is_told_by_conflict(
    both: Linked, workspace: uuid.UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = three_apart(both, workspace)
    numbers = [conflict(both, key) for key in keys]
    whole = ruling.HubRulings.rule

    def cut(self: ruling.HubRulings, order: Order, deciding: Any) -> Any:
        if order.key[1] == text(keys[1]):
            both.hub.execute("SELECT pg_terminate_backend(%s)", [self.connection.info.backend_pid])
        return whole(self, order, deciding)

    monkeypatch.setattr(ruling.HubRulings, "rule", cut)
    left = verb(both, "resolve", "--all", "--take", "hub", "--yes", code=1)["left"]
    assert [one["id"] for one in left] == numbers[1:]
    assert "says whether it was decided" in left[0]["reason"]
    assert "it was not tried" in left[1]["reason"]
    monkeypatch.undo()
    assert [waits(both, key) for key in keys] == [False, True, True]
    verb(both, "resolve", "--all", "--take", "hub", "--yes")
    assert_settled(both, keys[2], bio="ours")


def test_numbers_are_shown_decided_and_entered_with_all_their_digits(both: Linked, workspace: uuid.UUID) -> None:
    ours, theirs = "12345678901234567890.123456789", "12345678901234567890.123456780"
    key = a_teller(both, both.hub, workspace, metadata="{}")
    number = apart(both, key, {"metadata": f'{{"n": {ours}}}'}, {"metadata": f'{{"n": {theirs}}}'})
    shown = both.site.placemat("conflicts", "show", str(number), "--json").out
    assert ours in shown
    assert theirs in shown
    for_people = both.site.placemat("conflicts", "show", str(number)).out
    assert ours in for_people
    assert theirs in for_people
    done = both.site.placemat("conflicts", "resolve", str(number), "--take", both.spoke_name, "--json").out
    assert done.count(theirs) == 2, "as it is there, and as all will have it"
    query = "SELECT content FROM placemat.audit_entries JOIN placemat.audit_values USING (sequence) WHERE conflict = %s"
    with psycopg.connect(both.site.state) as state:
        [(content,)] = state.execute(f"{query} AND kind = 'action'".encode(), [str(number)]).fetchall()
    assert ours in content
    assert theirs in content
    which = ("--action", "conflicts resolve", "--key", text(key), "--entity", "storytellers")
    for words in (("show", *which, "--values"), ("show", *which, "--json"), ("export", *which)):
        assert theirs in both.site.placemat("audit", *words).out
    both.rest()
    assert value(both.spoke, "storytellers", "metadata #>> '{n}'", key) == value(
        both.hub, "storytellers", "metadata #>> '{n}'", key
    )


def test_a_decision_does_not_give_a_row_another_key(both: Linked, workspace: uuid.UUID) -> None:
    key = a_teller(both, both.hub, workspace)
    number = apart(both, key, {"bio": "ours"}, {"bio": "theirs"})
    for words in (("--set", f"id={uuid.uuid4()}"), ("--null", "id")):
        refused = verb(both, "resolve", number, "--take", "hub", *words, code=2)
        assert "Field id is the key of public.storytellers" in refused["error"]
    assert waits(both, key)
    assert entered(both, number) == []
    verb(both, "resolve", number, "--take", "hub")
    assert_settled(both, key, bio="ours")


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


def entered(both: Linked, number: int) -> list[tuple[Any, ...]]:
    """What the audit log says of what people have done in a conflict."""
    query = """
    SELECT op, content::jsonb FROM placemat.audit_entries JOIN placemat.audit_values USING (sequence)
    WHERE kind = 'action' AND conflict = %s ORDER BY sequence
    """
    with psycopg.connect(both.site.state) as state:
        return state.execute(query, [str(number)]).fetchall()


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
