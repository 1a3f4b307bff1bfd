"""Two databases that people edit on both sides, with real capture, topics and workers."""

from __future__ import annotations

import uuid
from typing import Any

from daemon.observe import metrics
from tests.asking import ask
from tests.fix_linked import Linked
from tests.people import TELLER, a_teller, made, put, seen, value
from tests.waiting import until

STORY = "id, storyteller_id, project_id, title, content, themes, privacy, metadata"


def prepare(linked: Linked) -> None:
    """Names of storytellers are `latest`, biographies `manual`, stories' themes are merged, their
    contents the hub's, and slugs go outward only."""
    linked.route("storytellers", rules={"bio": "manual", "cultural_background": "target"})
    linked.route("stories", rules={"themes": "merge", "content": "hub"}, outward=["slug"])


def a_story(both: Linked, teller: uuid.UUID, workspace: uuid.UUID, **values: object) -> uuid.UUID:
    given = {"title": "A story", "slug": uuid.uuid4().hex, **values}
    key = made(both.hub, "stories", workspace_id=workspace, storyteller_id=teller, **given)
    both.rest()
    assert seen(both.spoke, "stories", key)
    return key


def listed(both: Linked, key: uuid.UUID) -> list[tuple[Any, ...]]:
    """Field, kind, rule, resolution, who won, and both values."""
    return both.hub.execute(
        "SELECT field, kind, rule, resolution, won, ours, theirs FROM placemat.conflict_log WHERE key = %s ORDER BY id",
        [f'{{"id":"{key}"}}'],
    ).fetchall()


def test_what_people_do_on_either_side_is_on_both(both: Linked, workspace: uuid.UUID) -> None:
    one = a_teller(both, both.hub, workspace, name="from the hub")
    two = a_teller(both, both.spoke, workspace, name="from the spoke")
    put(both.hub, "storytellers", two, name="hub changed")
    put(both.spoke, "storytellers", one, metadata='{"by": ["the", "spoke"]}')
    both.rest()
    assert both.equal("storytellers", TELLER)
    assert value(both.hub, "storytellers", "name", two) == "hub changed"
    assert value(both.hub, "storytellers", "metadata", one) == {"by": ["the", "spoke"]}
    both.spoke.execute("DELETE FROM storytellers WHERE id = %s", [one])
    both.hub.execute("DELETE FROM storytellers WHERE id = %s", [two])
    both.rest()
    for connection in (both.hub, both.spoke):
        assert not seen(connection, "storytellers", one)
        assert not seen(connection, "storytellers", two)


def test_edits_of_different_fields_at_the_same_time_are_both_kept(both: Linked, workspace: uuid.UUID) -> None:
    key = a_teller(both, both.hub, workspace)
    with both.held():
        put(both.hub, "storytellers", key, name="ours")
        put(both.spoke, "storytellers", key, consent_given=True)
    both.rest()
    for connection in (both.hub, both.spoke):
        assert value(connection, "storytellers", "name", key) == "ours"
        assert value(connection, "storytellers", "consent_given", key) is True
    assert listed(both, key) == []


def test_an_edit_of_the_same_field_within_the_skew_goes_to_the_hub_and_is_listed(
    both: Linked, workspace: uuid.UUID
) -> None:
    key = a_teller(both, both.hub, workspace)
    with both.held():
        put(both.hub, "storytellers", key, name="ours")
        put(both.spoke, "storytellers", key, name="theirs")
    both.rest()
    assert value(both.hub, "storytellers", "name", key) == "ours"
    assert value(both.spoke, "storytellers", "name", key) == "ours"
    assert listed(both, key) == [
        ("name", "update_origin_differs", "latest", "keep_local", "ours", '"ours"', '"theirs"')
    ]


def test_fixed_rules_decide_whatever_the_time(both: Linked, workspace: uuid.UUID) -> None:
    teller = a_teller(both, both.hub, workspace)
    story = a_story(both, teller, workspace, content="as it was")
    with both.held():
        put(both.hub, "stories", story, content="ours")
        put(both.spoke, "stories", story, content="theirs")
        put(both.hub, "storytellers", teller, cultural_background="ours")
        put(both.spoke, "storytellers", teller, cultural_background="theirs")
    both.rest()
    for connection in (both.hub, both.spoke):
        assert value(connection, "stories", "content", story) == "ours"
        assert value(connection, "storytellers", "cultural_background", teller) == "theirs"


def test_sets_are_merged_whoever_adds_and_takes_out(both: Linked, workspace: uuid.UUID) -> None:
    teller = a_teller(both, both.hub, workspace)
    story = a_story(both, teller, workspace, themes=["land", "water"])
    with both.held():
        put(both.hub, "stories", story, themes=["land", "water", 'fire, and "smoke"'])
        put(both.spoke, "stories", story, themes=["water", "äther"])
    both.rest()
    for connection in (both.hub, both.spoke):
        assert set(value(connection, "stories", "themes", story)) == {"water", 'fire, and "smoke"', "äther"}


def test_an_edit_of_a_row_that_a_hub_trigger_and_a_merge_have_changed_meets_nobody(
    both: Linked, workspace: uuid.UUID
) -> None:
    """The spoke edits again before it hears what the hub has made of its first edit."""
    both.hub.execute(
        """
        CREATE OR REPLACE FUNCTION tidy() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            NEW.title := upper(NEW.title);
            RETURN NEW;
        END
        $$;
        CREATE TRIGGER tidy BEFORE INSERT OR UPDATE ON stories FOR EACH ROW EXECUTE FUNCTION tidy();
        """
    )
    try:
        story = a_story(both, a_teller(both, both.hub, workspace), workspace, themes=["land"])
        with both.held():
            put(both.hub, "stories", story, themes=["land", "fire"])
            put(both.spoke, "stories", story, title="first", themes=["land", "water"])
        put(both.spoke, "stories", story, title="second")
        both.rest()
        for connection in (both.hub, both.spoke):
            assert value(connection, "stories", "title", story) == "SECOND"
            assert set(value(connection, "stories", "themes", story)) == {"land", "fire", "water"}
        assert {one[0] for one in listed(both, story)} <= {"themes"}, "the title was nobody else's"
    finally:
        both.hub.execute("DROP TRIGGER tidy ON stories")


def test_an_edit_of_what_goes_outward_only_is_put_back(both: Linked, workspace: uuid.UUID) -> None:
    teller = a_teller(both, both.hub, workspace)
    slug = uuid.uuid4().hex
    story = a_story(both, teller, workspace, slug=slug)
    put(both.spoke, "stories", story, slug="mine")
    until(lambda: value(both.spoke, "stories", "slug", story) == slug)
    assert value(both.hub, "stories", "slug", story) == slug


def test_a_manual_field_waits_for_a_person_and_nothing_else_waits_with_it(both: Linked, workspace: uuid.UUID) -> None:
    key = a_teller(both, both.hub, workspace, bio="as it was")
    with both.held():
        put(both.hub, "storytellers", key, bio="ours")
        put(both.spoke, "storytellers", key, bio="theirs", name="of the spoke")
    both.rest()
    assert value(both.hub, "storytellers", "bio", key) == "ours"
    assert value(both.spoke, "storytellers", "bio", key) == "theirs"
    put(both.hub, "storytellers", key, metadata='{"later": 1}')
    both.rest()
    for connection in (both.hub, both.spoke):
        assert value(connection, "storytellers", "name", key) == "of the spoke"
        assert value(connection, "storytellers", "metadata", key) == {"later": 1}
    waiting = "SELECT count(*) FROM placemat.conflicts WHERE waits AND key = %s"
    assert both.hub.execute(waiting, [f'{{"id":"{key}"}}']).fetchone() == (1,)


def test_a_deletion_loses_against_a_newer_edit_and_the_row_comes_back_whole(both: Linked, workspace: uuid.UUID) -> None:
    key = a_teller(both, both.hub, workspace)
    with both.held():
        put(both.hub, "storytellers", key, name="edited at the same time")
        both.spoke.execute("DELETE FROM storytellers WHERE id = %s", [key])
    both.rest()
    assert value(both.hub, "storytellers", "name", key) == "edited at the same time"
    assert value(both.spoke, "storytellers", "name", key) == "edited at the same time"
    assert [one[:5] for one in listed(both, key)] == [(None, "delete_origin_differs", "latest", "keep_local", "ours")]


def test_a_new_child_of_a_parent_that_the_hub_has_deleted_is_a_conflict_and_never_a_cascade(
    both: Linked, workspace: uuid.UUID
) -> None:
    teller = a_teller(both, both.hub, workspace)
    with both.held():
        both.hub.execute("DELETE FROM storytellers WHERE id = %s", [teller])
        story = made(both.spoke, "stories", workspace_id=workspace, storyteller_id=teller, title="New")
    both.rest()
    assert seen(both.spoke, "stories", story)
    assert not seen(both.hub, "stories", story)
    assert [one[1] for one in listed(both, story)] == ["fk_parent_missing"]
    assert seen(both.spoke, "storytellers", teller), "its deletion waits for what would go with it"
    both.discard("stories", story)
    for table, key in (("stories", story), ("storytellers", teller)):
        until(lambda t=table, k=key: not seen(both.spoke, t, k), what=f"{table} gone")  # type: ignore[misc]


def test_a_parent_that_a_spoke_has_deleted_stays_where_it_has_a_new_child(both: Linked, workspace: uuid.UUID) -> None:
    teller = a_teller(both, both.hub, workspace)
    with both.held():
        story = made(both.hub, "stories", workspace_id=workspace, storyteller_id=teller, title="New")
        both.spoke.execute("DELETE FROM storytellers WHERE id = %s", [teller])
    both.rest()
    assert seen(both.hub, "stories", story)
    assert [one[1] for one in listed(both, teller)] == ["delete_origin_differs"]
    both.discard("storytellers", teller)
    for table, key in (("storytellers", teller), ("stories", story)):
        until(lambda t=table, k=key: seen(both.spoke, t, k), what=f"{table} back")  # type: ignore[misc]
        assert seen(both.hub, table, key)


def test_a_changed_key_is_changed_on_the_other_side(both: Linked, workspace: uuid.UUID) -> None:
    key, other = a_teller(both, both.hub, workspace, name="moves"), uuid.uuid4()
    both.spoke.execute("UPDATE storytellers SET id = %s WHERE id = %s", [other, key])
    both.rest()
    for connection in (both.hub, both.spoke):
        assert not seen(connection, "storytellers", key)
        assert value(connection, "storytellers", "name", other) == "moves"


def test_each_event_has_one_entry_in_the_audit_log_at_each_target(both: Linked, workspace: uuid.UUID) -> None:
    teller = a_teller(both, both.spoke, workspace)
    with both.held():
        put(both.hub, "storytellers", teller, name="ours")
        put(both.spoke, "storytellers", teller, name="theirs")
    both.rest()
    both.check_audited_once()
    outcomes = {
        outcome
        for (outcome,) in ask(
            both.site.state,
            "SELECT outcome FROM placemat.audit_entries WHERE kind = 'event' AND key = %s",
            [f'{{"id":"{teller}"}}'],
        )
    }
    assert {"applied", "agreed", "echo", "conflict"} <= outcomes
    for target, outcome in ((both.hub_target, "echo"), (both.spoke_name, "agreed")):
        assert metrics.OUTCOMES.labels(target, outcome)._value.get() > 0, "echoes are counted"


def test_a_large_transaction_of_a_spoke_is_not_begun_anew_for_each_of_its_parts(
    both: Linked, workspace: uuid.UUID
) -> None:
    rows = 5_000
    both.hub.execute(
        """CREATE SEQUENCE attempts;
        CREATE FUNCTION attempted() RETURNS trigger LANGUAGE plpgsql
            AS $$ BEGIN PERFORM nextval('public.attempts'); RETURN NEW; END $$;
        CREATE TRIGGER attempted BEFORE INSERT ON projects FOR EACH ROW EXECUTE FUNCTION attempted();
        ALTER TABLE projects ENABLE ALWAYS TRIGGER attempted;
        GRANT USAGE ON SEQUENCE attempts TO public"""
    )
    both.spoke.execute(
        "INSERT INTO projects (workspace_id, name) SELECT %s, 'of many ' || n FROM generate_series(1, %s) AS n",
        [workspace, rows],
    )
    query = b"SELECT count(*) FROM projects WHERE name LIKE 'of many %'"
    until(lambda: both.hub.execute(query).fetchone() == (rows,), 60)
    (attempts,) = both.hub.execute("SELECT last_value FROM attempts").fetchone() or (0,)
    both.hub.execute("DROP TRIGGER attempted ON projects; DROP SEQUENCE attempts")
    assert rows <= attempts <= 2 * rows
