"""First contact with a PostgreSQL database, and what to say when it fails."""

from __future__ import annotations

import os
import re
import select
import socket
from contextlib import suppress
from typing import Any

import psycopg

from daemon.errors import OperatorError

CONNECT_TIMEOUT_SECONDS = 5
LIVELY: dict[str, Any] = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}
"""Connection parameters by which a peer that is lost without a word is noticed within half a minute."""
# Where a password holds an @, its end is taken for a part of the host; with other characters for the port.
_MISREAD = re.compile(r"""(resolve host '|server at "|on socket ")[^'"]*@|for connection option "port""")


def connect(url: str, what: str, setting: str, *, autocommit: bool = True) -> psycopg.Connection[Any]:
    """Open a connection for checks; `what` and `setting` name the database in the sentence.

    Raises OperatorError when the URL is none, or the database does not let us in.
    """
    try:
        return psycopg.connect(
            url,
            autocommit=autocommit,
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            application_name="placemat",
            options="-c datestyle=ISO -c quote_all_identifiers=off",
        )
    except psycopg.Error as error:
        raise unreachable(error, what, setting) from None


def unreachable(error: psycopg.Error, what: str, setting: str) -> OperatorError:
    """The sentence for a database that cannot be used."""
    variable = f"PLACEMAT_{setting.upper().replace('.', '__')}"
    if _is_misread(error):
        return OperatorError(
            f"{what} cannot be reached: {setting} is not a PostgreSQL URL.",
            f"Write it as postgresql://user:password@host:5432/database (variable {variable}), with characters such as"
            " @ : / # % in the password percent-encoded (%40 for @).",
            exit_code=2,
        )
    return OperatorError(
        f"{what} cannot be reached: {reason(error)}.",
        f"See that the server runs, and that {setting} (variable {variable}) is right.",
    )


def reason(error: BaseException) -> str:
    """An error's first line, as the end of a sentence, and nothing of a URL that could not be read."""
    if _is_misread(error):
        return "its URL is not a PostgreSQL URL"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return lines[0].removeprefix("connection failed: ").rstrip(".:")


def hang_up(connection: psycopg.Connection[Any]) -> None:
    """End whatever a connection waits for, from another thread: it fails there as if the server had gone."""
    with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.pgconn.socket)) as handle:
        handle.shutdown(socket.SHUT_RDWR)


def ready(file: int, events: int, seconds: float | None = None) -> bool:
    """Wait until a connection's socket can be read or written, `select.POLLIN` or `POLLOUT`, or has failed."""
    poll = select.poll()
    poll.register(file, events | select.POLLERR | select.POLLHUP)
    return bool(poll.poll(None if seconds is None else max(0.0, seconds) * 1000))


def _is_misread(error: BaseException) -> bool:
    """Whether libpq could not read a URL as it was meant: what it then repeats may hold the password, or a part."""
    if not isinstance(error, psycopg.Error) or error.sqlstate is not None:
        return False
    return isinstance(error, psycopg.ProgrammingError) or _MISREAD.search(str(error)) is not None
