"""Queries of the simulator: filters, order, pages of results, and the stop at 10,000 rows."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fix_notion import Simulate, Simulated
from tests.notion_calls import rich, title


def names(found: Any) -> list[str]:
    return ["".join(piece["plain_text"] for piece in one["properties"]["Name"]["title"]) for one in found]


def filtered(notion: Simulated, *filters: dict[str, Any]) -> list[str]:
    body = filters[0] if len(filters) == 1 else {"and": list(filters)}
    return sorted(names(notion.calls.query(notion.source("Projects"), filter=body)["results"]))


@pytest.fixture
def projects(notion: Simulated) -> Simulated:
    """Three, a minute apart: Ash, Birch and Cedar."""
    people = notion.simulator.people
    funded = people.create("Opportunities", {"Name": "Grant"})
    rows: list[dict[str, Any]] = [
        {
            "Name": "Ash",
            "Budget": 10,
            "Area": "Country",
            "Tags": ["a", "b"],
            "Starts": "2026-01-01",
            "Status": "Planned",
        },
        {
            "Name": "Birch",
            "Budget": 20,
            "Area": "Culture",
            "Tags": ["b"],
            "Team": [people.first.id],
            "Status": "Completed",
        },
        {"Name": "Cedar", "Description": "tall Tree", "Starts": "2026-02-01", "Opportunities": [funded.id]},
    ]
    for row in rows:
        people.create("Projects", row)
        notion.clock.advance(60)
    return notion


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"property": "Name", "title": {"equals": "Ash"}}, "Ash"),
        ({"property": "Name", "title": {"does_not_equal": "Ash"}}, "Birch Cedar"),
        ({"property": "Name", "title": {"starts_with": "b"}}, "Birch"),
        ({"property": "Name", "title": {"ends_with": "R"}}, "Cedar"),
        ({"property": "Description", "rich_text": {"contains": "TREE"}}, "Cedar"),
        ({"property": "Description", "rich_text": {"does_not_contain": "tree"}}, "Ash Birch"),
        ({"property": "Description", "rich_text": {"is_empty": True}}, "Ash Birch"),
        ({"property": "Budget", "number": {"greater_than": 10}}, "Birch"),
        ({"property": "Budget", "number": {"less_than_or_equal_to": 20}}, "Ash Birch"),
        ({"property": "Budget", "number": {"is_not_empty": True}}, "Ash Birch"),
        ({"property": "Area", "select": {"equals": "Country"}}, "Ash"),
        ({"property": "Area", "select": {"equals": ["Country", "Culture"]}}, "Ash Birch"),
        ({"property": "Area", "select": {"does_not_equal": "Country"}}, "Birch Cedar"),
        ({"property": "Status", "status": {"equals": "Completed"}}, "Birch"),
        ({"property": "Tags", "multi_select": {"contains": "b"}}, "Ash Birch"),
        ({"property": "Tags", "multi_select": {"does_not_contain": "a"}}, "Birch Cedar"),
        ({"property": "Tags", "multi_select": {"is_empty": True}}, "Cedar"),
        ({"property": "Starts", "date": {"on_or_before": "2026-01-01"}}, "Ash"),
        ({"property": "Starts", "date": {"after": "2026-01-01"}}, "Cedar"),
        ({"property": "Starts", "date": {"past_month": {}}}, "Cedar"),
        ({"property": "Team", "people": {"is_not_empty": True}}, "Birch"),
        ({"property": "Opportunities", "relation": {"is_not_empty": True}}, "Cedar"),
        ({"timestamp": "created_time", "created_time": {"on_or_after": "2026-03-02T09:01:00Z"}}, "Birch Cedar"),
        ({"timestamp": "created_time", "created_time": {"before": "2026-03-02T09:01:00Z"}}, "Ash"),
        ({"timestamp": "last_edited_time", "last_edited_time": {"after": "2026-03-02T09:01:00Z"}}, "Cedar"),
        ({"timestamp": "last_edited_time", "last_edited_time": {"equals": "2026-03-02T09:01:00Z"}}, "Birch"),
        ({"property": "Edited", "last_edited_time": {"on_or_after": "2026-03-02"}}, "Ash Birch Cedar"),
    ],
)
def test_a_filter_finds(projects: Simulated, given: dict[str, Any], expected: str) -> None:
    assert " ".join(filtered(projects, given)) == expected


def test_filters_by_who_and_by_related_page(projects: Simulated) -> None:
    page = projects.simulator.store.pages("Opportunities")[0]

    assert filtered(projects, {"property": "Team", "people": {"contains": projects.simulator.people.first.id}}) == [
        "Birch"
    ]
    assert filtered(projects, {"property": "Opportunities", "relation": {"contains": page.id}}) == ["Cedar"]


def test_filters_are_joined_to_two_levels(projects: Simulated) -> None:
    ash = {"property": "Name", "title": {"equals": "Ash"}}
    budget = {"property": "Budget", "number": {"equals": 20}}
    dear = {"property": "Budget", "number": {"greater_than": 5}}

    assert filtered(projects, {"or": [ash, {"and": [budget, dear]}]}) == ["Ash", "Birch"]
    refused = projects.calls.post(
        f"data_sources/{projects.source('Projects')}/query", {"filter": {"or": [{"and": [{"or": [ash]}]}]}}
    )
    assert refused.status_code == 400


def test_rows_are_sorted_with_empty_values_last(projects: Simulated) -> None:
    source = projects.source("Projects")

    up = projects.calls.query(source, sorts=[{"property": "Budget", "direction": "ascending"}])
    down = projects.calls.query(source, sorts=[{"property": "Budget", "direction": "descending"}])
    newest = projects.calls.query(source, sorts=[{"timestamp": "created_time", "direction": "descending"}])

    assert names(up["results"]) == ["Ash", "Birch", "Cedar"]
    assert names(down["results"]) == ["Birch", "Ash", "Cedar"]
    assert names(newest["results"]) == ["Cedar", "Birch", "Ash"]


def test_results_come_page_by_page_and_only_the_last_says_that_it_is_complete(projects: Simulated) -> None:
    source = projects.source("Projects")

    first = projects.calls.query(source, page_size=2)
    last = projects.calls.query(source, page_size=2, start_cursor=first["next_cursor"])

    assert (first["has_more"], last["has_more"], last["next_cursor"]) == (True, False, None)
    assert sorted(names(first["results"] + last["results"])) == ["Ash", "Birch", "Cedar"]
    assert last["request_status"] == {"type": "complete"}


def test_only_the_properties_that_were_asked_for_are_shown(projects: Simulated) -> None:
    answer = projects.calls.post(
        f"data_sources/{projects.source('Projects')}/query", {}, filter_properties=["title", "Budget"]
    ).json()

    assert {frozenset(one["properties"]) for one in answer["results"]} == {frozenset(["Name", "Budget"])}


@pytest.mark.parametrize(
    "body",
    [
        {"start_cursor": "nothing"},
        {"page_size": 101},
        {"page_size": 0},
        {"filter": {"property": "Nobody", "number": {"equals": 1}}},
        {"filter": {"property": "Name", "number": {"equals": 1}}},
        {"filter": {"property": "Budget", "number": {"equals": "1"}}},
        {"filter": {"property": "Budget", "number": {}}},
        {"filter": {"timestamp": "last_edited_time", "last_edited_time": {"after": "yesterday"}}},
        {"sorts": [{"property": "Nobody", "direction": "ascending"}]},
        {"filters": []},
    ],
)
def test_a_query_that_makes_no_sense_is_refused(notion: Simulated, body: dict[str, Any]) -> None:
    answer = notion.calls.post(f"data_sources/{notion.source('Projects')}/query", body)

    assert (answer.status_code, answer.json()["code"]) == (400, "validation_error")


def test_beyond_the_limit_rows_are_missing_and_only_the_status_of_the_request_tells(contracted: Simulate) -> None:
    notion = contracted(query_rows=5)
    for at in range(6):
        notion.simulator.people.create("Projects", {"Name": f"{at}"})

    first = notion.calls.query(notion.source("Projects"), page_size=3)
    last = notion.calls.query(notion.source("Projects"), page_size=3, start_cursor=first["next_cursor"])

    assert len(first["results"] + last["results"]) == 5
    assert last["has_more"] is False
    assert last["request_status"] == {"type": "incomplete", "incomplete_reason": "query_result_limit_reached"}


def test_the_limit_is_ten_thousand_rows_and_windows_over_the_time_of_creation_find_all(simulate: Simulate) -> None:
    """Without Notion's types: a million values take too long to hold against them, and the bodies are as elsewhere."""
    notion = simulate(connection_per_minute=10_000)
    for at in range(10_020):
        if at == 9_000:
            notion.clock.advance(60)
        notion.simulator.people.create("Places", {})
    source, later = (
        notion.source("Places"),
        {"timestamp": "created_time", "created_time": {"after": "2026-03-02T09:00:00Z"}},
    )
    sorts = [{"timestamp": "created_time", "direction": "ascending"}]

    plain = {one["id"] for one in notion.calls.all(source, sorts=sorts)}
    windows = plain | {one["id"] for one in notion.calls.all(source, sorts=sorts, filter=later)}

    assert len(plain) == 10_000
    assert len(windows) == 10_020


@pytest.mark.parametrize(("lag", "budgets"), [(0, [2]), (5, [None])])
def test_a_query_may_see_a_page_as_it_was_before_it_was_edited(
    contracted: Simulate, lag: float, budgets: list[int | None]
) -> None:
    notion = contracted(query_lag=lag)
    page = notion.calls.create(notion.source("Projects"), {"Name": title("Garden")}).json()
    notion.clock.advance(10)
    for budget in (1, 2):
        notion.calls.update(page["id"], {"Budget": {"number": budget}})

    def seen() -> list[Any]:
        return [
            one["properties"]["Budget"]["number"] for one in notion.calls.query(notion.source("Projects"))["results"]
        ]

    at_once = seen()
    notion.calls.patch(f"pages/{page['id']}", {"in_trash": True})
    trashed = seen()
    notion.clock.advance(5)

    assert at_once == budgets
    assert trashed == ([] if lag == 0 else budgets)
    assert seen() == []
    assert notion.calls.get(f"pages/{page['id']}").json()["in_trash"] is True


@pytest.mark.parametrize(("lag", "found"), [(0, 1), (5, 0)])
def test_a_page_that_was_just_made_may_not_be_found_yet(contracted: Simulate, lag: float, found: int) -> None:
    notion = contracted(query_lag=lag)
    notion.calls.create(notion.source("Projects"), {"Name": title("Garden"), "Sync Key": rich("k")})
    key = {"property": "Sync Key", "rich_text": {"equals": "k"}}

    at_once = notion.calls.query(notion.source("Projects"), filter=key)["results"]
    notion.clock.advance(5)

    assert len(at_once) == found
    assert len(notion.calls.query(notion.source("Projects"), filter=key)["results"]) == 1
