"""Tokens of services, encrypted: whoever has the state database alone has none of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import sqlalchemy
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from connectors.http.auth.token import Change, Kept, Token
from daemon.errors import OperatorError, Unavailable
from daemon.state.connection_row import LockedRow, locked
from schemas import tables

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

RENEWAL_SECONDS = 60
"""More than a service takes to renew a token; a process that stands still meanwhile loses the row then."""
_t = tables.tokens


class Tokens:
    """A `TokenStore` (`connectors/http/auth/token.py`): one row for each connection, locked while its token is renewed.

    The first of the keys encrypts; the others are former ones, with which what is kept can still be read.
    """

    def __init__(self, engine: sqlalchemy.Engine, keys: Sequence[bytes]) -> None:
        """Raises OperatorError (exit code 2) when a key is none."""
        self._engine = engine
        self._cipher = _cipher(keys)

    def read(self, connection: str) -> Kept | None:
        try:
            with self._engine.connect() as reading:
                found = reading.execute(select(_t).where(_t.c.connection == connection)).one_or_none()
        except OperationalError as error:
            raise Unavailable("the state database cannot be reached") from error
        return None if found is None else self._kept(found)

    def change(self, connection: str, change: Change) -> Kept | None:
        with locked(self._engine, _t, connection, RENEWAL_SECONDS) as row:
            before = self._kept(row.found)
            after = change(before)
            if after != before:
                self._write(row, after)
            return after

    def replace(self, connection: str, token: Token) -> None:
        """Somebody has logged in: whatever was kept, and whether or not it can be read, this is now. Raises
        Unavailable."""
        with locked(self._engine, _t, connection, RENEWAL_SECONDS) as row:
            self._write(row, Kept(token))

    def forget(self, connection: str, *, dry_run: bool = False) -> bool:
        """Keep nothing of it any more; whether something is kept. Raises Unavailable."""
        with locked(self._engine, _t, connection, RENEWAL_SECONDS) as row:
            if not dry_run or row.found.content is None:
                row.remove()
            return row.found.content is not None

    def _write(self, row: LockedRow, kept: Kept | None) -> None:
        if kept is None:
            row.write(content=None, broken=None)
            return
        # The name is part of it: a row that is put under another name is none.
        content = orjson.dumps({"connection": row.found.connection, **asdict(kept.token)})
        row.write(content=self._cipher.encrypt(content), broken=kept.broken)

    def _kept(self, row: Any) -> Kept | None:
        from cryptography.fernet import InvalidToken

        if row.content is None:
            return None
        try:
            found = orjson.loads(self._cipher.decrypt(bytes(row.content)))
        except InvalidToken:
            found = {}
        if found.pop("connection", None) != row.connection:
            raise OperatorError(
                f"The token of {row.connection} cannot be read with the key that is set.",
                "Set state.token_key or state.token_key_file to the key that it was stored with, or forget it:"
                f" placemat auth logout {row.connection}",
            )
        expires_at = found["expires_at"]
        return Kept(
            Token(**{**found, "expires_at": None if expires_at is None else datetime.fromisoformat(expires_at)}),
            row.broken,
        )


def make_key(path: Path) -> None:
    """Write a new key to a file that only its owner can read. Raises OperatorError when it is there, or cannot be."""
    from cryptography.fernet import Fernet

    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(Fernet.generate_key() + b"\n")
    except FileExistsError:
        raise OperatorError(f"{path} is there already.", "Name a new file: a key is never written over.") from None
    except OSError as error:
        raise OperatorError(f"{path} cannot be written: {error.strerror}.", "Name another file.") from None


def _cipher(keys: Sequence[bytes]) -> MultiFernet:
    from cryptography.fernet import Fernet, MultiFernet

    try:
        return MultiFernet([Fernet(key) for key in keys])
    except ValueError:
        raise OperatorError(
            "The key of stored tokens is none.", "Make one: placemat auth key FILE", exit_code=2
        ) from None
