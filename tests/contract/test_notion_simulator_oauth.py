"""A public connection of the simulator: code, refresh, introspection, revocation."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from connectors.notion.simulator import Fault
from tests.fix_notion import Simulate, Simulated
from tests.notion_calls import Calls

REDIRECT = "http://localhost:8423/callback"


def ask(notion: Simulated, path: str, **body: str) -> httpx.Response:
    own = notion.simulator.oauth
    return notion.calls.http.post(f"oauth/{path}", json=body, auth=(own.client_id, own.client_secret))


def login(notion: Simulated) -> Any:
    code = notion.simulator.oauth.approve(REDIRECT)
    return ask(notion, "token", grant_type="authorization_code", code=code, redirect_uri=REDIRECT).json()


def refresh(notion: Simulated, token: str) -> httpx.Response:
    return ask(notion, "token", grant_type="refresh_token", refresh_token=token)


def works(notion: Simulated, token: str) -> bool:
    calls = Calls(notion.simulator.url, token)
    with calls:
        return calls.get("users/me").status_code == 200


def test_a_person_approves_and_a_code_becomes_a_token(notion: Simulated) -> None:
    query = {
        "client_id": notion.simulator.oauth.client_id,
        "redirect_uri": REDIRECT,
        "state": "s",
        "response_type": "code",
    }
    sent_to = notion.calls.http.get("oauth/authorize", params=query).headers["Location"]
    told = parse_qs(urlsplit(sent_to).query)
    code = told["code"][0]

    token = ask(notion, "token", grant_type="authorization_code", code=code, redirect_uri=REDIRECT).json()
    again = ask(notion, "token", grant_type="authorization_code", code=code, redirect_uri=REDIRECT)

    assert sent_to.startswith(REDIRECT)
    assert told["state"] == ["s"]
    assert "expires_in" not in token
    assert works(notion, token["access_token"])
    assert (again.status_code, again.json()["code"]) == (400, "invalid_grant")


@pytest.mark.parametrize("old_works", [False, True])
def test_a_refresh_token_is_rotated_and_the_old_one_may_work_on(contracted: Simulate, old_works: bool) -> None:
    notion = contracted(old_refresh_token_works=old_works)
    first = login(notion)
    second = refresh(notion, first["refresh_token"]).json()

    again = refresh(notion, first["refresh_token"])

    assert second["refresh_token"] != first["refresh_token"]
    assert works(notion, second["access_token"])
    assert not works(notion, first["access_token"])
    assert again.status_code == (200 if old_works else 400)


def test_a_token_that_expired_is_refused_until_it_is_refreshed(notion: Simulated) -> None:
    token = login(notion)
    notion.simulator.oauth.expire(token["access_token"])

    assert not works(notion, token["access_token"])
    assert works(notion, refresh(notion, token["refresh_token"]).json()["access_token"])


def test_a_refresh_whose_answer_is_lost_has_used_up_the_token(notion: Simulated) -> None:
    token = login(notion)
    notion.simulator.faults.add(Fault("cut_after", route="oauth_token"))
    with pytest.raises(httpx.TransportError):
        refresh(notion, token["refresh_token"])

    assert refresh(notion, token["refresh_token"]).json()["code"] == "invalid_grant"


def test_a_token_is_looked_into_and_revoked(notion: Simulated) -> None:
    token = login(notion)

    active = ask(notion, "introspect", token=token["access_token"]).json()
    ask(notion, "revoke", token=token["access_token"])

    assert active["active"] is True
    assert ask(notion, "introspect", token=token["access_token"]).json() == {"active": False}
    assert refresh(notion, token["refresh_token"]).status_code == 400


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"grant_type": "password"}, "validation_error"),
        ({"grant_type": "authorization_code", "code": "x"}, "invalid_grant"),
        ({"grant_type": "refresh_token"}, "validation_error"),
    ],
)
def test_a_grant_that_is_none_is_refused(notion: Simulated, body: dict[str, str], code: str) -> None:
    assert ask(notion, "token", **body).json()["code"] == code


def test_the_redirect_must_be_the_one_of_the_code(notion: Simulated) -> None:
    code = notion.simulator.oauth.approve(REDIRECT)

    assert ask(notion, "token", grant_type="authorization_code", code=code, redirect_uri="http://x").status_code == 400


@pytest.mark.parametrize("header", ["", "Basic eDp5", "Basic é"])
def test_a_client_that_is_not_known_is_refused(notion: Simulated, header: str) -> None:
    headers = {b"Authorization": header.encode("latin-1")}
    body = {"grant_type": "refresh_token", "refresh_token": "x"}

    assert notion.calls.http.post("oauth/token", json=body, headers=headers).status_code == 401
    assert notion.calls.http.get("oauth/authorize", params={"client_id": "x"}).status_code == 400
