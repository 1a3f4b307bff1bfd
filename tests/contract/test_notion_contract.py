"""The recorder of exchanges lets nothing pass that Notion's types do not know."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from connectors.notion.simulator import Exchange, Seen
from tests.contract.notion_contract import Contract, contract, directory
from tests.fix_notion import Simulated
from tests.notion_calls import title

SEEN = Seen(1, datetime(2026, 3, 2, tzinfo=UTC), "POST", "/v1/pages", "create_page", None, 200, None, True, "id")


def page(notion: Simulated) -> Any:
    return notion.calls.create(notion.source("Projects"), {"Name": title("Garden")}).json()


def refused(exchange: Exchange) -> list[str]:
    own = contract()
    own.exchange(exchange)
    return own.failures


def test_every_body_is_counted(notion: Simulated, notion_contract: Contract) -> None:
    page(notion)
    notion.calls.get("pages/no-id")

    assert dict(notion_contract.checked) == {"CreatePageParameters": 1, "PageObjectResponse": 1, "error": 1}


def test_an_unknown_field_of_an_answer_is_a_failure(notion: Simulated) -> None:
    answer = page(notion) | {"colour": "red"}

    assert refused(Exchange(SEEN, {}, {}, None, answer))


def test_a_value_of_another_type_is_a_failure(notion: Simulated) -> None:
    answer = page(notion)
    answer["properties"]["Budget"]["number"] = "12"

    assert refused(Exchange(SEEN, {}, {}, None, answer))


def test_an_unknown_field_of_a_request_is_a_failure_also_where_it_was_refused(notion: Simulated) -> None:
    body = {"parent": {"data_source_id": notion.source("Projects")}, "propertys": {}}
    every = contract()
    every.attach(notion.simulator, every_request=True)

    notion.calls.post("pages", body)

    assert len(every.failures) == 1
    assert refused(Exchange(SEEN, {}, {}, body, None))


def test_an_error_with_a_code_or_a_field_that_is_not_notions_is_a_failure() -> None:
    error = {"object": "error", "status": 400, "code": "validation_error", "message": "", "request_id": "1"}

    assert not refused(Exchange(SEEN, {}, {}, None, error))
    assert refused(Exchange(SEEN, {}, {}, None, error | {"status": 422}))
    assert refused(Exchange(SEEN, {}, {}, None, error | {"detail": "x"}))


def test_an_answer_of_a_kind_that_nobody_judges_is_a_failure() -> None:
    assert refused(Exchange(replace(SEEN, route="search"), {}, {}, None, {"object": "list"}))


@pytest.mark.parametrize("name", ["CI", "PLACEMAT_SPECS"])
def test_without_notions_types_these_tests_are_not_run_and_fail_where_they_must_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, name: str
) -> None:
    for one in ("CI", "PLACEMAT_SPECS"):
        monkeypatch.delenv(one, raising=False)
    monkeypatch.setattr("tests.contract.notion_contract.REPOSITORY", tmp_path / "clone")
    with pytest.raises(pytest.skip.Exception, match="not run"):
        contract()
    monkeypatch.setenv(name, str(tmp_path))
    assert not directory().exists()
    with pytest.raises(pytest.fail.Exception, match="not run"):
        contract()
