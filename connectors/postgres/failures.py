"""What an error of PostgreSQL means for the sink.

Sentences hold no values of a row, but for a name that nothing has: who is to make that must know it.
"""

from __future__ import annotations

import psycopg

from connectors.contract import TryAgain
from connectors.errors import Fenced, OperatorError, TableUnfit, Unavailable
from connectors.postgres.statements import TargetTable


class Refused(Exception):
    """The target does not take a row as it is."""

    def __init__(self, sqlstate: str, reason: str) -> None:
        super().__init__(reason)
        self.sqlstate = sqlstate
        self.reason = reason


SUPPRESSED = "02000"
"""SQLSTATE `no_data`, for a write that went through and changed nothing, because a trigger suppressed it."""

_PASSING = {"40001", "40P01", "55P03", "57014"}
_GONE = ("08", "53", "57P", "58", "25P03", "25006")
_REFUSING = ("21", "22", "23", "44", "54", "P0", "428C9")
_NAMING = {"3F000", "42P01", "42601", "42602", "42704", "42725", "42883"}
"""What a value of `regclass` and its like may be at fault for, and a statement as well."""
_NO_UNIQUE_KEY = "42P10"
_UNFIT = {"3F000", "42P01", "42703", "42704", "42804", "42883", _NO_UNIQUE_KEY}
"""A statement, or a trigger's, names what is gone, or what is of another type than when the worker claimed."""
_WHAT = {
    "23502": "a column that must not be null is null",
    "23503": "the row that a foreign key names is missing, or still referred to",
    "23505": "another row has the same unique value",
    "23514": "a check does not hold",
    "23P01": "an exclusion constraint does not hold",
    "22001": "a text is too long",
    "22003": "a number is out of range",
    "22P02": "a value is none of its column's type",
    "22021": "a text does not fit the database's encoding",
    "P0001": "a trigger raised an exception",
}


def translate(error: psycopg.Error, target: str, table: TargetTable | None = None) -> Exception:
    """The contract's error for one of PostgreSQL's; `Refused` where a single row may be at fault.

    `table` is the one that the statement writes: `TableUnfit` where it is not what it was.
    """
    state = error.sqlstate
    if state is None:
        return Unavailable(f"target {target} does not answer")
    if state in _PASSING:
        return TryAgain(f"target {target} was busy ({state})")
    if state.startswith(_GONE):
        return Unavailable(f"target {target} is not available ({state})")
    if state.startswith(_REFUSING):
        return Refused(state, _reason(error, state))
    if state in _NAMING and _in_a_value(error):
        return Refused(state, f"a value names what is not there ({error.diag.message_primary}, SQLSTATE {state})")
    if state == "42501":
        return OperatorError(
            f"Target {target} denies its role a right that it needs ({error.diag.message_primary}).",
            "placemat init says which right is missing, and how to give it.",
        )
    if table is not None and state in _UNFIT:
        return unfit(error, target, table)
    if state in ("42P01", "42703", "3F000"):
        return OperatorError(
            f"A table or column of target {target} is gone{_on(error)}.",
            "placemat init says what differs from the source.",
        )
    return OperatorError(
        f"Target {target} answered with an error that is not known here (SQLSTATE {state}){_on(error)}.",
        "Nothing was written; see the target's log, then start placemat run again.",
    )


def unfit(error: psycopg.Error, target: str, table: TargetTable) -> TableUnfit:
    """The sentence for a table that has changed under the worker; the server's words name only what it is made of."""
    there, then = table.routing.table or table.name, f"then: placemat resume {target} {table.name}"
    if error.sqlstate == _NO_UNIQUE_KEY:
        listed = ", ".join(table.arbiter)
        return TableUnfit(
            table.name,
            f"{there} of target {target} has no unique key on ({listed}) any more.",
            f"Add it there: ALTER TABLE {table.quoted} ADD PRIMARY KEY ({listed}); {then}",
        )
    return TableUnfit(
        table.name,
        f"{there} of target {target} is not what it was: {error.diag.message_primary} (SQLSTATE {error.sqlstate}).",
        f"placemat init says what differs from the source; {then}",
    )


def passes(error: BaseException) -> bool:
    """Whether an error is one of the contract's already."""
    return isinstance(error, Refused | TryAgain | Unavailable | Fenced | OperatorError)


def _in_a_value(error: psycopg.Error) -> bool:
    """A name of the statement is told with its place, and one in a trigger or function with that as its context."""
    diagnosis = error.diag
    return diagnosis.statement_position is None and diagnosis.context is None


def _reason(error: psycopg.Error, state: str) -> str:
    diagnosis = error.diag
    what = _WHAT.get(state, "the row is refused")
    parts = [
        f"{kind} {name}"
        for kind, name in (("constraint", diagnosis.constraint_name), ("column", diagnosis.column_name))
        if name
    ]
    return f"{what} ({', '.join([*parts, f'SQLSTATE {state}'])})"


def _on(error: psycopg.Error) -> str:
    name = error.diag.table_name
    return f" (table {name})" if name else ""
