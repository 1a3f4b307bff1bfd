"""The worker that reads Notion is killed beside what it stores, and Notion is away: nothing of what people did there is
lost, and nothing is done twice."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from connectors.notion.simulator import Fault
from daemon import seams
from tests.fix_office import Office
from tests.people import put
from tests.waiting import until

FETCH_SEAMS = (seams.BEFORE_READ_STORED, seams.AFTER_READ_STORED, seams.AFTER_SWEEP_REQUESTED)
KILLED = -9
PAGES = 12

Die = Callable[[str], None]


@pytest.fixture
def die(office: Office, monkeypatch: pytest.MonkeyPatch) -> Die:
    """Run the worker that reads until it has killed itself at a seam; nobody else runs."""

    def run(seam: str) -> None:
        with monkeypatch.context() as environment:
            environment.setenv(seams.VARIABLE, seam)
            worker = office.mirrored.site.spawn("run", f"fetch:{office.mirrored.name}")
            assert worker.wait(120) == KILLED

    return run


@pytest.mark.parametrize("seam", FETCH_SEAMS[:2])
def test_a_reader_killed_beside_what_it_stores_loses_nothing_and_tells_nothing_twice(
    office: Office, die: Die, seam: str
) -> None:
    people = office.notion.people
    pages = [people.create("Projects", {"Name": f"p{at}", "Status": "Planned"}).id for at in range(PAGES)]
    die(f"{seam}:1")
    die(f"{seam}:2")
    expected = [(f"p{at}", "planned", None) for at in range(PAGES)]
    with office.mirrored.running():
        office.until_both(*expected)
        until(lambda: "" not in office.notion.store.by_key("Projects"), 30, what="keys on all pages")
    for at, page in enumerate(pages[:6]):
        people.edit(page, {"Budget": at})
    people.trash(pages[6])
    people.create("Projects", {"Name": "new", "Status": "Active"})
    die(f"{seam}:1")
    die(f"{seam}:3")
    edited = [(name, status, at if at < 6 else None) for at, (name, status, _) in enumerate(expected) if at != 6]
    with office.mirrored.running():
        office.until_both(*edited, ("new", "active", None))
    assert len(office.notion.store.pages("Projects", in_trash=None)) == PAGES + 1


def test_what_was_done_on_both_sides_while_the_service_was_away_is_on_both(office: Office) -> None:
    with office.mirrored.running():
        key = office.project(name="Garden", budget=1)
        office.until_both(("Garden", "planned", 1))
        office.notion.faults.add(Fault("failed", status=503, times=None))
        [page] = office.notion.store.pages("Projects")
        office.notion.people.edit(page, {"Status": "Active"})
        office.notion.people.create("Projects", {"Name": "Orchard", "Status": "Planned"})
        put(office.mirrored.hub, "projects", key, budget=2)
        struck = office.notion.faults.struck
        until(lambda: office.notion.faults.struck > struck + 3, 60, what="requests that fail")
    with office.mirrored.running():
        office.notion.faults.clear()
        office.until_both(("Garden", "active", 2), ("Orchard", "planned", None))
    assert len(office.notion.store.pages("Projects", in_trash=None)) == 2


def test_a_reader_killed_after_it_has_put_a_second_page_into_the_trash_leaves_one(office: Office, die: Die) -> None:
    with office.mirrored.running():
        key = office.project(name="Garden", budget=1)
        office.until_both(("Garden", "planned", 1))
    [bot] = [connection.bot for connection in office.notion.store.connections.values()]
    second = office.notion.people.create("Projects", {"Name": "Garden", "Sync Key": str(key)}, by=bot)
    die(seams.AFTER_SWEEP_REQUESTED)
    assert second.in_trash
    assert office.mirrored.run("SELECT remote_id, trashing FROM placemat.strays") == [(second.id, True)]
    writes = office.notion.counts()["update_page"]
    with office.mirrored.running():
        office.mirrored.until("SELECT count(*) FROM placemat.strays", [(0,)])
        office.until_both(("Garden", "planned", 1))
    assert office.notion.counts()["update_page"] == writes
