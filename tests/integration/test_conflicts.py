"""What waits for a person between two databases: shown, decided, undone, and on both sides afterwards."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from connectors.conflicts import Order
from connectors.postgres import session
from connectors.postgres.two_way import ruling
from tests.deciding import apart, assert_settled, conflict, entered, on_both, text, verb, waits
from tests.fix_linked import Linked
from tests.people import a_teller, put, seen, value
from tests.waiting import until


def prepare(linked: Linked) -> None:
    """Of storytellers a person decides, but for names."""
    linked.route("storytellers", rule="manual", rules={"name": "latest"}, title="name", actor="name")


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
