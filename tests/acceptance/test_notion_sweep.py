"""What no look for changes tells of Notion, and what holds another's key: found, and told to people."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fix_office import Office
from tests.waiting import until


@pytest.fixture
def swept(office: Office) -> Iterator[Office]:
    """All pages are listed again and again."""
    office.mirrored.site.values["targets"][office.mirrored.name]["sweep_seconds"] = 0.5
    office.mirrored.site.write()
    with office.mirrored.running():
        yield office


def test_a_page_that_is_deleted_for_good_unseen_leaves_the_hub(swept: Office) -> None:
    swept.project(name="Garden")
    swept.project(name="Orchard")
    swept.until_both(("Garden", "planned", None), ("Orchard", "planned", None))
    page = next(
        page for page in swept.notion.store.pages("Projects") if swept.notion.store.shown(page, "Name") == "Orchard"
    )
    swept.notion.people.delete_forever(page)
    swept.until_both(("Garden", "planned", None))


def test_the_status_names_what_people_have_to_decide(swept: Office) -> None:
    key = swept.project(name="Garden")
    swept.until_both(("Garden", "planned", None))
    people, site = swept.notion.people, swept.mirrored.site
    [bot] = [connection.bot for connection in swept.notion.store.connections.values()]
    ours = people.create("Projects", {"Name": "left behind", "Sync Key": str(key)}, by=bot)
    until(lambda: ours.in_trash, 30, what="the second page in the trash")
    people.restore(ours)

    def strays() -> list[dict[str, str]]:
        found: list[dict[str, str]] = site.placemat("status", "--json").json["targets"][swept.mirrored.name]["strays"]
        return found

    reason = "we have made it, and it was edited since"
    told = {"table": "public.projects", "key": f'{{"id":"{key}"}}', "record": ours.id, "reason": reason}
    until(lambda: strays() == [told], 30, what="the stray in the status")
    assert f"{ours.id}, of public.projects" in site.placemat("status").out
    people.trash(ours)
    until(lambda: strays() == [], 30, what="nothing to decide")
    assert swept.hub_rows() == [("Garden", "planned", None)]


def test_many_pages_that_are_deleted_for_good_are_asked_about(office: Office) -> None:
    site, back = office.mirrored.site, office.mirrored.back
    site.values["targets"][office.mirrored.name]["sweep_seconds"] = 0.5
    site.values["targets"][back]["delete_guard"] = {"least": 2}
    site.write()
    names = [f"p{at}" for at in range(6)]
    expected = [(name, "planned", None) for name in names]
    with office.mirrored.running():
        for name in names:
            office.project(name=name)
        office.until_both(*expected)
        with office.notion.store.lock:
            for page in office.notion.store.pages("Projects")[:4]:
                office.notion.people.delete_forever(page)

        def held() -> int:
            found = site.placemat("status", "--json").json["targets"][back]["held"]
            return sum(table["rows"] for one in found for table in one["tables"]) if found else 0

        until(lambda: held() > 0, 60, what="a question")
        office.mirrored.until("SELECT count(*) FROM public.projects", [(2,)])
        assert len(office.hub_rows()) == 5, "one row goes unasked, and no other"
