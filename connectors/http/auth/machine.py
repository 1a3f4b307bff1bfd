"""Tokens that need nobody: client credentials (RFC 6749 section 4.4) and service accounts (RFC 7523)."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

from connectors.errors import OperatorError
from connectors.http.auth.endpoint import TokenEndpoint
from connectors.http.auth.token import InvalidGrant, Token

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
ASSERTION_LASTS = timedelta(minutes=10)
"""Google takes up to an hour; the clock of this host may be off."""


class ClientCredentials:
    """A `Grant`. The scopes go with every request: the service remembers none."""

    def __init__(self, endpoint: TokenEndpoint, scopes: Sequence[str], *, settings: str) -> None:
        self._endpoint = endpoint
        self._scopes = tuple(scopes)
        self._settings = settings

    def obtain(self, _kept: Token | None) -> Token:
        scope = [("scope", " ".join(self._scopes))] if self._scopes else []
        try:
            return self._endpoint.ask([("grant_type", "client_credentials"), *scope])
        except InvalidGrant as error:
            _refused(error, f"Compare id, secret and scopes in {self._settings} with those over there.")


@dataclass(frozen=True, slots=True)
class Account:
    """A service account: its key is an RSA key in PEM."""

    email: str
    key_id: str | None
    key: str = field(repr=False)
    token_url: str = "https://oauth2.googleapis.com/token"


class ServiceAccount:
    """A `Grant`. `subject` is the user that it acts for, where the service lets it."""

    def __init__(
        self, account: Account, endpoint: TokenEndpoint, scopes: Sequence[str], subject: str | None = None,
        *, settings: str, now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:  # fmt: skip
        self._account = account
        self._endpoint = endpoint
        self._scopes = tuple(scopes)
        self._subject = subject
        self._settings = settings
        self._now = now

    def obtain(self, _kept: Token | None) -> Token:
        try:
            return self._endpoint.ask([("grant_type", JWT_BEARER), ("assertion", self._assertion())])
        except InvalidGrant as error:
            _refused(
                error,
                f"See that the account, its key and the user that it acts for in {self._settings} are right, that it"
                " may act for users over there, and that the clock of this host is right.",
            )

    def _assertion(self) -> str:
        import jwt

        now = self._now()
        claims = {
            "iss": self._account.email,
            "aud": self._account.token_url,
            "scope": " ".join(self._scopes),
            "iat": now,
            "exp": now + ASSERTION_LASTS,
            "jti": uuid.uuid4().hex,
        }
        if self._subject is not None:
            claims["sub"] = self._subject
        headers = None if self._account.key_id is None else {"kid": self._account.key_id}
        return jwt.encode(claims, self._account.key, algorithm="RS256", headers=headers)


def account(content: bytes, settings: str) -> Account:
    """A service account from its key file. Raises OperatorError (exit code 2) when it is none."""
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        found: Any = json.loads(content)
        made = Account(found["client_email"], found.get("private_key_id"), found["private_key"], found["token_uri"])
        good = isinstance(load_pem_private_key(made.key.encode(), None), RSAPrivateKey)
    except (ValueError, TypeError, KeyError, AttributeError):
        good = False
    if not good:
        raise OperatorError(
            "The key file of a service account holds none.",
            f"Set {settings} to the JSON file that the service gave out for it.",
            exit_code=2,
        )
    return made


def _refused(error: InvalidGrant, advice: str) -> NoReturn:
    raise OperatorError(f"The service gives no token: it answers {error.code}.", advice) from None
