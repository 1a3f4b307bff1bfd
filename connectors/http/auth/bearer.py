"""What a client asks for its credentials."""

from __future__ import annotations

from typing import Protocol

from connectors.errors import OperatorError


class Bearer(Protocol):
    """The token of each request. Both raise Unavailable when it cannot be told now, and OperatorError when a person has
    to act; from any thread."""

    def token(self) -> str:
        """The one to send."""

    def renewed(self, refused: str) -> str | None:
        """Another one than that, which the service has refused. None: there is no other."""


class StaticToken:
    """A token that a person has made over there, without an end that we know of."""

    def __init__(self, token: str) -> None:
        self._token = sendable(token)

    def token(self) -> str:
        return self._token

    def renewed(self, refused: str) -> str | None:
        return None if refused == self._token else self._token


def sendable(token: str) -> str:
    """A token as a header holds it. Raises OperatorError (exit code 2) when it cannot be one; it is never shown."""
    token = token.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise OperatorError(
            "The token of a service is empty, or holds spaces or characters that no header may have.",
            "Copy it once more, whole and alone.",
            exit_code=2,
        )
    return token
