"""Tokens, and where they are kept for all who use a connection."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

LEEWAY = timedelta(seconds=60)
"""Nearer to its end than this a token is not used any more: the request takes a while, and clocks differ."""


@dataclass(frozen=True, slots=True)
class Token:
    """`expires_at` is None where the service tells no end; `about` is what else it has said, such as a workspace."""

    access: str = field(repr=False)
    refresh: str | None = field(default=None, repr=False)
    expires_at: datetime | None = None
    about: Mapping[str, str] = field(default_factory=dict)

    def fresh(self, now: datetime) -> bool:
        """Whether it can be used for a while yet."""
        return self.expires_at is None or self.expires_at - LEEWAY > now


@dataclass(frozen=True, slots=True)
class Kept:
    """`broken`: what the service has said when it refused to renew it; only a person can go on from there."""

    token: Token
    broken: str | None = None


Change = Callable[[Kept | None], Kept | None]


class TokenStore(Protocol):
    """Where tokens are kept, by connection. Both raise Unavailable when that does not answer, and OperatorError when
    what is kept cannot be read."""

    def read(self, connection: str) -> Kept | None:
        """What is kept now."""

    def change(self, connection: str, change: Change) -> Kept | None:
        """Let `change` say what is to be kept while nobody else, in whatever process, does; None: nothing. It is stored
        when this returns, and not before. It may ask a service meanwhile; what it raises leaves all as it was."""


class InvalidGrant(Exception):
    """The service renews this token no more. `code` is its word for it."""

    def __init__(self, code: str) -> None:
        super().__init__(f"the service has refused to renew the token: {code}")
        self.code = code


class Grant(Protocol):
    """A way to a token."""

    def obtain(self, kept: Token | None, /) -> Token:
        """A new one, given what is kept. Raises InvalidGrant, Unavailable, and OperatorError when a person has to act
        for another reason, or has never logged in."""
