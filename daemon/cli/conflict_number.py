"""How conflicts are named on the command line: by their numbers; what the hub refuses by those of `placemat dlq`."""

from __future__ import annotations

from daemon.conflicts.titles import REFUSED_PREFIX
from daemon.errors import OperatorError


def refused_number(text: str) -> int | None:
    """The number of `placemat dlq`; None: a conflict is meant."""
    number = text.removeprefix(REFUSED_PREFIX)
    return int(number) if number != text and number.isdecimal() else None


def conflict_number(text: str) -> int:
    """Raises OperatorError (exit code 2) for what is none."""
    if text.isdecimal():
        return int(text)
    if (number := refused_number(text)) is not None:
        raise OperatorError(
            f"{text} was refused by the hub: there is no side to take, and nothing to take back.",
            f"placemat conflicts show {text} says why, and what to do: correct the row on either side,"
            f" placemat dlq redrive {number}, or placemat dlq discard {number}.",
            exit_code=2,
        )
    raise OperatorError(
        f"{text} is no number of a conflict.", "placemat conflicts list shows those that wait.", exit_code=2
    )
