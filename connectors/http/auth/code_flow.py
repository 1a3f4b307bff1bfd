"""A person lets us in: OAuth 2 with an authorization code and PKCE (RFC 6749 section 4.1, RFC 7636)."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlencode, urlsplit

from connectors.errors import OperatorError
from connectors.http.auth.endpoint import Application, TokenEndpoint
from connectors.http.auth.token import InvalidGrant, Token


@dataclass(frozen=True, slots=True)
class Begun:
    """A login that waits for a person: `url` is for them, the rest is ours alone."""

    url: str = field(repr=False)
    state: str = field(repr=False)
    verifier: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Door:
    """Where a person lets us in: `extra` are parameters of the service's own, such as `owner=user`. `pkce` is off for
    services that refuse parameters which they do not know."""

    url: str
    redirect: str
    scopes: Sequence[str] = ()
    extra: Mapping[str, str] = field(default_factory=dict)
    pkce: bool = True


class CodeFlow:
    """A `Grant`. What it keeps is renewed with the refresh token, as long as the service takes it.

    A refresh may be lost on the way back, or before it was stored: then the one that is kept is sent once more. Xero
    takes it for 30 minutes more, Google does not change it, Notion does not say, Airtable takes it only once; where it
    is not taken, somebody has to log in again.
    """

    def __init__(self, door: Door, endpoint: TokenEndpoint, application: Application, *, login: str) -> None:
        """`login` is the command that a person types to log in."""
        self._door = door
        self._endpoint = endpoint
        self._application = application
        self._login = login

    def begin(self) -> Begun:
        """A login of its own: no other state and no other verifier will do."""
        state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(48)
        parameters = {
            "response_type": "code",
            "client_id": self._application.id,
            "redirect_uri": self._door.redirect,
            **({"scope": " ".join(self._door.scopes)} if self._door.scopes else {}),
            "state": state,
            **({"code_challenge": challenge(verifier), "code_challenge_method": "S256"} if self._door.pkce else {}),
            **self._door.extra,
        }
        joint = "&" if urlsplit(self._door.url).query else "?"
        return Begun(f"{self._door.url}{joint}{urlencode(parameters)}", state, verifier)

    def exchange(self, begun: Begun, code: str) -> Token:
        """The token for the code that the person has come back with. Raises Unavailable and OperatorError."""
        proof = [("code_verifier", begun.verifier)] if self._door.pkce else []
        try:
            return self._endpoint.ask(
                [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", self._door.redirect), *proof]
            )
        except InvalidGrant:
            raise OperatorError(
                "The service does not take the code of this login: it was used before, is too old, or of another"
                " redirect address.",
                f"See that {self._door.redirect} is registered over there, and run once more: {self._login}",
            ) from None

    def obtain(self, kept: Token | None) -> Token:
        if kept is None:
            raise OperatorError("Nobody has logged in to this service yet.", self._login)
        if kept.refresh is None:
            raise OperatorError(
                "The service takes the token no more, and gave none that would renew it.", self._login
            )  # fmt: skip
        return self._endpoint.ask([("grant_type", "refresh_token"), ("refresh_token", kept.refresh)], kept)


class NotThisLogin(Exception):
    """An answer that belongs to no login of ours, or to another one."""


def code_of(redirect: str, begun: Begun) -> str:
    """The code in the address that the service has sent the person to, whole or only what follows its question mark.

    Raises NotThisLogin when it is of another login, and OperatorError when the person has been refused, or has refused.
    """
    found = parse_qs(urlsplit(redirect).query or redirect)
    if not secrets.compare_digest(found.get("state", [""])[0].encode(), begun.state.encode()):
        raise NotThisLogin
    if "error" in found:
        word = "".join(letter for letter in found["error"][0] if letter.isalnum() or letter == "_")[:60]
        raise OperatorError(f"The service lets nobody in: {word}.", "Begin again, and allow the access over there.")
    if not found.get("code", [""])[0]:
        raise NotThisLogin
    return found["code"][0]


def challenge(verifier: str) -> str:
    """S256 of RFC 7636."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
