"""What only the hub's triggers make while a spoke's change is written there comes to all spokes, also to that one; what
they make impossible stops nothing else."""

from __future__ import annotations

import uuid

from tests.fix_linked import Linked
from tests.people import TELLER, a_teller, made, put, seen, value
from tests.triggers import FIRST_STORY
from tests.waiting import until

STORY = "id, title, content"
TRIGGERS = """
CREATE FUNCTION moves() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE public.stories SET id = md5(id::text)::uuid WHERE storyteller_id = NEW.id;
    RETURN NEW;
END
$$;
CREATE TRIGGER moves AFTER UPDATE ON storytellers FOR EACH ROW WHEN (NEW.name = 'move') EXECUTE FUNCTION moves();
CREATE FUNCTION itself() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF pg_trigger_depth() > 1 THEN RETURN NEW; END IF;
    INSERT INTO public.storytellers SELECT NEW.*;
    RETURN NULL;
END
$$;
CREATE TRIGGER itself BEFORE INSERT ON storytellers FOR EACH ROW WHEN (NEW.name = 'itself') EXECUTE FUNCTION itself();
CREATE FUNCTION locks() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    LOCK TABLE public.storytellers;
    NEW.bio := 'number ' || (SELECT count(*) FROM public.storytellers);
    RETURN NEW;
END
$$;
CREATE TRIGGER locks BEFORE UPDATE ON storytellers FOR EACH ROW WHEN (NEW.name = 'lock') EXECUTE FUNCTION locks();
"""


def prepare(linked: Linked) -> None:
    linked.hub.execute(FIRST_STORY.replace("{where}", "hub").encode())
    linked.hub.execute(TRIGGERS.encode())


def test_a_row_that_a_trigger_makes_for_a_spokes_row_comes_to_that_spoke_too(
    both: Linked, workspace: uuid.UUID
) -> None:
    teller = made(both.spoke, "storytellers", workspace_id=workspace, name="one", bio="tells one")
    [(story,)] = until(
        lambda: both.spoke.execute("SELECT id FROM stories WHERE storyteller_id = %s", [teller]).fetchall()
    )
    put(both.hub, "stories", story, title="edited at the hub")
    until(lambda: value(both.spoke, "stories", "title", story) == "edited at the hub")
    put(both.spoke, "stories", story, title="edited in the spoke")
    until(lambda: value(both.hub, "stories", "title", story) == "edited in the spoke")
    both.rest()
    assert both.equal("stories", STORY)


def test_a_row_whose_key_a_trigger_changes_has_its_new_key_in_the_spoke_too(both: Linked, workspace: uuid.UUID) -> None:
    teller = a_teller(both, both.spoke, workspace, name="one")
    story = made(both.spoke, "stories", workspace_id=workspace, storyteller_id=teller, title="told", content="told")
    both.rest()
    put(both.spoke, "storytellers", teller, name="move")
    until(lambda: not seen(both.spoke, "stories", story))
    both.rest()
    assert both.equal("stories", STORY)
    assert both.spoke.execute("SELECT title FROM stories WHERE storyteller_id = %s", [teller]).fetchall() == [("told",)]


def test_a_row_that_a_trigger_makes_itself_instead_of_ours_is_parked_and_holds_up_no_other(
    both: Linked, workspace: uuid.UUID
) -> None:
    key = made(both.spoke, "storytellers", workspace_id=workspace, name="itself")
    beside = made(both.spoke, "storytellers", workspace_id=workspace, name="beside")
    until(lambda: seen(both.hub, "storytellers", beside))
    query = "SELECT kind, sqlstate FROM placemat.parked WHERE key::text = %s"
    assert both.hub.execute(query, [f'{{"id":"{key}"}}']).fetchall() == [("refused", "02000")]
    put(both.spoke, "storytellers", key, name="as it may be")
    until(lambda: value(both.hub, "storytellers", "name", key) == "as it may be")
    both.rest()
    assert both.equal("storytellers", TELLER)


def test_a_table_that_a_trigger_locks_against_all_who_read_rests_alone_and_says_so(
    both: Linked, workspace: uuid.UUID
) -> None:
    key = a_teller(both, both.spoke, workspace, name="one")
    with both.spoke.transaction():
        put(both.spoke, "storytellers", key, name="lock")
        both.spoke.execute("DELETE FROM storytellers WHERE id = %s", [key])
    project = made(both.spoke, "projects", workspace_id=workspace, name="beside")
    until(lambda: seen(both.hub, "projects", project))
    target = both.hub_target
    told = f"A trigger of target {target} locks public.storytellers against all who read it"
    assert told in both.site.placemat("status").out
    both.hub.execute("DROP TRIGGER locks ON storytellers")
    assert both.site.placemat("resume", target, "public.storytellers").code == 0
    until(lambda: not seen(both.hub, "storytellers", key))
    both.rest()
    assert both.equal("storytellers", TELLER)
