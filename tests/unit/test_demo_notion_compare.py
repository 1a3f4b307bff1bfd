"""Who counts in the demo what Notion has: whatever is not as a row says is found."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from connectors.notion.simulator import NotionSimulator
from daemon.embedded.notion.compare import KEY, Compared, compare
from daemon.embedded.notion.site import ENTITIES

PROJECT, FUNDER, OPPORTUNITY, PERSON = (f"00000000-0000-4000-8000-00000000000{n}" for n in range(4))
ROWS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "projects": {
        PROJECT: {
            "name": "Garden", "status": "paused", "lead": None, "budget": Decimal("12.50"),
            "starts_on": date(2026, 3, 2), "ends_on": None, "description": "",
        }
    },
    "organisations": {FUNDER: {"name": "Trust", "kind": "government", "abn": None, "website": None}},
    "opportunities": {
        OPPORTUNITY: {
            "name": "Round 1", "stage": "won", "amount": None, "probability": 40, "deadline": None,
            "project_id": PROJECT, "funder_id": FUNDER,
        }
    },
    "people": {
        PERSON: {
            "full_name": "Zoë O'Farrelly", "email": "zoe@mail.example", "phone": None, "linkedin_url": None,
            "source": "gmail", "organisation_id": None, "contact_frequency_days": None,
            "last_contacted_at": datetime(2026, 3, 1, 20, 15, 1, 234_567, tzinfo=UTC),
        }
    },
}  # fmt: skip


def rows(**changed: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Mapping[str, Any]]]:
    return {name: {} for name in ENTITIES} | dict(ROWS) | changed


@pytest.fixture
def notion() -> NotionSimulator:
    """Has just what the rows say."""
    found = NotionSimulator()
    people = found.people
    project = people.create(
        "Projects", {KEY: PROJECT, "Name": "Garden", "Status": "Paused", "Budget": 12.5, "Starts": "2026-03-02"}
    )
    funder = people.create("Organisations", {KEY: FUNDER, "Name": "Trust", "Kind": "government"})
    people.create(
        "Opportunities",
        {
            KEY: OPPORTUNITY, "Name": "Round 1", "Stage": "Won", "Probability": 40, "Project": project.id,
            "Funder": funder.id,
        },
    )  # fmt: skip
    people.create(
        "People",
        {
            KEY: PERSON, "Name": "Zoë O'Farrelly", "Email": "zoe@mail.example", "Source": "gmail",
            "Last contacted": "2026-03-02T06:15:01.234+10:00",
        },
    )  # fmt: skip
    return found


def counted(notion: NotionSimulator, **changed: Mapping[str, Mapping[str, Any]]) -> Compared:
    return compare(rows(**changed), notion.store)


def fields(found: Compared) -> list[tuple[str, str | None]]:
    return [(one.database, one.field) for one in found.mismatches]


def test_what_is_as_the_rows_say_is_no_mismatch(notion: NotionSimulator) -> None:
    found = counted(notion)
    assert (found.rows, found.mismatches) == (4, ())
    assert (found.by_database["Projects"], found.by_database["Stories"]) == (1, 0)


@pytest.mark.parametrize(
    ("database", "name", "value"),
    [
        ("Projects", "Name", "Orchard"),
        ("Projects", "Status", "Active"),
        ("Projects", "Lead", "Ada"),
        ("Projects", "Budget", 12.51),
        ("Projects", "Starts", "2026-03-03"),
        ("Opportunities", "Project", []),
        ("People", "Email", None),
        ("People", "Last contacted", "2026-03-02T06:15:01.235+10:00"),
    ],
)
def test_each_value_that_differs_is_one(notion: NotionSimulator, database: str, name: str, value: object) -> None:
    [page] = notion.store.pages(database)
    notion.people.edit(page, {name: value})
    assert fields(counted(notion)) == [(database, "title" if name == "Name" else name)]


def test_a_page_in_the_trash_is_missing_and_so_is_the_one_that_others_name(notion: NotionSimulator) -> None:
    notion.people.trash(notion.store.pages("Organisations")[0])
    found = counted(notion)
    assert ("Organisations", None) in fields(found)


def test_a_second_page_of_a_row_is_one_too_many(notion: NotionSimulator) -> None:
    notion.people.create("Projects", {KEY: PROJECT, "Name": "Garden"})
    assert str(counted(notion).mismatches[0]) == (f"Projects {PROJECT}: Notion has '2 pages', and is to have '1 pages'")


def test_a_page_without_a_key_or_of_a_row_that_is_not_shown_is_one_too_many(notion: NotionSimulator) -> None:
    notion.people.create("Stories", {"Name": "Nobody's"})
    assert fields(counted(notion, people={})) == [("People", None), ("Stories", None)]


def test_a_row_whose_parent_is_not_shown_names_none(notion: NotionSimulator) -> None:
    notion.people.edit(notion.store.pages("Opportunities")[0], {"Funder": []})
    notion.people.trash(notion.store.pages("Organisations")[0])
    assert not counted(notion, organisations={}).mismatches
