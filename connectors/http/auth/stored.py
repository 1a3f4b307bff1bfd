"""A token that all processes share, renewed by one of them at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from connectors.errors import OperatorError
from connectors.http.auth.token import Grant, InvalidGrant, Kept, Token, TokenStore


class StoredBearer:
    """A `Bearer`. A token is stored before it is used: who dies in between leaves the former one, and what that is good
    for by then is the service's to say (`CodeFlow`). What could not be stored is stored at the next occasion, without
    another renewal. Who has waited for another's renewal takes what that has stored.
    """

    def __init__(
        self, store: TokenStore, connection: str, grant: Grant, *, login: str,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:  # fmt: skip
        """`login` is what a person does when the connection is broken."""
        self._store = store
        self._connection = connection
        self._grant = grant
        self._login = login
        self._now = now
        self._lock = threading.Lock()
        self._seen: Token | None = None
        self._obtained: tuple[Kept | None, Kept] | None = None

    def token(self) -> str:
        with self._lock:
            if self._seen is None or not self._seen.fresh(self._now()):
                self._seen = self._usable(None)
            return self._seen.access

    def renewed(self, refused: str) -> str | None:
        with self._lock:
            if self._seen is None or self._seen.access == refused:
                self._seen = self._usable(refused)
            return None if self._seen.access == refused else self._seen.access

    def _usable(self, refused: str | None) -> Token:
        kept = self._store.change(self._connection, lambda kept: self._renew(kept, refused))
        self._obtained = None
        assert kept is not None
        if kept.broken is not None:
            raise OperatorError(
                f"The connection {self._connection} is broken: the service renews its token no more ({kept.broken}).",
                self._login,
            )
        return kept.token

    def _renew(self, kept: Kept | None, refused: str | None) -> Kept:
        """While nobody else does."""
        if self._obtained is not None and self._obtained[0] == kept:
            return self._obtained[1]
        if kept is not None:
            if kept.broken is not None:
                return kept
            if kept.token.access != refused and kept.token.fresh(self._now()):
                return kept
        try:
            new = Kept(self._grant.obtain(None if kept is None else kept.token))
        except InvalidGrant as error:
            if kept is None:
                raise OperatorError(f"The service gives no token: it answers {error.code}.", self._login) from None
            return replace(kept, broken=error.code)
        self._obtained = kept, new
        return new
