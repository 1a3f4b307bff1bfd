"""What the simulator refuses, with which status, code and words."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.fix_notion import Simulate, Simulated
from tests.notion_calls import calls_to, rich, title

NOBODY = "0b7c5e0e-4c1a-4f6e-9d5c-0d6f3a1f2b7e"
"""An id that nothing has."""


def code(answer: httpx.Response) -> tuple[int, str]:
    body = answer.json()
    assert body["request_id"] == answer.headers["x-notion-request-id"]
    return answer.status_code, body["code"]


def make(notion: Simulated, **properties: Any) -> httpx.Response:
    named = {name.replace("_", " "): value for name, value in properties.items()}
    return notion.calls.create(notion.source("Projects"), named)


@pytest.mark.parametrize(
    ("method", "path", "status", "word"),
    [
        ("GET", "nowhere", 400, "invalid_request_url"),
        ("DELETE", "users/me", 400, "invalid_request_url"),
        ("POST", "pages/x", 400, "invalid_request_url"),
        ("GET", "pages/no-uuid", 400, "validation_error"),
        ("GET", f"pages/{NOBODY}", 404, "object_not_found"),
        ("GET", f"databases/{NOBODY}", 404, "object_not_found"),
        ("GET", f"data_sources/{NOBODY}", 404, "object_not_found"),
        ("GET", f"users/{NOBODY}", 404, "object_not_found"),
    ],
)
def test_what_is_not_there(notion: Simulated, method: str, path: str, status: int, word: str) -> None:
    assert code(notion.calls.http.request(method, path)) == (status, word)


def test_a_request_needs_a_version_that_knows_data_sources(notion: Simulated) -> None:
    del notion.calls.http.headers["Notion-Version"]
    missing = notion.calls.get("users/me")
    old = notion.calls.http.get("users/me", headers={"Notion-Version": "2022-06-28"})

    assert code(missing) == (400, "missing_version")
    assert code(old) == (400, "validation_error")


@pytest.mark.parametrize("header", ["", "Bearer wrong", "Basic ntn_simulator"])
def test_a_request_needs_a_token(notion: Simulated, header: str) -> None:
    answer = notion.calls.http.get("users/me", headers={"Authorization": header})

    assert code(answer) == (401, "unauthorized")
    assert answer.json()["message"] == "API token is invalid."


@pytest.mark.parametrize("content", [b"{", b"\xff", b'{"a": NaN}', b"[" * 100_000])
def test_what_is_no_json(notion: Simulated, content: bytes) -> None:
    assert code(notion.calls.http.post("pages", content=content)) == (400, "invalid_json")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("Name", title("x" * 2001), "title[0].text.content.length should be ≤ `2000`, instead was `2001`"),
        ("Description", {"rich_text": [{"text": {"content": "x"}}] * 101}, "should be ≤ `100`, instead was `101`"),
        ("Tags", {"multi_select": [{"name": f"{at}"} for at in range(101)]}, "length should be ≤ `100`"),
        ("Tags", {"multi_select": [{"name": "a,b"}]}, "commas not allowed"),
        ("Tags", {"multi_select": [{"name": "x" * 101}]}, "length should be ≤ `100`"),
        ("Budget", {"number": "12"}, 'number should be a number or `null`, instead was `"12"`'),
        ("Budget", {"number": True}, "should be a number or `null`"),
        ("Budget", rich("12"), "Budget is expected to be number."),
        ("Budget", {"number": 1, "colour": "red"}, "colour should be not present"),
        ("Budget", {}, "number should be"),
        ("Status", {"status": {"name": "Unheard of"}}, 'Status option "Unheard of" does not exist'),
        ("Status", {"status": {"id": "x"}}, "does not exist"),
        ("Starts", {"date": {"start": "soon"}}, "should be a valid ISO 8601 date string"),
        ("Starts", {"date": {"start": "2026-01-02", "end": "2026-01-01"}}, "should be on or after start"),
        ("Starts", {"date": {"start": "2026-01-02", "time_zone": "Nowhere"}}, "should be a valid time zone"),
        (
            "Starts",
            {"date": {"start": "2026-01-02T10:00:00Z", "time_zone": "Australia/Perth"}},
            "should be without a UTC offset",
        ),
        ("Team", {"people": [{"id": NOBODY}]}, "Could not find user"),
        ("Edited", {"last_edited_time": "2026-01-02T10:00:00Z"}, "can not be updated"),
        ("Nobody", {"number": 1}, "Nobody is not a property that exists."),
    ],
)  # fmt: skip
def test_a_value_that_does_not_fit_refuses_the_whole_page(
    notion: Simulated, name: str, value: dict[str, Any], message: str
) -> None:
    answer = notion.calls.create(notion.source("Projects"), {"Area": {"select": {"name": "New"}}, name: value})

    assert code(answer) == (400, "validation_error")
    assert message in answer.json()["message"]
    assert notion.simulator.store.pages("Projects") == []
    area = notion.simulator.sources["Projects"].find("Area")
    assert area is not None
    assert "New" not in [option.name for option in area.options]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LinkedIn", {"url": "https://example.org/" + "x" * 2000}),
        ("LinkedIn", {"url": ""}),
        ("Email", {"email": "x" * 201}),
        ("Phone", {"phone_number": "1" * 201}),
    ],
)
def test_lines_have_their_lengths_and_empty_is_null(notion: Simulated, name: str, value: dict[str, Any]) -> None:
    assert code(notion.calls.create(notion.source("People"), {name: value})) == (400, "validation_error")


@pytest.mark.parametrize(("utf16", "status"), [(True, 400), (False, 200)])
def test_lengths_may_count_utf16_units(contracted: Simulate, utf16: bool, status: int) -> None:
    notion = contracted(utf16_lengths=utf16)

    assert make(notion, Name=title("🌱" * 1001)).status_code == status
    assert make(notion, Name=title("🌱" * 1000)).status_code == 200


def test_an_unknown_option_of_a_select_is_added_to_the_schema(notion: Simulated) -> None:
    first = make(notion, Area={"select": {"name": "New"}}).json()["properties"]["Area"]["select"]
    second = make(notion, Area={"select": {"name": "New"}}).json()["properties"]["Area"]["select"]

    source = notion.calls.get(f"data_sources/{notion.source('Projects')}").json()
    assert first == second
    assert [one["id"] for one in source["properties"]["Area"]["select"]["options"]].count(first["id"]) == 1


@pytest.mark.parametrize("status", [400, 404])
def test_a_relation_leads_to_a_page_of_its_data_source(contracted: Simulate, status: int) -> None:
    notion = contracted(missing_relation=status)
    elsewhere = notion.simulator.people.create("Places", {"Name": "River"})

    nowhere = make(notion, Opportunities={"relation": [{"id": NOBODY}]})
    wrong = make(notion, Opportunities={"relation": [{"id": elsewhere.id}]})

    assert nowhere.status_code == status
    assert code(wrong) == (400, "validation_error")


def test_a_request_has_at_most_500_kb_and_1000_blocks(notion: Simulated) -> None:
    piece = {"paragraph": {"rich_text": [{"text": {"content": "x"}}]}}
    nested = {"toggle": {"rich_text": [], "children": [piece] * 10}}

    large = notion.calls.create(notion.source("Projects"), {}, icon={"emoji": "x" * 500_000})
    many = notion.calls.create(notion.source("Projects"), {}, children=[nested] * 100)
    deep = notion.calls.create(
        notion.source("Projects"), {}, children=[{"toggle": {"rich_text": [], "children": [nested]}}]
    )

    for answer in (large, many, deep):
        assert code(answer) == (400, "validation_error")
    assert notion.simulator.store.pages("Projects") == []


def test_a_free_workspace_is_full_some_day(contracted: Simulate) -> None:
    notion = contracted(block_limit=1)
    assert make(notion, Name=title("Garden")).status_code == 200

    answer = make(notion, Name=title("Orchard"))

    assert code(answer) == (403, "restricted_resource")
    assert answer.json()["additional_data"] == {"block_limit": 1}


@pytest.mark.parametrize(
    "body",
    [
        {"properties": {}},
        {"parent": {"data_source_id": "x"}, "properties": {}},
        {"parent": {"page_id": NOBODY}, "properties": {}},
        {"parent": {"data_source_id": NOBODY}, "properties": {}},
        {"parent": {}, "propertys": {}},
        [],
    ],
)
def test_a_page_needs_a_parent_that_is_there(notion: Simulated, body: object) -> None:
    assert code(notion.calls.post("pages", body))[0] in (400, 404)


def test_requests_are_read_whatever_their_version(notion: Simulated) -> None:
    before = calls_to(notion.simulator, "2025-09-03")

    with before:
        assert before.get("users/me").json()["type"] == "bot"
