"""Ways to a token, against a service on this host that gives them out."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from connectors.errors import OperatorError, Unavailable
from connectors.http.auth.code_flow import CodeFlow, Door, NotThisLogin, challenge, code_of
from connectors.http.auth.endpoint import Application, TokenEndpoint
from connectors.http.auth.machine import ClientCredentials, ServiceAccount, account
from connectors.http.auth.token import InvalidGrant, Token
from tests.token_service import CLIENT, SECRET, TokenService, token_service

NOW = datetime(2026, 11, 22, 19, 0, tzinfo=UTC)
APPLICATION = Application(CLIENT, SECRET)
REDIRECT = "http://localhost:8976/callback"


@pytest.fixture
def service() -> Iterator[TokenService]:
    with token_service() as found:
        yield found


def endpoint(service: TokenService, application: Application | None = APPLICATION, **options: Any) -> TokenEndpoint:
    return TokenEndpoint(
        service.url, application, connection="crm", settings="targets.crm.auth", now=lambda: NOW, **options
    )


def flow(service: TokenService, **door: Any) -> CodeFlow:
    made = Door("https://crm.example/authorize", REDIRECT, **door)
    return CodeFlow(made, endpoint(service), APPLICATION, login="Run: placemat auth login crm")


def test_the_example_of_rfc_7636_has_its_challenge() -> None:
    assert challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk") == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def test_a_person_is_sent_to_the_service_with_all_that_it_needs(service: TokenService) -> None:
    begun = flow(service, scopes=("a", "b c"), extra={"owner": "user"}).begin()
    asked = {name: values[0] for name, values in parse_qs(urlsplit(begun.url).query).items()}
    assert asked == {
        "response_type": "code", "client_id": CLIENT, "redirect_uri": REDIRECT, "scope": "a b c", "owner": "user",
        "state": begun.state, "code_challenge": challenge(begun.verifier), "code_challenge_method": "S256",
    }  # fmt: skip
    assert 43 <= len(begun.verifier) <= 128
    assert flow(service).begin() != begun
    assert begun.state not in repr(begun)


def test_the_code_of_a_login_is_exchanged_with_its_proof(service: TokenService) -> None:
    code = flow(service)
    begun = code.begin()
    service.codes["c1"] = challenge(begun.verifier)
    token = code.exchange(begun, "c1")
    assert token == Token(
        "access-1-tok-5ecret", "refresh-1-tok-5ecret", NOW + timedelta(hours=1), {"workspace_name": "Here"}
    )
    assert "5ecret" not in repr(token)
    assert service.asked[0]["redirect_uri"] == REDIRECT
    told = base64.b64decode(str(service.authorization[0]).removeprefix("Basic ")).decode()
    assert told == "client-1:s%E2%82%ACcret%3A%2F1"


def test_the_code_of_another_login_is_of_no_use(service: TokenService) -> None:
    code = flow(service)
    service.codes["c1"] = challenge(code.begin().verifier)
    with pytest.raises(OperatorError, match="does not take the code") as refused:
        code.exchange(code.begin(), "c1")
    assert "placemat auth login crm" in refused.value.try_


def test_a_service_that_knows_no_proof_is_sent_none(service: TokenService) -> None:
    code = flow(service, pkce=False)
    begun = code.begin()
    assert "code_challenge" not in begun.url
    service.codes["c1"] = None
    code.exchange(begun, "c1")
    assert "code_verifier" not in service.asked[0]


def test_a_renewed_token_has_the_new_refresh_token_or_keeps_the_former_one(service: TokenService) -> None:
    service.refresh.append("r1")
    renewed = flow(service).obtain(Token("a", "r1"))
    assert renewed.refresh == "refresh-2-tok-5ecret"
    service.rotates = False
    assert flow(service).obtain(renewed).refresh == "refresh-2-tok-5ecret"


def test_a_refresh_token_that_is_not_taken_is_no_failure_that_passes(service: TokenService) -> None:
    with pytest.raises(InvalidGrant):
        flow(service).obtain(Token("a", "gone"))


def test_without_a_login_or_a_refresh_token_a_person_is_asked(service: TokenService) -> None:
    for kept in (None, Token("a")):
        with pytest.raises(OperatorError) as refused:
            flow(service).obtain(kept)
        assert refused.value.try_ == "Run: placemat auth login crm"
    assert service.asked == []


@pytest.mark.parametrize(
    ("how", "secret", "sent"),
    [("body", SECRET, {"client_id": CLIENT, "client_secret": SECRET}), ("none", None, {"client_id": CLIENT})],
)
def test_id_and_secret_go_where_the_service_reads_them(
    service: TokenService, how: Any, secret: str | None, sent: dict[str, str]
) -> None:
    endpoint(service, Application(CLIENT, secret, how)).ask([("grant_type", "client_credentials")])
    assert service.asked[0] == {"grant_type": "client_credentials", **sent}
    assert service.authorization == [None]


def test_parameters_go_as_json_where_the_service_reads_that(service: TokenService) -> None:
    endpoint(service, encoding="json").ask([("grant_type", "client_credentials")])
    assert service.asked == [{"grant_type": "client_credentials"}]


def test_a_token_without_an_end_has_none(service: TokenService) -> None:
    service.lasts = None
    assert endpoint(service).ask([("grant_type", "client_credentials")]).expires_at is None


@pytest.mark.parametrize("status", [429, 500, 503, 302])
def test_a_service_that_fails_is_asked_again_later(service: TokenService, status: int) -> None:
    service.refuse = status, "x"
    with pytest.raises(Unavailable):
        flow(service).obtain(Token("a", "r1"))
    assert len(service.asked) == 1


def test_a_service_that_is_away_is_asked_again_later(service: TokenService) -> None:
    away = TokenService("http://nothing.invalid/token")
    with pytest.raises(Unavailable, match="gives no token now: ConnectError"):
        flow(away).obtain(Token("a", "r1"))


@pytest.mark.parametrize(
    ("status", "code", "advice"),
    [(401, "invalid_client", "Compare id and secret"), (400, "invalid_scope", "Correct the scopes")],
)
def test_a_refusal_names_the_service_s_code_and_what_to_do(
    service: TokenService, status: int, code: str, advice: str
) -> None:
    service.refuse = status, code
    with pytest.raises(OperatorError, match=code) as refused:
        flow(service).obtain(Token("a", "r1"))
    assert advice in refused.value.try_
    assert "5ecret" not in str(refused.value) + refused.value.try_


def test_an_answer_without_a_token_is_named() -> None:
    with token_service(refuse=(200, "x")) as service, pytest.raises(OperatorError, match="without a token"):
        endpoint(service).ask([("grant_type", "client_credentials")])


def test_client_credentials_repeat_their_scopes(service: TokenService) -> None:
    grant = ClientCredentials(endpoint(service), ("a", "b"), settings="targets.crm.auth")
    for kept in (None, Token("old", "r")):
        assert grant.obtain(kept).refresh is None
    assert [asked["scope"] for asked in service.asked] == ["a b", "a b"]


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65_537, 2_048)


def pem(key: Any) -> str:
    kind = serialization.PrivateFormat.PKCS8
    return str(key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption()).decode())


def key_file(service: TokenService, key: Any) -> bytes:
    return json.dumps(
        {
            "type": "service_account",
            "client_email": "bot@crm.example",
            "private_key_id": "k1",
            "private_key": pem(key),
            "token_uri": service.url,
        }
    ).encode()


@pytest.mark.parametrize("subject", [None, "tess@crm.example"])
def test_a_service_account_signs_what_it_asks_for(
    service: TokenService, key: rsa.RSAPrivateKey, subject: str | None
) -> None:
    found = account(key_file(service, key), "targets.crm.auth.key_file")
    assert "PRIVATE" not in repr(found)
    grant = ServiceAccount(
        found, endpoint(service, None), ("a", "b"), subject, settings="x", now=lambda: datetime.now(UTC)
    )
    grant.obtain(None)
    sent = service.asked[0]["assertion"]
    claims = jwt.decode(sent, key.public_key(), algorithms=["RS256"], audience=service.url)
    assert (claims["iss"], claims["scope"], claims.get("sub")) == ("bot@crm.example", "a b", subject)
    assert 0 < claims["exp"] - claims["iat"] <= 3_600
    assert jwt.get_unverified_header(sent)["kid"] == "k1"
    assert service.authorization == [None]


def test_a_service_account_that_is_refused_is_told_what_to_look_at(
    service: TokenService, key: rsa.RSAPrivateKey
) -> None:
    service.refuse = 400, "invalid_grant"
    grant = ServiceAccount(account(key_file(service, key), "x"), endpoint(service, None), ("a",), settings="x")
    with pytest.raises(OperatorError, match="invalid_grant") as refused:
        grant.obtain(None)
    assert "clock" in refused.value.try_


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"client_email": 1}'])
def test_a_key_file_that_holds_no_account_is_named(content: bytes) -> None:
    with pytest.raises(OperatorError, match="key file of a service account") as refused:
        account(content, "targets.crm.auth.key_file")
    assert "targets.crm.auth.key_file" in refused.value.try_


def test_a_key_of_another_kind_is_refused(service: TokenService) -> None:
    with pytest.raises(OperatorError, match="key file"):
        account(key_file(service, ec.generate_private_key(ec.SECP256R1())), "x")


def test_only_the_answer_of_this_login_is_taken(service: TokenService) -> None:
    begun = flow(service).begin()
    for address in (f"{REDIRECT}?code=c", f"{REDIRECT}?code=c&state=other", f"{REDIRECT}?state={begun.state}", "", "?"):
        with pytest.raises(NotThisLogin):
            code_of(address, begun)
    assert code_of(f"{REDIRECT}?code=c%2F1&state={begun.state}", begun) == "c/1"
    assert code_of(f"code=c&state={begun.state}", begun) == "c"


def test_a_person_who_refuses_ends_the_login(service: TokenService) -> None:
    begun = flow(service).begin()
    with pytest.raises(OperatorError, match="lets nobody in: access_denied"):
        code_of(f"{REDIRECT}?error=access_denied&state={begun.state}", begun)
