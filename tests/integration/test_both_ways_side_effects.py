"""What the hub's triggers and foreign keys make of what we write is ours, and nobody waits for its being observed."""

from __future__ import annotations

import uuid

import pytest

from tests.fix_linked import Linked
from tests.people import TELLER, a_teller, a_workspace, made, put, seen, value
from tests.triggers import FIRST_STORY
from tests.waiting import until

DERIVED = """
CREATE FUNCTION derive() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.name <> OLD.name THEN NEW.bio := 'derived from ' || NEW.name; END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER derive BEFORE UPDATE ON storytellers FOR EACH ROW EXECUTE FUNCTION derive();
"""


def prepare(linked: Linked) -> None:
    linked.hub.execute(DERIVED.encode())
    linked.hub.execute("ALTER TABLE stories ADD CHECK (title <> 'unwelcome')")
    for where, connection in (("hub", linked.hub), ("spoke", linked.spoke)):
        connection.execute(FIRST_STORY.replace("{where}", where).encode())


def conflicts(both: Linked, key: uuid.UUID) -> list[tuple[object, ...]]:
    query = "SELECT field, kind, resolution, won FROM placemat.conflict_log WHERE key = %s"
    return both.hub.execute(query, [f'{{"id":"{key}"}}']).fetchall()


def test_a_row_is_edited_and_deleted_in_one_transaction_though_a_trigger_derives_a_field(
    both: Linked, workspace: uuid.UUID
) -> None:
    key = a_teller(both, both.spoke, workspace, name="one")
    with both.spoke.transaction():
        put(both.spoke, "storytellers", key, name="two")
        both.spoke.execute("DELETE FROM storytellers WHERE id = %s", [key])
    until(lambda: not seen(both.hub, "storytellers", key))
    both.rest()
    assert both.equal("storytellers", TELLER)
    assert conflicts(both, key) == []


def test_what_a_person_writes_over_what_a_trigger_has_derived_in_the_same_transaction_stands(
    both: Linked, workspace: uuid.UUID
) -> None:
    key = a_teller(both, both.spoke, workspace, name="one")
    with both.spoke.transaction():
        put(both.spoke, "storytellers", key, name="two")
        put(both.spoke, "storytellers", key, bio="of a person")
    until(lambda: value(both.hub, "storytellers", "bio", key) == "of a person")
    both.rest()
    assert both.equal("storytellers", TELLER)
    assert conflicts(both, key) == []


@pytest.mark.parametrize("site", ["hub", "spoke"])
def test_a_row_that_triggers_of_both_sides_make_is_one_row(both: Linked, workspace: uuid.UUID, site: str) -> None:
    connection = both.spoke if site == "spoke" else both.hub
    key = made(connection, "storytellers", workspace_id=workspace, name="one", bio="tells one")
    [(story,)] = connection.execute("SELECT id FROM stories WHERE storyteller_id = %s", [key]).fetchall()
    both.until_equal("stories", "id, title, content")
    both.rest()
    put(both.hub, "stories", story, title="edited at the hub")
    both.until_equal("stories", "id, title, content")
    put(both.spoke, "stories", story, title="edited in the spoke")
    until(lambda: value(both.hub, "stories", "title", story) == "edited in the spoke")
    both.rest()
    assert both.equal("stories", "id, title, content")


def test_a_row_that_triggers_of_both_sides_make_beside_one_without_its_parent_is_one_row(
    both: Linked, workspace: uuid.UUID
) -> None:
    teller = a_teller(both, both.spoke, workspace)
    refused = made(both.spoke, "stories", workspace_id=workspace, storyteller_id=teller, title="unwelcome")
    until(lambda: both.hub.execute("SELECT 1 FROM placemat.parked").fetchone())
    with both.spoke.transaction():
        media = made(both.spoke, "story_media", workspace_id=workspace, story_id=refused, kind="image", url="a")
        key = made(both.spoke, "storytellers", workspace_id=workspace, name="one", bio="tells one")
    until(lambda: seen(both.hub, "storytellers", key))
    put(both.spoke, "stories", refused, title="welcome")
    until(lambda: seen(both.hub, "story_media", media))
    both.rest()
    assert both.equal("stories", "id, title, content")


def test_after_an_outage_edits_and_deletions_are_taken_though_a_trigger_derives_a_field(linked: Linked) -> None:
    prepare(linked)
    linked.init()
    with linked.running():
        workspace = a_workspace(linked)
        gone, kept = (a_teller(linked, linked.spoke, workspace, name="one") for _ in range(2))
    for key in (gone, kept):
        put(linked.spoke, "storytellers", key, name="two")
    linked.spoke.execute("DELETE FROM storytellers WHERE id = %s", [gone])
    put(linked.spoke, "storytellers", kept, bio="of a person")
    with linked.running():
        until(lambda: not seen(linked.hub, "storytellers", gone))
        until(lambda: value(linked.hub, "storytellers", "bio", kept) == "of a person")
        linked.rest()
        assert linked.equal("storytellers", TELLER)


def test_what_a_foreign_key_empties_is_no_edit_that_keeps_a_row_or_a_value(linked: Linked) -> None:
    linked.init()
    with linked.running():
        workspace = a_workspace(linked)
        teller = a_teller(linked, linked.hub, workspace)
        before, after = (made(linked.hub, "projects", workspace_id=workspace, name=name) for name in ("one", "two"))
        story = {"workspace_id": workspace, "storyteller_id": teller, "project_id": before, "title": "told"}
        kept, gone = (made(linked.hub, "stories", **story) for _ in range(2))
        linked.rest()
    with linked.spoke.transaction():
        for key in (kept, gone):
            put(linked.spoke, "stories", key, title="edited in the spoke")
        linked.spoke.execute("DELETE FROM projects WHERE id = %s", [before])
        put(linked.spoke, "stories", kept, project_id=after)
        linked.spoke.execute("DELETE FROM stories WHERE id = %s", [gone])
    with linked.running():
        until(lambda: not seen(linked.hub, "stories", gone))
        until(lambda: value(linked.hub, "stories", "project_id", kept) == after)
        linked.rest()
        assert linked.equal("stories", "id, title, project_id")
        assert conflicts(linked, gone) == conflicts(linked, kept) == []
