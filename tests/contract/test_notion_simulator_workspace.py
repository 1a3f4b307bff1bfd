"""What people do in the workspace of the simulator, and what becomes of its schema."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from connectors.notion.simulator.errors import ApiError
from connectors.notion.simulator.records import Property, RolledUp
from tests.fix_notion import START, Simulated
from tests.notion_calls import rich, title

DATABASES = {"Projects", "Opportunities", "Organisations", "People", "Actions", "Artifacts", "Stories", "Places"}


def described(notion: Simulated, name: str = "Projects") -> Any:
    return notion.calls.get(f"data_sources/{notion.source(name)}").json()["properties"]


def test_the_workspace_has_the_eight_databases(notion: Simulated) -> None:
    assert set(notion.simulator.sources) == DATABASES
    for name in DATABASES:
        properties = described(notion, name)
        assert (properties["Name"]["id"], properties["Sync Key"]["type"]) == ("title", "rich_text")


def test_a_property_that_is_renamed_keeps_its_id_and_its_values(notion: Simulated) -> None:
    page = notion.simulator.people.create("Projects", {"Budget": 5})
    id_ = described(notion)["Budget"]["id"]

    notion.simulator.people.rename_property("Projects", "Budget", "Money")

    assert described(notion)["Money"]["id"] == id_
    assert notion.calls.get(f"pages/{page.id}").json()["properties"]["Money"] == {
        "id": id_,
        "type": "number",
        "number": 5,
    }
    assert notion.calls.update(page.id, {id_: {"number": 6}}).status_code == 200
    assert notion.calls.update(page.id, {"Budget": {"number": 6}}).status_code == 400


@pytest.mark.parametrize(
    ("name", "value", "kind", "shown"),
    [
        ("Budget", 12.5, "rich_text", "12.5"),
        ("Description", "12.5", "number", 12.5),
        ("Description", "a dozen", "number", None),
        ("Description", "1,250", "number", 1250),
        ("Tags", ["a", "b"], "rich_text", "a, b"),
        ("Description", "a, b", "multi_select", ["a", "b"]),
        ("Area", "Country", "rich_text", "Country"),
        ("Description", "2026-01-02", "date", "2026-01-02"),
        ("Description", "soon", "date", None),
        ("Description", "x", "people", []),
        ("Budget", None, "checkbox", False),
    ],
)
def test_a_change_of_type_keeps_what_says_something_in_the_new_one(
    notion: Simulated, name: str, value: Any, kind: Any, shown: Any
) -> None:
    page = notion.simulator.people.create("Projects", {name: value} if value is not None else {})

    notion.simulator.people.change_type("Projects", name, kind)

    found = notion.simulator.store.shown(page, name)
    assert getattr(found, "start", found) == shown
    assert notion.calls.get(f"pages/{page.id}").json()["properties"][name]["type"] == kind
    assert described(notion)[name]["type"] == kind


def test_a_property_goes_and_comes(notion: Simulated) -> None:
    page = notion.simulator.people.create("Projects", {"Opportunities": []})

    notion.simulator.people.remove_property("Projects", "Opportunities")
    notion.simulator.people.add_property("Projects", "Mood", "select", "fine")

    assert described(notion, "Opportunities")["Project"]["relation"]["type"] == "single_property"
    shown = notion.calls.get(f"pages/{page.id}").json()["properties"]
    assert "Opportunities" not in shown
    assert shown["Mood"]["select"] is None


def test_the_schema_is_changed_by_requests_too(notion: Simulated) -> None:
    source = notion.source("Projects")
    changes = {
        "Budget": {"name": "Money"},
        "Area": {"select": {"options": [{"name": "Country"}, {"name": "Sea", "color": "blue"}]}},
        "Starts": None,
        "Code": {"rich_text": {}},
        "Place": {"relation": {"data_source_id": notion.source("Places"), "single_property": {}}},
        "Won": {
            "rollup": {"function": "sum", "relation_property_name": "Opportunities", "rollup_property_name": "Amount"}
        },
        "Worth": {"formula": {"expression": "1 + 1"}},
    }

    shown = notion.calls.patch(f"data_sources/{source}", {"properties": changes}).json()["properties"]

    assert {"Money", "Code", "Place"} <= set(shown)
    assert {"Budget", "Starts"}.isdisjoint(shown)
    assert [one["name"] for one in shown["Area"]["select"]["options"]] == ["Country", "Sea"]
    assert shown["Worth"]["formula"] == {"expression": "1 + 1"}
    assert shown["Won"]["rollup"]["relation_property_name"] == "Opportunities"
    assert shown["Place"]["relation"]["data_source_id"] == notion.source("Places")


def test_an_option_that_goes_leaves_the_pages(notion: Simulated) -> None:
    page = notion.simulator.people.create("Projects", {"Area": "Country", "Tags": ["a", "b"]})
    options = {
        "Area": {"select": {"options": [{"name": "Sea"}]}},
        "Tags": {"multi_select": {"options": [{"name": "b"}]}},
    }

    notion.calls.patch(f"data_sources/{notion.source('Projects')}", {"properties": options})

    shown = notion.calls.get(f"pages/{page.id}").json()["properties"]
    assert shown["Area"]["select"] is None
    assert [one["name"] for one in shown["Tags"]["multi_select"]] == ["b"]


def test_a_schema_is_changed_as_a_whole_or_not_at_all(notion: Simulated) -> None:
    before = described(notion)

    answer = notion.calls.patch(
        f"data_sources/{notion.source('Projects')}", {"properties": {"Budget": None, "Nobody": {"name": "x"}}}
    )

    assert answer.status_code == 400
    assert described(notion) == before


@pytest.mark.parametrize(
    "changes",
    [
        {"Name": None},
        {"Name": {"number": {}}},
        {"Nobody": {"name": "x"}},
        {"Budget": {"name": "Area"}},
        {"New": {"title": {}}},
        {"Nobody": None},
    ],
)
def test_a_schema_that_makes_no_sense_is_refused(notion: Simulated, changes: dict[str, Any]) -> None:
    answer = notion.calls.patch(f"data_sources/{notion.source('Projects')}", {"properties": changes})

    assert answer.status_code == 400


def test_people_are_not_held_to_the_limits_of_requests(notion: Simulated) -> None:
    page = notion.simulator.people.create("Projects", {"Description": "x" * 5000})

    shown = notion.calls.get(f"pages/{page.id}").json()["properties"]["Description"]["rich_text"]
    assert "".join(one["plain_text"] for one in shown) == "x" * 5000


def test_a_person_acts_at_a_time_and_under_a_name(notion: Simulated) -> None:
    bea = notion.simulator.store.add_person("Bea Person")
    page = notion.simulator.people.create("Projects", {"Name": "Garden"}, at=START - timedelta(hours=2))

    notion.simulator.people.edit(page, {"Status": "Completed"}, by=bea, at=START - timedelta(hours=1))

    shown = notion.calls.get(f"pages/{page.id}").json()
    assert shown["created_time"] == "2026-03-02T07:00:00.000Z"
    assert (shown["last_edited_time"], shown["last_edited_by"]["id"]) == ("2026-03-02T08:00:00.000Z", bea.id)
    assert notion.calls.get(f"users/{bea.id}").json()["name"] == "Bea Person"


def test_only_people_make_options_of_a_status(notion: Simulated) -> None:
    notion.simulator.people.add_option("Projects", "Status", "Dreaming")

    assert (
        notion.calls.create(notion.source("Projects"), {"Status": {"status": {"name": "Dreaming"}}}).status_code == 200
    )


def test_tests_read_pages_by_their_sync_key(notion: Simulated) -> None:
    for _ in range(2):
        notion.calls.create(notion.source("Projects"), {"Name": title("Garden"), "Sync Key": rich("k")})
    first, second = notion.simulator.store.pages("Projects")

    notion.simulator.people.trash(first)
    notion.simulator.people.delete_key(second)

    assert notion.simulator.store.by_key("Projects") == {"": [second]}
    assert notion.simulator.store.by_key("Projects", in_trash=True) == {"k": [first]}
    assert notion.simulator.store.shown(first, "Name") == "Garden"


def test_rollups_and_numbers_of_rows_are_there_to_read_only(notion: Simulated) -> None:
    people, source = notion.simulator.people, notion.simulator.sources["Projects"]
    related = source.find("Opportunities")
    amount = notion.simulator.sources["Opportunities"].find("Amount")
    assert related is not None
    assert amount is not None
    for name, function in (("How many", "count"), ("Sum", "sum"), ("All", "show_original"), ("Odd", "median")):
        rolled = RolledUp(related.id, amount.id, function)
        notion.simulator.store.add_property(source, Property("", name, "rollup", rolled_up=rolled))
    notion.simulator.store.add_property(source, Property("", "No", "unique_id", prefix="PRJ"))
    opportunities = [people.create("Opportunities", {"Amount": amount}).id for amount in (10, 20)]
    page = people.create("Projects", {"Opportunities": opportunities})

    shown = notion.calls.get(f"pages/{page.id}").json()["properties"]

    assert shown["How many"]["rollup"]["number"] == 2
    assert shown["Sum"]["rollup"]["number"] == 30
    assert [one["number"] for one in shown["All"]["rollup"]["array"]] == [10, 20]
    assert shown["Odd"]["rollup"]["type"] == "unsupported"
    assert shown["No"]["unique_id"] == {"prefix": "PRJ", "number": 1}
    assert described(notion)["Sum"]["rollup"]["rollup_property_name"] == "Amount"
    assert notion.calls.update(page.id, {"Sum": {"rollup": {}}}).status_code == 400
    with pytest.raises(ApiError):
        people.edit(page, {"No": 2})


def test_files_places_in_time_and_looks_of_text_come_back(notion: Simulated) -> None:
    files = {"files": [{"name": "plan", "external": {"url": "https://example.org/plan"}}]}
    bold = {"text": {"content": "now", "link": {"url": "https://example.org"}}, "annotations": {"bold": True}}
    project = notion.calls.create(
        notion.source("Projects"),
        {
            "Description": {"rich_text": [bold, {"equation": {"expression": "1+1"}}]},
            "Starts": {"date": {"start": "2026-07-01T09:00:00", "time_zone": "Australia/Perth"}},
        },
    ).json()["properties"]
    artifact = notion.calls.create(notion.source("Artifacts"), {"Files": files}).json()["properties"]

    assert project["Description"]["rich_text"][0]["annotations"]["bold"] is True
    assert project["Description"]["rich_text"][0]["href"] == "https://example.org"
    assert project["Starts"]["date"] == {
        "start": "2026-07-01T09:00:00.000+08:00",
        "end": None,
        "time_zone": "Australia/Perth",
    }
    assert artifact["Files"]["files"][0]["external"]["url"] == "https://example.org/plan"


def test_ids_are_the_same_for_the_same_seed(contracted: Any) -> None:
    one, two, other = contracted(seed=7), contracted(seed=7), contracted(seed=8)

    assert one.source("Projects") == two.source("Projects") != other.source("Projects")
