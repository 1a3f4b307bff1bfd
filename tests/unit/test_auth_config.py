"""How a target lets us in, as it is configured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, TypeAdapter, ValidationError

from connectors.http.auth.bearer import StaticToken
from connectors.http.auth.stored import StoredBearer
from connectors.http.auth.token import Change, Kept
from daemon.config.auth import AnyAuth, ClientCredentials, OAuth, ServiceAccount, TokenAuth
from daemon.config.state import State
from daemon.errors import OperatorError
from daemon.wiring.authorizing import bearer, code_flow

OAUTH: dict[str, Any] = {
    "kind": "oauth",
    "authorize_url": "https://crm.example/authorize",
    "token_url": "https://crm.example/token",
    "client_id": "c",
    "client_secret": "5ecret",
}
CREDENTIALS: dict[str, Any] = {
    "kind": "client_credentials", "token_url": "https://crm.example/token", "client_id": "c", "client_secret": "5ecret",
}  # fmt: skip
ACCOUNT: dict[str, Any] = {"kind": "service_account", "key_file": "/nowhere/key.json", "scopes": ["a"]}


def read(**given: Any) -> AnyAuth:
    return TypeAdapter[AnyAuth](AnyAuth).validate_python(given)


class Nothing:
    """A `TokenStore` without anything."""

    def read(self, _connection: str) -> Kept | None:
        return None

    def change(self, _connection: str, change: Change) -> Kept | None:
        return change(None)


def test_the_kind_says_what_it_is() -> None:
    assert isinstance(read(kind="token", token="t"), TokenAuth)
    assert isinstance(read(**OAUTH), OAuth)
    assert isinstance(read(**CREDENTIALS), ClientCredentials)
    assert isinstance(read(**ACCOUNT), ServiceAccount)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"kind": "password"}, "kind"),
        ({"kind": "token"}, "there is no token: give token or token_file"),
        ({"kind": "token", "token": " "}, "there is no token: give token or token_file"),
        ({"kind": "token", "token": "t", "token_file": "f"}, "give token or token_file"),
        ({"kind": "token", "tokn": "t"}, "Extra inputs"),
        ({**OAUTH, "client_secret": None}, "give client_secret or client_secret_file"),
        ({**OAUTH, "client_secret_file": "f"}, "give client_secret or client_secret_file"),
        ({**OAUTH, "client_auth": "none"}, "neither"),
        ({**OAUTH, "token_url": "http://crm.example/token"}, "https://"),
        ({**OAUTH, "token_url": "https://me:5ecret@crm.example/token"}, "a password"),
        ({**OAUTH, "authorize_url": "crm.example"}, "https://"),
        ({**OAUTH, "redirect_port": 0}, "greater"),
        ({**ACCOUNT, "scopes": []}, "at least 1"),
    ],
)
def test_what_cannot_be_used_is_refused(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        read(**given)


def test_a_service_on_this_host_needs_no_tls() -> None:
    assert isinstance(read(**{**OAUTH, "token_url": "http://127.0.0.1:1/token"}), OAuth)


def test_no_secret_is_shown() -> None:
    for given in ({"kind": "token", "token": "5ecret"}, OAUTH, CREDENTIALS):
        assert "5ecret" not in repr(read(**given))


def test_a_secret_is_read_from_its_file_without_its_line_end(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("t0ken\n")
    one = bearer(read(kind="token", token_file=file), "crm", None)
    assert isinstance(one, StaticToken)
    assert one.token() == "t0ken"
    named = read(**{**OAUTH, "client_secret": None, "client_secret_file": file})
    assert isinstance(named, OAuth)
    assert named.secret() == "t0ken"


def test_a_file_with_nothing_in_it_is_told(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("\n")
    with pytest.raises(OperatorError, match=f"{file} is empty") as refused:
        bearer(read(kind="token", token="", token_file=file), "crm", None)
    assert refused.value.exit_code == 2


@pytest.mark.parametrize(
    ("given", "setting"),
    [
        ({"kind": "token", "token_file": "/nowhere/t"}, "token_file"),
        ({**OAUTH, "client_secret": None, "client_secret_file": "/nowhere/s"}, "client_secret_file"),
        (ACCOUNT, "key_file"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(given: dict[str, Any], setting: str) -> None:
    with pytest.raises(OperatorError, match=r"/nowhere/.* cannot be read") as refused:
        bearer(read(**given), "crm", Nothing())
    assert refused.value.try_ == f"Correct {setting}."
    assert refused.value.exit_code == 2


def test_who_never_logged_in_is_told_the_command() -> None:
    one = bearer(read(**OAUTH), "crm", Nothing())
    assert isinstance(one, StoredBearer)
    with pytest.raises(OperatorError, match="Nobody has logged in") as refused:
        one.token()
    assert refused.value.try_ == "Run: placemat auth login crm"


def test_a_login_goes_where_it_is_configured() -> None:
    auth = read(**{**OAUTH, "scopes": ["a"], "authorize_parameters": {"owner": "user"}, "redirect_port": 4711})
    assert isinstance(auth, OAuth)
    url = code_flow(auth, "crm").begin().url
    assert url.startswith("https://crm.example/authorize?")
    assert "owner=user" in url
    assert "redirect_uri=http%3A%2F%2Flocalhost%3A4711%2Fcallback" in url


def test_the_keys_of_tokens_are_read_newest_first(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("new\nold\n")
    url = SecretStr("postgresql://x")
    assert State(url=url, token_key_file=file).token_keys() == [b"new", b"old"]
    assert State(url=url, token_key=SecretStr("new, old")).token_keys() == [b"new", b"old"]
    for state, sentence in (
        (State(url=url), "no key is set"),
        (State(url=url, token_key_file=tmp_path / "none"), "cannot be read"),
    ):
        with pytest.raises(OperatorError, match=sentence) as refused:
            state.token_keys()
        assert refused.value.exit_code == 2
