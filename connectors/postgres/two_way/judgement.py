"""What was made of a row that goes both ways, for the audit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Judgement:
    """`written`: the row was changed here. `details`: rule, resolution and number of the conflict, if there was one."""

    outcome: str
    written: bool
    details: Mapping[str, Any] = field(default_factory=dict)
