"""Notion's errors, as its documentation and its client have them, come to what may be done about them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from connectors.http.answer import Effect, Received
from connectors.http.outcome import (
    Conflict,
    Exhausted,
    Forbidden,
    Gone,
    Outcome,
    Rejected,
    Saved,
    Throttled,
    Unanswered,
    Unauthorized,
    Unknown,
    outcome,
)
from connectors.notion.dialect import NotionDialect

NOW = datetime(2026, 11, 22, 19, 0, tzinfo=UTC)
PAGE = "59833787-2cf9-4fdf-8782-e53db20768a5"


def notion(
    status: int, code: str, message: str = "m", *, effect: Effect = "changes", headers: dict[str, str] | None = None,
    **more: Any,
) -> Outcome:  # fmt: skip
    body = {"object": "error", "status": status, "code": code, "message": message, "request_id": "r1"}
    if more:
        body["additional_data"] = more
    return outcome(effect, Received(status, headers or {}, body), NotionDialect(), NOW)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "invalid_json", Rejected), (400, "invalid_request_url", Rejected), (400, "invalid_request", Rejected),
        (400, "validation_error", Rejected), (400, "missing_version", Forbidden), (401, "unauthorized", Unauthorized),
        (403, "restricted_resource", Forbidden), (404, "object_not_found", Gone), (409, "conflict_error", Conflict),
        (409, "row_limit_exceeded", Forbidden), (429, "rate_limited", Throttled),
        (500, "internal_server_error", Unknown), (502, "bad_gateway", Unknown), (503, "service_unavailable", Unknown),
        (504, "gateway_timeout", Unknown), (529, "service_overload", Throttled),
    ],
)  # fmt: skip
def test_each_code_has_its_outcome(status: int, code: str, kind: type[Outcome]) -> None:
    assert isinstance(notion(status, code), kind)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_read_that_fails_is_asked_again(status: int) -> None:
    assert isinstance(notion(status, "service_unavailable", effect="reads"), Unanswered)


def test_a_503_after_the_write_names_the_page_to_adopt() -> None:
    told = ["Read the object again", "Do not repeat the write"]
    found = notion(
        503, "service_unavailable", effect="creates", retry_guidance=told, committed_resource_id=PAGE
    )  # fmt: skip
    assert found == Saved((PAGE,))
    children = notion(503, "service_unavailable", retry_guidance=told, committed_child_ids=["b1", "b2"])
    assert children == Saved(("b1", "b2"))


def test_a_503_that_names_nothing_leaves_the_write_unknown() -> None:
    found = notion(503, "service_unavailable", headers={"retry-after": "5"}, retry_guidance=["Read the object again"])
    assert found == Unknown("the service answered 503", 5.0)


@pytest.mark.parametrize(("status", "code"), [(429, "rate_limited"), (529, "service_overload")])
def test_the_wait_is_in_the_header_or_in_the_body(status: int, code: str) -> None:
    assert notion(status, code, headers={"retry-after": "12"}) == Throttled(12.0, code)
    assert notion(status, code, retry_after=13) == Throttled(13.0, code)
    assert notion(status, code, rate_limit_reason="public_api_space_request_rate_limit") == Throttled(None, code)


def test_a_529_that_is_not_notion_s_own_leaves_a_write_unknown() -> None:
    assert isinstance(outcome("creates", Received(529, {}, "<html>"), NotionDialect(), NOW), Unknown)


def test_a_blocked_connection_and_a_full_workspace_are_exhausted() -> None:
    blocked = notion(429, "rate_limited", rate_limit_reason="public_api_request_blocked", retry_after=3600)
    assert blocked == Exhausted(NOW + timedelta(hours=1), "rate_limited", "m")
    full = notion(403, "restricted_resource", block_limit={"limit": 1000})
    assert full == Exhausted(None, "restricted_resource", "m")


@pytest.mark.parametrize(
    "message",
    [
        "Can't edit block that is archived. You must unarchive the block before editing.",
        "Can't edit page on block with an archived ancestor. You must unarchive the ancestor before editing page.",
    ],
)
def test_a_page_in_the_trash_is_gone(message: str) -> None:
    assert notion(400, "validation_error", message) == Gone("archived", message)


def test_a_value_that_speaks_of_the_archive_is_refused_as_any_other() -> None:
    message = 'Invalid status option. Status option "Can\'t edit archived" does not exist.'
    assert notion(400, "validation_error", message) == Rejected("validation_error", message)


def test_what_was_not_found_is_named() -> None:
    message = f"Could not find page with ID: {PAGE}. Make sure the relevant pages and databases are shared."
    assert notion(404, "object_not_found", message) == Gone("object_not_found", message, (PAGE,))
    assert notion(404, "object_not_found", message, effect="creates") == Rejected("object_not_found", message)


@pytest.mark.parametrize("body", [None, [], "text", {"object": "page"}, {"object": "error", "additional_data": 3}])
def test_a_body_of_another_kind_says_nothing(body: object) -> None:
    told = NotionDialect().told(Received(503, {"x-notion-request-id": "r2"}, body))
    assert (told.code, told.saved, told.meaning, told.request_id) == ("", (), None, "r2")
