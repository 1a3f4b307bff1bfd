"""What was made of a row that goes both ways, for the audit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Judgement:
    """`written`: the row was changed here. `details`: rule, resolution and number of the conflict, if there was one."""

    outcome: str
    written: bool
    details: Mapping[str, Any] = field(default_factory=dict)
    each: Sequence[tuple[str, Mapping[str, Any]]] = ()
    """Outcome and details of each event of the row in their order, where they are told apart."""

    def of(self, number: int) -> tuple[str, Mapping[str, Any]]:
        """Of one of the row's events, counted from 0."""
        return self.each[number] if self.each else (self.outcome, self.details)
