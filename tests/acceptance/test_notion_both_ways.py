"""Projects of the hub and of Notion, in step: what people do on either side is on the other."""

from __future__ import annotations

from tests.fix_office import Office
from tests.people import put
from tests.waiting import until


def test_what_is_made_on_either_side_is_on_both(at_work: Office) -> None:
    at_work.project(name="Garden", budget=12.5)
    at_work.until_both(("Garden", "planned", 12.5))
    at_work.notion.people.create("Projects", {"Name": "Orchard", "Status": "Active", "Budget": 7})
    at_work.until_both(("Garden", "planned", 12.5), ("Orchard", "active", 7))
    keys = at_work.notion.store.by_key("Projects")
    ids = {str(id_) for (id_,) in at_work.mirrored.hub.execute("SELECT id FROM projects")}
    until(lambda: set(at_work.notion.store.by_key("Projects")) == ids, what="keys on all pages")
    assert all(len(pages) == 1 for pages in keys.values())


def test_edits_on_either_side_come_to_the_other_and_rest(at_work: Office) -> None:
    key = at_work.project(name="Garden", budget=12.5)
    at_work.until_both(("Garden", "planned", 12.5))
    [page] = at_work.notion.store.pages("Projects")
    at_work.notion.people.edit(page, {"Status": "Active"})
    at_work.until_both(("Garden", "active", 12.5))
    put(at_work.mirrored.hub, "projects", key, budget=20)
    at_work.until_both(("Garden", "active", 20))
    at_work.notion.people.trash(page)
    at_work.until_both()
    at_work.notion.people.restore(page)
    at_work.until_both(("Garden", "active", 20))
    at_work.mirrored.hub.execute("DELETE FROM projects")
    at_work.until_both()
    at_work.mirrored.until("SELECT count(*) FROM public.projects", [(0,)])
    at_work.notion.people.restore(page)
    at_work.until_both(("Garden", "active", 20))
    assert len(at_work.notion.store.pages("Projects", in_trash=None)) == 1, "it is the same page all along"


def test_edits_of_different_fields_at_the_same_time_are_both_kept(at_work: Office) -> None:
    key = at_work.project(name="Garden", budget=12.5)
    at_work.until_both(("Garden", "planned", 12.5))
    [page] = at_work.notion.store.pages("Projects")
    at_work.notion.people.edit(page, {"Budget": 99})
    put(at_work.mirrored.hub, "projects", key, name="Orchard")
    at_work.until_both(("Orchard", "planned", 99))


def test_a_property_that_people_rename_is_followed_over_a_restart(office: Office) -> None:
    with office.mirrored.running():
        key = office.project(name="Garden", budget=12.5)
        office.until_both(("Garden", "planned", 12.5))
    office.notion.people.rename_property("Projects", "Budget", "Money")
    office.notion.people.add_property("Projects", "Budget", "number")
    with office.mirrored.running():
        put(office.mirrored.hub, "projects", key, budget=20)
        [page] = office.notion.store.pages("Projects")
        until(lambda: office.notion.store.shown(page, "Money") == 20, 30)
        assert office.notion.store.shown(page, "Budget") is None
