"""Whatever is sent, the simulator answers as Notion would: a success or an error of its own, never a failure inside."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.notion.simulator import NotionSimulator
from connectors.notion.simulator.answering import Answering
from connectors.notion.simulator.exchange import Request
from connectors.notion.simulator.records import KINDS
from tests.contract.notion_contract import CODES

NAMES = [
    *KINDS, "properties", "filter", "sorts", "property", "timestamp", "and", "or", "equals", "contains", "name", "id",
    "start", "end", "time_zone", "text", "content", "is_empty", "Budget", "Area", "Team", "Name", "in_trash",
    "children", "parent", "data_source_id", "direction", "after", "paragraph", "mention", "options", "page_size",
    "function",
]  # fmt: skip
SIMULATOR = NotionSimulator()
SOURCE = SIMULATOR.sources["Projects"].id
PAGE = SIMULATOR.people.create("Projects", {"Name": "Garden", "Budget": 5, "Tags": ["a"]}).id
WORDS = st.sampled_from(["", "x", "2026-01-01", "2026-01-01T00:00:00Z", "descending", "Name", "title", PAGE, SOURCE])
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | WORDS | st.text(max_size=5)
ANY = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=12,
)
VALUES = st.dictionaries(
    st.sampled_from(["Name", "Budget", "Area", "Status", "Tags", "Team", "Starts", "Description", "Opportunities"]),
    ANY | st.builds(lambda kind, value: {kind: value}, st.sampled_from(KINDS), ANY),
    max_size=4,
)
PATHS = [f"pages/{PAGE}", f"data_sources/{SOURCE}/query", f"blocks/{PAGE}/children", "oauth/token", "oauth/introspect"]


def answered(method: str, path: str, body: object, headers: Mapping[str, str]) -> tuple[int, Any]:
    SIMULATOR.rates.clear()
    answering: Answering = SIMULATOR.answering
    answer = answering.answer(Request(method, f"/v1/{path}", headers, json.dumps(body).encode()))
    return answer.status, json.loads(answer.content)


def judged(method: str, path: str, body: object) -> None:
    headers = {"authorization": f"Bearer {SIMULATOR.token}", "notion-version": "2026-03-11"}
    status, found = answered(method, path, body, headers)
    assert status == 200 or CODES[found["code"]] == status


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(["POST", "PATCH", "GET"]), st.sampled_from(PATHS), ANY)
def test_any_body(method: str, path: str, body: object) -> None:
    judged(method, path, body)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(VALUES, ANY)
def test_any_values_of_a_page(values: object, children: object) -> None:
    judged("PATCH", f"pages/{PAGE}", {"properties": values, "in_trash": False})
    judged("POST", "pages", {"parent": {"data_source_id": SOURCE}, "properties": values, "children": children})


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(["Name", "Budget", "Area", "Status", "Tags", "Team", "Starts", "Opportunities", "Edited"]),
    st.sampled_from(KINDS),
    ANY | st.dictionaries(st.sampled_from(["equals", "contains", "before", "is_empty", "greater_than"]), LEAVES),
)
def test_any_filter(name: str, kind: str, condition: object) -> None:
    judged("POST", f"data_sources/{SOURCE}/query", {"filter": {"property": name, kind: condition}})


OF_A_KIND = st.builds(lambda kind, value: {kind: value}, st.sampled_from(KINDS), ANY | st.just({}))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(["Code", "Tags", "Mood"]), ANY | OF_A_KIND, ANY)
def test_any_change_of_a_schema(name: str, change: object, title: object) -> None:
    judged("PATCH", f"data_sources/{SOURCE}", {"properties": {name: change}})
    judged("PATCH", f"data_sources/{SOURCE}", {"title": title})
    judged("GET", f"data_sources/{SOURCE}", {})
    judged("GET", f"pages/{PAGE}", {})
