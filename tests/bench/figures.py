"""What is measured, how large a run is, and the table at its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from daemon.cli.output import Json, write_table


@dataclass(frozen=True, slots=True)
class Size:
    """Rows, changes and seconds of one run."""

    rounds: int
    capture_rows: int
    apply_events: int
    latency_seconds: int
    large_transactions: tuple[int, ...]
    backlog_rows: int


QUICK = Size(3, 20_000, 20_000, 8, (100_000,), 50_000)
FULL = Size(3, 100_000, 100_000, 30, (500_000,), 200_000)
LONG = Size(5, 200_000, 200_000, 60, (500_000, 5_000_000), 10_000_000)


@dataclass(frozen=True, slots=True)
class Speed:
    """How one stretch of work went. Processor time suffers less than time from other programs on the machine."""

    count: int
    seconds: float
    cpu_seconds: float

    @property
    def rate(self) -> float:
        """A second."""
        return self.count / self.seconds

    @property
    def cpu_us(self) -> float:
        """Microseconds for each."""
        return self.cpu_seconds / self.count * 1_000_000


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. `rounds` holds what was measured each time, ours first, then what stood beside it."""

    part: str
    what: str
    unit: str
    rounds: Sequence[tuple[float, float | None]]
    beside: str = ""
    goal: str = ""

    @property
    def ours(self) -> float:
        return median(ours for ours, _ in self.rounds)

    @property
    def theirs(self) -> float | None:
        known = [theirs for _, theirs in self.rounds if theirs is not None]
        return median(known) if known else None

    @property
    def ratio(self) -> float | None:
        """The median of each round's own ratio: what disturbs one round disturbs both of its halves."""
        ratios = [ours / theirs for ours, theirs in self.rounds if theirs]
        return median(ratios) if ratios else None

    def as_json(self) -> dict[str, Json]:
        return {
            "part": self.part,
            "what": self.what,
            "unit": self.unit,
            "placemat": round(self.ours, 2),
            "beside": self.beside or None,
            "theirs": None if self.theirs is None else round(self.theirs, 2),
            "ratio": None if self.ratio is None else round(self.ratio, 3),
            "goal": self.goal or None,
            "rounds": [[None if value is None else round(value, 2) for value in one] for one in self.rounds],
        }


def single(part: str, what: str, unit: str, value: float, goal: str = "") -> Figure:
    """A figure that has nothing beside it."""
    return Figure(part, what, unit, [(value, None)], goal=goal)


def write_figures(figures: Sequence[Figure]) -> None:
    """The table, on standard output."""
    header = ("part", "what", "unit", "placemat", "beside it", "", "ratio", "goal")
    write_table(header, [_cells(figure) for figure in figures])


def _cells(figure: Figure) -> list[str]:
    return [
        figure.part,
        figure.what,
        figure.unit,
        _number(figure.ours),
        figure.beside or "-",
        "-" if figure.theirs is None else _number(figure.theirs),
        "-" if figure.ratio is None else f"{figure.ratio:.2f}",
        figure.goal,
    ]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1_000 else f"{value:.1f}"
