"""Many pages or rows go at once, as by a mistake: the other side keeps its own, and an operator puts them back."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.fix_office import Office
from tests.waiting import until

NAMES = ("Garden", "Kitchen", "Library", "Orchard", "Workshop")
GUARD = {"least": 1, "share": 0.1}


def held(office: Office, target: str) -> bool:
    return f"placemat resume {target} --reject-deletes" in office.mirrored.site.placemat("status").out


def answer(office: Office, target: str, word: str, *, through: Callable[[], bool]) -> None:
    """As often as it is asked: each page that goes is a commit of its own."""

    def answered() -> bool:
        if held(office, target):
            office.mirrored.site.placemat("resume", target, f"--{word}-deletes", "--reason", "asked for")
        return through()

    until(answered, 30, what="the answers taken")


@pytest.fixture
def guarded(office: Office) -> Office:
    for target in (office.mirrored.name, office.mirrored.back):
        office.mirrored.site.set(f"targets.{target}.delete_guard", GUARD)
    office.mirrored.site.set(f"sources.{office.mirrored.site.source}.restore_url", office.mirrored.site.primary)
    for name in NAMES:
        office.project(name=name, budget=1)
    return office


def everything() -> list[tuple[str, str, int]]:
    return [(name, "planned", 1) for name in NAMES]


def thrown_away(office: Office, count: int) -> None:
    notion = office.notion
    for page in sorted(notion.store.pages("Projects"), key=lambda page: str(notion.store.shown(page, "Name")))[:count]:
        notion.people.trash(page)


def test_pages_that_people_have_thrown_away_by_mistake_come_out_of_the_trash(guarded: Office) -> None:
    notion, back = guarded.notion, guarded.mirrored.back
    with guarded.mirrored.running():
        guarded.until_both(*everything())
        before = {page.id for page in notion.store.pages("Projects")}
        thrown_away(guarded, 4)
        until(lambda: held(guarded, back), 30, what="the deletes held")
        assert len(guarded.hub_rows()) == 5
        answer(guarded, back, "reject", through=lambda: len(guarded.pages()) == 5)
        guarded.until_both(*everything())
    assert {page.id for page in notion.store.pages("Projects")} == before, "the same pages"


def test_pages_that_people_meant_to_throw_away_take_their_rows_with_them(guarded: Office) -> None:
    with guarded.mirrored.running():
        guarded.until_both(*everything())
        thrown_away(guarded, 4)
        answer(guarded, guarded.mirrored.back, "confirm", through=lambda: len(guarded.hub_rows()) == 1)
        guarded.until_both(everything()[-1])


def test_rows_that_went_by_mistake_keep_their_pages_until_they_are_restored(guarded: Office) -> None:
    """Notion has not all of their columns: the history has."""
    mirrored, notion = guarded.mirrored, guarded.notion
    with mirrored.running():
        guarded.until_both(*everything())
        before = {page.id for page in notion.store.pages("Projects")}
        mirrored.settled()
        [(then,)] = mirrored.hub.execute("SELECT clock_timestamp()::text").fetchall()
        mirrored.hub.execute("DELETE FROM projects WHERE name <> 'Workshop'")
        until(lambda: held(guarded, mirrored.name), 30, what="the deletes held")
        assert len(guarded.pages()) == 5
        done = mirrored.site.placemat("restore", "public.projects", "--at", then, "--source", mirrored.site.source)
        assert done.code == 0, done.err
        assert mirrored.site.placemat("resume", mirrored.name, "--reject-deletes").code == 0
        guarded.until_both(*everything())
    assert {page.id for page in notion.store.pages("Projects")} == before, "they were never gone there"
