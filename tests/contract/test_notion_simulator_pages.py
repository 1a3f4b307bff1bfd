"""Pages of the simulator: made, read, edited, trashed and restored as Notion's documentation says."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fix_notion import Simulate, Simulated
from tests.notion_calls import calls_to, rich, title

KEY = "11111111-2222-4333-8444-555555555555"


def every_value(notion: Simulated) -> dict[str, Any]:
    person = notion.simulator.people.first
    return {
        "Name": title("Garden"),
        "Sync Key": rich(KEY),
        "Status": {"status": {"name": "Active"}},
        "Area": {"select": {"name": "Country"}},
        "Team": {"people": [{"id": person.id}]},
        "Budget": {"number": 1250.5},
        "Starts": {"date": {"start": "2026-01-02"}},
        "Ends": {"date": {"start": "2026-01-02T10:00:00Z", "end": "2026-01-03T10:00:00Z"}},
        "Tags": {"multi_select": [{"name": "food"}, {"name": "land"}]},
    }


def test_a_page_is_made_and_read_with_all_that_was_given(notion: Simulated) -> None:
    made = notion.calls.create(notion.source("Projects"), every_value(notion)).json()

    read = notion.calls.get(f"pages/{made['id']}").json()

    assert read == made
    shown = read["properties"]
    assert shown["Name"]["title"][0]["plain_text"] == "Garden"
    assert shown["Status"]["status"]["name"] == "Active"
    assert [one["name"] for one in shown["Tags"]["multi_select"]] == ["food", "land"]
    assert shown["Ends"]["date"]["start"] == "2026-01-02T10:00:00.000+00:00"
    assert read["parent"]["data_source_id"] == notion.source("Projects")
    assert read["created_by"]["id"] == notion.calls.get("users/me").json()["id"]


def test_what_is_not_given_is_empty(notion: Simulated) -> None:
    shown = notion.calls.create(notion.source("Projects"), {}).json()["properties"]

    assert shown["Name"]["title"] == shown["Tags"]["multi_select"] == shown["Team"]["people"] == []
    assert shown["Budget"]["number"] is shown["Starts"]["date"] is shown["Status"]["status"] is None


@pytest.mark.parametrize(("default", "status"), [(True, "Planned"), (False, None)])
def test_a_status_that_is_not_given_may_get_the_first_option(
    contracted: Simulate, default: bool, status: str | None
) -> None:
    notion = contracted(status_default=default)

    shown = notion.calls.create(notion.source("Projects"), {}).json()["properties"]["Status"]["status"]

    assert (shown and shown["name"]) == status


def test_times_are_shown_rounded_down_to_the_minute(notion: Simulated) -> None:
    page = notion.calls.create(notion.source("Projects"), every_value(notion)).json()
    notion.clock.advance(49.9)
    notion.simulator.people.edit(page["id"], {"Budget": 1})

    same_minute = notion.calls.get(f"pages/{page['id']}").json()
    notion.clock.advance(0.1)
    notion.simulator.people.edit(page["id"], {"Budget": 2})
    next_minute = notion.calls.get(f"pages/{page['id']}").json()

    assert page["created_time"] == same_minute["last_edited_time"] == "2026-03-02T09:00:00.000Z"
    assert next_minute["last_edited_time"] == "2026-03-02T09:01:00.000Z"
    assert next_minute["properties"]["Edited"]["last_edited_time"] == "2026-03-02T09:01:00.000Z"
    assert next_minute["last_edited_by"]["id"] == notion.simulator.people.first.id


def test_an_update_leaves_alone_what_it_does_not_name_and_takes_ids_and_names(notion: Simulated) -> None:
    page = notion.calls.create(notion.source("Projects"), every_value(notion)).json()
    budget = page["properties"]["Budget"]["id"]

    updated = notion.calls.update(
        page["id"].replace("-", ""), {budget: {"number": None}, "Area": {"select": None}}
    ).json()

    assert updated["properties"]["Budget"]["number"] is updated["properties"]["Area"]["select"] is None
    assert updated["properties"]["Name"] == page["properties"]["Name"]


def test_ids_of_properties_are_taken_percent_encoded_and_as_they_are(notion: Simulated) -> None:
    own = notion.simulator.sources["Projects"].find("Budget")
    assert own is not None
    source = notion.simulator.sources["Projects"]
    del source.properties[own.id]
    own.id = "%3EQ%40n"
    source.properties[own.id] = own

    page = notion.calls.create(source.id, {"%3EQ%40n": {"number": 1}}).json()
    notion.calls.update(page["id"], {">Q@n": {"number": 2}})

    for written in ("%3EQ%40n", "%253EQ%2540n"):
        assert notion.calls.get(f"pages/{page['id']}/properties/{written}").json()["number"] == 2
    assert notion.calls.query(source.id, filter={"property": "%3EQ%40n", "number": {"equals": 2}})["results"]


def test_a_page_is_trashed_and_restored_under_its_id(notion: Simulated) -> None:
    page = notion.calls.create(notion.source("Projects"), every_value(notion)).json()

    trashed = notion.calls.patch(f"pages/{page['id']}", {"in_trash": True}).json()
    hidden = notion.calls.query(notion.source("Projects"))["results"]
    found = notion.calls.query(notion.source("Projects"), in_trash=True)["results"]
    restored = notion.calls.patch(f"pages/{page['id']}", {"in_trash": False}).json()

    assert trashed["in_trash"] is True
    assert hidden == []
    assert [one["id"] for one in found] == [page["id"]]
    assert restored == page


def test_other_edits_of_a_page_in_the_trash_are_refused(notion: Simulated) -> None:
    page = notion.simulator.people.create("Projects", {"Name": "Garden"})
    notion.simulator.people.trash(page)

    answers = [
        notion.calls.update(page.id, {"Budget": {"number": 1}}),
        notion.calls.update(page.id, {"Budget": {"number": 1}}, in_trash=False),
    ]

    for answer in answers:
        assert answer.status_code == 400
        assert answer.json()["message"].startswith("Can't edit block that is archived.")
    assert notion.calls.get(f"pages/{page.id}").json()["in_trash"] is True


def test_one_request_may_restore_and_edit_where_that_is_so(contracted: Simulate) -> None:
    notion = contracted(restore_with_edits=True)
    page = notion.simulator.people.create("Projects", {"Name": "Garden"})
    notion.simulator.people.trash(page)

    updated = notion.calls.update(page.id, {"Budget": {"number": 1}}, in_trash=False).json()

    assert (updated["in_trash"], updated["properties"]["Budget"]["number"]) == (False, 1)


def test_a_locked_page_takes_requests(notion: Simulated) -> None:
    page = notion.calls.create(notion.source("Projects"), every_value(notion)).json()

    locked = notion.calls.update(page["id"], {"Budget": {"number": 7}}, is_locked=True).json()

    assert locked["is_locked"] is True
    assert notion.calls.update(page["id"], {"Budget": {"number": 8}}).status_code == 200


def test_a_page_that_is_emptied_from_the_trash_is_not_found(notion: Simulated) -> None:
    page = notion.simulator.people.create("Projects", {"Name": "Garden"})
    notion.simulator.people.delete_forever(page)

    answer = notion.calls.get(f"pages/{page.id}")

    assert (answer.status_code, answer.json()["code"]) == (404, "object_not_found")


def test_what_is_not_shared_is_not_found(notion: Simulated) -> None:
    source = notion.simulator.sources["Projects"]
    page = notion.simulator.people.create("Projects", {"Name": "Garden"})
    notion.simulator.connection.shared = set()

    paths = (
        f"pages/{page.id}",
        f"data_sources/{source.id}",
        f"databases/{source.database}",
        f"blocks/{page.id}/children",
    )

    assert {notion.calls.get(path).status_code for path in paths} == {404}


def test_a_database_tells_its_data_sources_and_may_stand_for_its_only_one(notion: Simulated) -> None:
    source = notion.simulator.sources["Projects"]

    database = notion.calls.get(f"databases/{source.database}").json()
    made = notion.calls.post("pages", {"parent": {"database_id": source.database}, "properties": {}}).json()

    assert database["data_sources"] == [{"id": source.id, "name": "Projects"}]
    assert made["parent"]["data_source_id"] == source.id


def test_long_values_are_cut_off_in_pages_and_whole_in_their_properties(notion: Simulated) -> None:
    people = notion.simulator.people
    related = [people.create("Opportunities", {"Name": f"{at}"}).id for at in range(120)]
    page = people.create("Projects", {"Opportunities": related})
    pieces = {"rich_text": [{"text": {"content": f"{at},"}} for at in range(60)]}
    page_object = notion.calls.update(page.id, {"Description": pieces}).json()

    parts: list[Any] = []
    cursor: dict[str, str] = {}
    while True:
        item = notion.calls.get(f"pages/{page.id}/properties/Opportunities", page_size=50, **cursor).json()
        parts += [one["relation"]["id"] for one in item["results"]]
        if not item["has_more"]:
            break
        cursor = {"start_cursor": item["next_cursor"]}
    text = notion.calls.get(f"pages/{page.id}/properties/Description").json()

    assert len(page_object["properties"]["Opportunities"]["relation"]) == 25
    assert len(page_object["properties"]["Description"]["rich_text"]) == 25
    assert parts == related
    assert "".join(one["rich_text"]["plain_text"] for one in text["results"]) == "".join(f"{at}," for at in range(60))


def test_only_what_is_mentioned_may_count_as_a_reference(contracted: Simulate) -> None:
    notion = contracted(cuts_text="mentions")
    page = notion.simulator.people.create("Projects", {})
    mention = {"mention": {"page": {"id": page.id}}}

    texts = notion.calls.update(page.id, {"Description": {"rich_text": [{"text": {"content": "x"}}] * 60}}).json()
    mentions = notion.calls.update(page.id, {"Description": {"rich_text": [mention] * 30}}).json()

    assert len(texts["properties"]["Description"]["rich_text"]) == 60
    assert len(mentions["properties"]["Description"]["rich_text"]) == 25


@pytest.mark.parametrize("merges", [False, True])
def test_pieces_of_one_look_may_come_back_as_one(contracted: Simulate, merges: bool) -> None:
    notion = contracted(merges_text=merges)
    pieces = [{"text": {"content": "a"}}, {"text": {"content": "b"}}, {"text": {"content": ""}}]

    shown = notion.calls.create(notion.source("Projects"), {"Description": {"rich_text": pieces}}).json()

    texts = [one["plain_text"] for one in shown["properties"]["Description"]["rich_text"]]
    assert texts == (["ab"] if merges else ["a", "b"])


def test_a_relation_may_tell_that_it_has_more(simulate: Simulate) -> None:
    """No type of Notion's knows this field, so that no contract is held here."""
    notion = simulate(relation_tells_more=True)
    people = notion.simulator.people
    page = people.create("Projects", {"Opportunities": [people.create("Opportunities", {}).id for _ in range(26)]})

    assert notion.calls.get(f"pages/{page.id}").json()["properties"]["Opportunities"]["has_more"] is True


@pytest.mark.parametrize("moves", [False, True])
def test_writing_what_is_there_may_be_an_edit(contracted: Simulate, moves: bool) -> None:
    notion = contracted(equal_write_moves_time=moves)
    page = notion.calls.create(notion.source("Projects"), every_value(notion)).json()
    notion.clock.advance(60)

    updated = notion.calls.update(page["id"], {"Budget": {"number": 1250.5}}).json()

    assert (updated["last_edited_time"] != page["last_edited_time"]) == moves


@pytest.mark.parametrize("moves", [False, True])
def test_a_new_result_of_a_formula_may_be_an_edit(contracted: Simulate, moves: bool) -> None:
    notion = contracted(formulas_move_time=moves)
    notion.simulator.people.add_property("Projects", "Worth", "formula")
    page = notion.simulator.people.create("Projects", {"Name": "Garden"})
    notion.clock.advance(60)
    notion.simulator.people.compute(page, "Worth", 12.5)

    shown = notion.calls.get(f"pages/{page.id}").json()

    assert shown["properties"]["Worth"]["formula"] == {"type": "number", "number": 12.5}
    assert (shown["last_edited_time"] != shown["created_time"]) == moves


def test_the_other_side_of_a_relation_follows(notion: Simulated) -> None:
    project = notion.simulator.people.create("Projects", {"Name": "Garden"})

    made = notion.calls.create(notion.source("Opportunities"), {"Project": {"relation": [{"id": project.id}]}}).json()
    there = notion.calls.get(f"pages/{project.id}").json()
    notion.calls.update(made["id"], {"Project": {"relation": []}})
    left = notion.calls.get(f"pages/{project.id}").json()

    assert there["properties"]["Opportunities"]["relation"] == [{"id": made["id"]}]
    assert left["properties"]["Opportunities"]["relation"] == []


def test_a_page_has_a_body_of_blocks(notion: Simulated) -> None:
    paragraph = {"paragraph": {"rich_text": [{"text": {"content": "one"}}]}}
    page = notion.calls.create(notion.source("Projects"), {}, children=[paragraph] * 2).json()

    added = notion.calls.patch(f"blocks/{page['id']}/children", {"children": [paragraph]}).json()
    first = notion.calls.get(f"blocks/{page['id']}/children", page_size=2).json()
    rest = notion.calls.get(f"blocks/{page['id']}/children", start_cursor=first["next_cursor"]).json()

    assert first["has_more"] is True
    assert [one["id"] for one in rest["results"]] == [added["results"][0]["id"]]
    assert notion.calls.patch(f"pages/{page['id']}", {"erase_content": True}).status_code == 200
    assert notion.calls.get(f"blocks/{page['id']}/children").json()["results"] == []


def test_the_version_before_knows_archived(notion: Simulated) -> None:
    page = notion.simulator.people.create("Projects", {"Name": "Garden"})
    before = calls_to(notion.simulator, "2025-09-03")

    with before:
        assert before.patch(f"pages/{page.id}", {"archived": True}).json()["in_trash"] is True
    assert notion.calls.patch(f"pages/{page.id}", {"archived": False}).status_code == 400
