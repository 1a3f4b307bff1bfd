"""What a spoke's people do to a row several times in one transaction, or a trigger of the hub beside them, ends as they
see it, and is theirs when they go on."""

from __future__ import annotations

import uuid

import pytest

from tests.fix_linked import Linked
from tests.people import TELLER, a_teller, a_workspace, made, put, seen, value
from tests.waiting import until

STORY = "id, title, content"
TRIGGERS = """
CREATE FUNCTION drops() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM public.stories WHERE storyteller_id = NEW.id;
    RETURN NEW;
END
$$;
CREATE TRIGGER drops AFTER UPDATE ON storytellers FOR EACH ROW WHEN (NEW.name = 'drop') EXECUTE FUNCTION drops();
CREATE FUNCTION spread() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE public.stories SET content = 'spread ' || NEW.bio WHERE storyteller_id = NEW.id;
    RETURN NEW;
END
$$;
CREATE TRIGGER spread AFTER UPDATE ON storytellers FOR EACH ROW WHEN (NEW.bio IS DISTINCT FROM OLD.bio)
EXECUTE FUNCTION spread();
"""


def prepare(linked: Linked) -> None:
    linked.hub.execute(TRIGGERS.encode())


def conflicts(both: Linked, key: uuid.UUID) -> list[tuple[object, ...]]:
    query = "SELECT field, kind, resolution, won FROM placemat.conflict_log WHERE key = %s"
    return both.hub.execute(query, [f'{{"id":"{key}"}}']).fetchall()


def a_story(both: Linked, workspace: uuid.UUID, teller: uuid.UUID, **values: object) -> uuid.UUID:
    key = made(both.spoke, "stories", workspace_id=workspace, storyteller_id=teller, **values)
    both.rest()
    return key


@pytest.mark.parametrize("way", ["made and deleted", "edited and deleted", "deleted and made"])
def test_a_row_that_goes_or_comes_twice_in_a_transaction_is_its_spokes(
    both: Linked, workspace: uuid.UUID, way: str
) -> None:
    key = uuid.uuid4()
    row = {"id": key, "workspace_id": workspace}
    if way != "made and deleted":
        made(both.spoke, "storytellers", **row, name="one")
        both.rest()
    with both.spoke.transaction():
        if way == "made and deleted":
            made(both.spoke, "storytellers", **row, name="one")
        elif way == "edited and deleted":
            put(both.spoke, "storytellers", key, name="two")
        both.spoke.execute("DELETE FROM storytellers WHERE id = %s", [key])
        if way == "deleted and made":
            made(both.spoke, "storytellers", **row, name="two")
        beside = made(both.spoke, "storytellers", workspace_id=workspace, name="beside")
    until(lambda: seen(both.hub, "storytellers", beside))
    if way == "deleted and made":
        put(both.spoke, "storytellers", key, name="again")
    else:
        made(both.spoke, "storytellers", **row, name="again")
    both.rest()
    assert value(both.hub, "storytellers", "name", key) == "again"
    assert both.equal("storytellers", TELLER)
    assert conflicts(both, key) == []


@pytest.mark.parametrize("trigger", ["bio", "name"])
def test_an_answer_tells_the_row_as_triggers_beside_it_have_left_it(
    both: Linked, workspace: uuid.UUID, trigger: str
) -> None:
    teller = a_teller(both, both.spoke, workspace, name="one")
    story = a_story(both, workspace, teller, title="old", content="told")
    with both.held():
        put(both.hub, "stories", story, title="alike")
        with both.spoke.transaction():
            put(both.spoke, "storytellers", teller, **{trigger: "drop"})
            put(both.spoke, "stories", story, title="alike")
    until(lambda: value(both.hub, "storytellers", trigger, teller) == "drop")
    both.rest()
    assert value(both.hub, "stories", "content", story) == ("spread drop" if trigger == "bio" else None)
    assert both.equal("stories", STORY)


def test_an_edit_beside_the_deletion_of_its_row_by_a_trigger_is_listed(both: Linked, workspace: uuid.UUID) -> None:
    teller = a_teller(both, both.spoke, workspace, name="one")
    story = a_story(both, workspace, teller, title="old", content="told")
    with both.spoke.transaction():
        put(both.spoke, "storytellers", teller, name="drop")
        put(both.spoke, "stories", story, title="new")
    until(lambda: value(both.hub, "storytellers", "name", teller) == "drop")
    both.rest()
    assert both.equal("stories", STORY)
    assert conflicts(both, story) == [(None, "update_deleted", "keep_local", "ours")]


@pytest.mark.parametrize("before", ["there before", "made in it"])
def test_a_row_that_a_trigger_takes_away_later_is_not_brought_back_unlisted(
    both: Linked, workspace: uuid.UUID, before: str
) -> None:
    teller, story = a_teller(both, both.spoke, workspace, name="one"), uuid.uuid4()
    row = {"id": story, "workspace_id": workspace, "storyteller_id": teller, "title": "new", "content": "told"}
    if before == "there before":
        made(both.spoke, "stories", **row)
        both.rest()
    with both.held("spoke"):
        with both.spoke.transaction():
            if before == "there before":
                put(both.spoke, "stories", story, title="second")
            else:
                made(both.spoke, "stories", **row)
            put(both.spoke, "storytellers", teller, cultural_background="any")
            put(both.spoke, "storytellers", teller, name="drop")
        until(lambda: value(both.hub, "storytellers", "name", teller) == "drop")
        put(both.spoke, "stories", story, title="edited at the same time")
        beside = made(both.spoke, "storytellers", workspace_id=workspace, name="beside")
        until(lambda: seen(both.hub, "storytellers", beside))
    both.rest()
    assert both.equal("stories", STORY)
    assert conflicts(both, story)


def test_a_row_that_a_trigger_takes_away_on_the_way_comes_back_as_it_is_made_again(
    both: Linked, workspace: uuid.UUID
) -> None:
    teller = a_teller(both, both.spoke, workspace, name="one")
    story = a_story(both, workspace, teller, title="old", content="told")
    with both.spoke.transaction():
        put(both.spoke, "stories", story, title="new")
        put(both.spoke, "storytellers", teller, name="drop")
        both.spoke.execute("DELETE FROM stories WHERE id = %s", [story])
        made(
            both.spoke, "stories", id=story, workspace_id=workspace, storyteller_id=teller, title="new", content="told"
        )
    until(lambda: value(both.hub, "storytellers", "name", teller) == "drop")
    both.rest()
    assert value(both.hub, "stories", "title", story) == "new"
    assert both.equal("stories", STORY)


@pytest.mark.parametrize("change", ["edit", "deletion"])
def test_a_field_that_only_some_spokes_have_holds_up_nobody_who_has_it(ring: Linked, change: str) -> None:
    tables = ring.site.values["targets"][ring.spoke_name]["tables"]["public.storytellers"]
    tables["local"] = [*tables["local"], "bio"]
    ring.site.write()
    ring.init()
    [archive] = ring.others.values()
    with ring.running():
        key = made(ring.spoke, "storytellers", workspace_id=a_workspace(ring), name="one")
        until(lambda: seen(archive, "storytellers", key))
        ring.rest()
        if change == "edit":
            put(archive, "storytellers", key, bio="of the archive")
            until(lambda: value(ring.hub, "storytellers", "bio", key) == "of the archive")
        else:
            archive.execute("DELETE FROM storytellers WHERE id = %s", [key])
            until(lambda: not seen(ring.hub, "storytellers", key))
        ring.rest()
