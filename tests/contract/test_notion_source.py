"""What has changed in Notion is told whole, whatever the listing's limits, on the simulator."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta

import pytest

from connectors.errors import OperatorError
from connectors.notion.fields import Field
from connectors.notion.simulator import Fault
from connectors.notion.source import NotionSource
from connectors.service import Done, NotDone, Page, Remote
from tests.contract.notion_contract import Contract
from tests.contract.test_notion_sink import FIELDS, PROJECTS, service
from tests.fix_notion import Simulate, Simulated


@pytest.fixture
def source(notion: Simulated) -> Iterator[NotionSource]:
    with ExitStack() as stack:
        yield source_of(notion, stack)


def source_of(notion: Simulated, stack: ExitStack, fields: Sequence[Field] = FIELDS[PROJECTS]) -> NotionSource:
    own = service(notion, stack, {PROJECTS: fields})
    return NotionSource(own._client, own._entities, "notion")


def listed(source: NotionSource, since: int = 0) -> list[Remote]:
    found: list[Remote] = []
    cursor: str | None = None
    while True:
        page = source.changed(PROJECTS, since, cursor)
        assert isinstance(page, Page)
        found += page.remotes
        cursor = page.cursor
        if cursor is None:
            return found


def moment(notion: Simulated) -> int:
    return round(notion.clock.now.timestamp() * 1_000_000)


def test_what_was_edited_since_a_moment_is_told_and_what_is_in_the_trash_too(
    notion: Simulated, source: NotionSource
) -> None:
    people = notion.simulator.people
    old, edited, trashed = (people.create("Projects", {"Name": name}) for name in ("old", "edited", "trashed"))
    notion.clock.advance(600)
    since = moment(notion)
    people.edit(edited, {"Budget": 7})
    people.trash(trashed)
    assert {(one.id, one.gone) for one in listed(source)} == {(old.id, False), (edited.id, False), (trashed.id, True)}
    found = {one.id: one for one in listed(source, since)}
    assert {id_: one.gone for id_, one in found.items()} == {edited.id: False, trashed.id: True}
    assert found[edited.id].fields["budget"] == "7"
    assert found[edited.id].author == people.first.id


def test_two_edits_in_one_minute_are_both_told(notion: Simulated, source: NotionSource) -> None:
    page = notion.simulator.people.create("Projects", {"Name": "a"})
    notion.clock.advance(1)
    assert listed(source, moment(notion))[0].fields["name"] == "a"
    notion.simulator.people.edit(page, {"Name": "b"})
    assert listed(source, moment(notion))[0].fields["name"] == "b", "in the same minute as the first"
    assert listed(source, moment(notion))[0].latest >= moment(notion), "it may have been edited until its end"


def test_a_listing_that_ends_at_its_limit_goes_on_from_there(simulate: Simulate) -> None:
    notion = simulate(query_rows=120)
    with ExitStack() as stack:
        for at in range(300):
            notion.simulator.people.create("Projects", {"Name": str(at)}, at=notion.clock.now + timedelta(minutes=at))
        names = {one.fields["name"] for one in listed(source_of(notion, stack))}
    assert names == {str(at) for at in range(300)}


def test_more_than_a_listing_holds_within_one_minute_is_said_and_not_passed_over(simulate: Simulate) -> None:
    notion = simulate(query_rows=120)
    with ExitStack() as stack:
        for at in range(130):
            notion.simulator.people.create("Projects", {"Name": str(at)})
        with pytest.raises(
            OperatorError, match=r"More than 10,000 pages of public\.projects were made, and so many edited, in Notion"
        ):
            listed(source_of(notion, stack))


@pytest.mark.parametrize("made", [False, True])
def test_pages_that_were_all_edited_or_all_made_in_one_minute_are_told_by_their_other_time(
    simulate: Simulate, made: bool
) -> None:
    notion = simulate(query_rows=120)
    with ExitStack() as stack:
        source = source_of(notion, stack)
        since = moment(notion)
        for at in range(130):
            then = notion.clock.now if made else notion.clock.now - timedelta(minutes=at + 10)
            page = notion.simulator.people.create("Projects", {"Name": str(at)}, at=then)
            moved = notion.clock.now + timedelta(minutes=at) if made else notion.clock.now
            notion.simulator.people.edit(page, {"Budget": 7}, at=moved)
        for begin in (0, since):
            assert {one.fields["name"] for one in listed(source, begin)} == {str(at) for at in range(130)}


def test_a_listing_that_is_not_answered_is_not_the_end_of_it(notion: Simulated, source: NotionSource) -> None:
    notion.simulator.people.create("Projects", {"Name": "a"})
    notion.simulator.faults.add(Fault("failed", "query_data_source"))
    assert isinstance(source.changed(PROJECTS, 0, None), NotDone)


def test_a_page_that_people_have_made_is_given_its_key(
    notion: Simulated, source: NotionSource, notion_contract: Contract
) -> None:
    page = notion.simulator.people.create("Projects", {"Name": "a"})
    [found] = listed(source)
    assert found.key is None
    claimed = source.claim(PROJECTS, page.id, "k-1")
    assert isinstance(claimed, Done)
    assert claimed.remote is not None
    assert replace(claimed.remote, version="", latest=0, author=None, key=None) == replace(
        found, version="", latest=0, author=None
    )
    assert [one.key for one in listed(source)] == ["k-1"]
    assert notion_contract.checked["UpdatePageParameters"] == 1
