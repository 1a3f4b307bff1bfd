"""How many requests the simulator lets through."""

from __future__ import annotations

import pytest

from tests.fix_notion import Simulate, Simulated
from tests.notion_calls import Calls


def statuses(notion: Simulated, requests: int) -> list[int]:
    return [notion.calls.get("users/me").status_code for _ in range(requests)]


def test_request_181_of_sixty_seconds_is_refused_with_a_wait_that_suffices(notion: Simulated) -> None:
    assert statuses(notion, 1) == [200]
    notion.clock.advance(20)
    assert statuses(notion, 179) == [200] * 179

    refused = notion.calls.get("users/me")
    notion.clock.advance(int(refused.headers["Retry-After"]))

    assert refused.status_code == 429
    assert refused.json()["additional_data"] == {
        "rate_limit_reason": "public_api_request_rate_limit",
        "retry_after": 40,
    }
    assert statuses(notion, 2) == [200, 429]


def test_the_wait_is_in_whole_seconds_and_never_too_short(contracted: Simulate) -> None:
    notion = contracted(connection_per_minute=1)
    statuses(notion, 1)
    notion.clock.advance(19.6)

    refused = notion.calls.get("users/me")
    notion.clock.advance(int(refused.headers["Retry-After"]))

    assert refused.headers["Retry-After"] == "41"
    assert statuses(notion, 1) == [200]


@pytest.mark.parametrize(("fixed", "passed"), [(False, 1), (True, 3)])
def test_the_window_slides_or_starts_anew_as_a_whole(contracted: Simulate, fixed: bool, passed: int) -> None:
    notion = contracted(connection_per_minute=3, fixed_window=fixed)
    statuses(notion, 1)
    notion.clock.advance(59)
    statuses(notion, 2)
    notion.clock.advance(1)

    assert statuses(notion, 3).count(200) == passed


def test_requests_that_were_refused_do_not_count(contracted: Simulate) -> None:
    notion = contracted(connection_per_minute=2)
    assert statuses(notion, 5) == [200, 200, 429, 429, 429]
    notion.clock.advance(60)

    assert statuses(notion, 3) == [200, 200, 429]
    assert notion.simulator.statuses() == {200: 4, 429: 4}


def test_each_connection_has_its_own_limit_and_the_workspace_one_for_all(contracted: Simulate) -> None:
    notion = contracted(connection_per_minute=2, workspace_per_minute=3)
    other = notion.simulator.store.add_connection("Another", "ntn_other")
    theirs = Calls(notion.simulator.url, "ntn_other")

    assert statuses(notion, 2) == [200, 200]
    with theirs:
        assert theirs.get("users/me").json()["id"] == other.bot.id
        refused = theirs.get("users/me")

    assert refused.json()["additional_data"]["rate_limit_reason"] == "public_api_space_request_rate_limit"
    assert [seen.connection for seen in notion.simulator.log][-1] == other.bot.id


def test_an_endpoint_may_have_its_own_limit(contracted: Simulate) -> None:
    notion = contracted(endpoint_per_minute={"query_data_source": 1})
    notion.calls.query(notion.source("Projects"))

    assert notion.calls.post(f"data_sources/{notion.source('Projects')}/query", {}).status_code == 429
    assert statuses(notion, 1) == [200]


def test_a_connection_that_is_blocked_is_told_no_wait(notion: Simulated) -> None:
    notion.simulator.rates.blocked = True

    answer = notion.calls.get("users/me")

    assert answer.status_code == 429
    assert "Retry-After" not in answer.headers
    assert answer.json()["additional_data"] == {"rate_limit_reason": "public_api_request_blocked"}


def test_the_log_tells_when_each_request_came(notion: Simulated) -> None:
    statuses(notion, 1)
    notion.clock.advance(2)
    notion.calls.get("nowhere")

    first, second = notion.simulator.log
    assert (second.at - first.at).total_seconds() == 2
    assert (first.route, first.status, first.done) == ("get_me", 200, True)
    assert (second.route, second.status, second.done) == ("unknown", 400, False)
    assert notion.simulator.counts() == {"get_me": 1, "unknown": 1}


def test_a_person_with_a_token_acts_in_their_own_name_and_has_a_limit_of_their_own(contracted: Simulate) -> None:
    notion = contracted(connection_per_minute=1)
    ada = notion.simulator.people.first
    with Calls(notion.simulator.url, notion.simulator.store.add_personal_token(ada)) as theirs:
        made = theirs.create(notion.source("Places"), {"Name": {"title": [{"text": {"content": "River bend"}}]}})
        assert made.json()["created_by"]["id"] == ada.id
        assert theirs.get("users/me").status_code == 429
    assert statuses(notion, 1) == [200]
