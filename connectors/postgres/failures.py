"""What an error of PostgreSQL means for the sink. Sentences never hold values of a row."""

from __future__ import annotations

import psycopg

from connectors.contract import TryAgain
from connectors.errors import Fenced, OperatorError, Unavailable


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


def translate(error: psycopg.Error, target: str) -> Exception:
    """The contract's error for one of PostgreSQL's; `Refused` where a single row may be at fault."""
    state = error.sqlstate
    if state is None:
        return Unavailable(f"target {target} does not answer")
    if state in _PASSING:
        return TryAgain(f"target {target} was busy ({state})")
    if state.startswith(_GONE):
        return Unavailable(f"target {target} is not available ({state})")
    if state.startswith(_REFUSING):
        return Refused(state, _reason(error, state))
    if state == "42501":
        return OperatorError(
            f"Target {target} denies its role a right that it needs{_on(error)}.",
            "placemat init says which right is missing, and how to give it.",
        )
    if state in ("42P01", "42703", "3F000"):
        return OperatorError(
            f"A table or column of target {target} is gone{_on(error)}.",
            "placemat init says what differs from the source.",
        )
    return OperatorError(
        f"Target {target} answered with an error that is not known here (SQLSTATE {state}){_on(error)}.",
        "Nothing was written; see the target's log, then start placemat run again.",
    )


def passes(error: BaseException) -> bool:
    """Whether an error is one of the contract's already."""
    return isinstance(error, Refused | TryAgain | Unavailable | Fenced | OperatorError)


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
