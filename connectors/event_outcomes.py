"""What each target did with events of one row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol


class EventPlace(NamedTuple):
    """An event by its record."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """`outcome` is a word of the target's, `detail` what there is to say of it."""

    outcome: str
    detail: str | None = None


class OutcomesOf(Protocol):
    """One target. Raises OperatorError when it cannot be asked."""

    def of(self, table: str, events: Sequence[EventPlace]) -> Mapping[EventPlace, Outcome]:
        """What it did with each event of a table of its source; those of which it knows nothing are left out."""
