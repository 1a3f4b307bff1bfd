"""Rounds of the same work, done by ours and by what stands beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from daemon.cli.output import say
from tests.bench.figures import Figure, Speed

Work = TypeVar("Work")


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is measured: so many `unit` a second, and what of a core one of them takes."""

    part: str
    what: str
    unit: str
    beside: str
    goal: str

    def run(
        self,
        rounds: int,
        prepare: Callable[[], Work],
        ours: Callable[[Work], Speed],
        theirs: Callable[[Work], float],
    ) -> list[Figure]:
        """Prepare work and have it done by both, who take turns in going first. `theirs` returns a rate a second."""
        rates: list[tuple[float, float | None]] = []
        costs: list[tuple[float, float | None]] = []
        for number in range(rounds):
            work = prepare()
            if number % 2 == 0:
                speed, rate = ours(work), theirs(work)
            else:
                rate, speed = theirs(work), ours(work)
            rates.append((speed.rate, rate))
            costs.append((speed.cpu_us, None))
            say(f"{self.part}, round {number + 1}: {speed.rate:,.0f} {self.unit}s/s beside {rate:,.0f}")
        return [
            Figure(self.part, self.what, f"{self.unit}s/s", rates, self.beside, self.goal),
            Figure(self.part, "processor time of its process", f"us/{self.unit}", costs),
        ]
