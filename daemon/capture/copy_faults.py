"""What may go wrong with reading one table: the fault of that table, or of the whole source."""

from __future__ import annotations

import psycopg

from daemon.errors import OperatorError

_OF_THE_SERVER = ("08", "53", "57P", "58", "F0", "XX")
"""Classes of SQLSTATE that say nothing about a table: connection, resources, shutdown, system, internal errors."""


def right_missing(table: str, role: str) -> str:
    """For the operator, of tables that the role may not read, separated by commas."""
    return f"The right to read {table} is missing. Try: GRANT SELECT ON {table} TO {role}"


def of_the_table(error: BaseException) -> bool:
    """Reading other tables may go well."""
    return (
        isinstance(error, psycopg.Error)
        and error.sqlstate is not None
        and not error.sqlstate.startswith(_OF_THE_SERVER)
    )


def sentence(table: str, error: BaseException) -> str:
    """For the operator, without values of rows."""
    if isinstance(error, OperatorError):
        return f"{error} {error.try_}"
    assert isinstance(error, psycopg.Error)
    return f"{table} cannot be read ({type(error).__name__}). Put that right, then: placemat snapshot {table}"
