"""First contact with a PostgreSQL database, and what to say when it fails."""

from __future__ import annotations

from typing import Any

import psycopg

from daemon.errors import OperatorError

CONNECT_TIMEOUT_SECONDS = 5


def connect(url: str, what: str, setting: str, *, autocommit: bool = True) -> psycopg.Connection[Any]:
    """Open a connection for checks; `what` and `setting` name the database in the sentence.

    Raises OperatorError when the URL is none, or the database does not let us in.
    """
    try:
        return psycopg.connect(
            url, autocommit=autocommit, connect_timeout=CONNECT_TIMEOUT_SECONDS, application_name="placemat"
        )
    except psycopg.Error as error:
        raise unreachable(error, what, setting) from None


def unreachable(error: psycopg.Error, what: str, setting: str) -> OperatorError:
    """The sentence for a database that cannot be used."""
    variable = f"PLACEMAT_{setting.upper().replace('.', '__')}"
    if isinstance(error, psycopg.ProgrammingError) and error.sqlstate is None:
        # libpq repeats what it could not read, with the password in it.
        return OperatorError(
            f"{what} cannot be reached: {setting} is not a PostgreSQL URL.",
            f"Write it as postgresql://user:password@host:5432/database (variable {variable}).",
            exit_code=2,
        )
    return OperatorError(
        f"{what} cannot be reached: {reason(error)}.",
        f"See that the server runs, and that {setting} (variable {variable}) is right.",
    )


def reason(error: BaseException) -> str:
    """An error's first line, as the end of a sentence."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return lines[0].removeprefix("connection failed: ").rstrip(".:")
