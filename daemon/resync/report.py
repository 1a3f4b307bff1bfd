"""What a resync tells: before it begins, and at its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from daemon.state.gaps import Gap
from daemon.state.jobs import Job
from schemas.position import format_lsn


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be done."""

    source: str
    goes_on: bool
    reasons: Sequence[str]
    slot: str
    tables: Sequence[str]
    targets: Sequence[str]

    def to_json(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "dry_run": True,
            "goes_on": self.goes_on,
            "reasons": list(self.reasons),
            "slot": self.slot,
            "tables": list(self.tables),
            "targets": list(self.targets),
        }

    def render(self) -> str:
        if self.goes_on:
            return f"{self.source}: a repair has begun and would go on."
        lines = [f"{self.source}: {reason}" for reason in self.reasons or ["nothing is wrong that can be seen."]]
        return "\n".join(
            [
                *lines,
                f"Slot {self.slot} would be made anew, and {len(self.tables)} tables copied: {', '.join(self.tables)}.",
                f"Targets that would begin anew: {', '.join(self.targets) or 'none'}.",
            ]
        )


@dataclass(frozen=True, slots=True)
class Report:
    """`away`: targets that could not be reached, and why; `left`: rows that did not leave a target in time."""

    gap: Gap
    copies: Sequence[Job]
    away: Mapping[str, str]
    left: Mapping[str, int]

    @property
    def done(self) -> bool:
        return not (self.away or self.left or any(job.state != "done" for job in self.copies))

    def to_json(self) -> dict[str, Any]:
        gap = self.gap
        return {
            "source": gap.source,
            "dry_run": False,
            "done": self.done,
            "reason": gap.reason,
            "era": gap.era,
            "from_lsn": format_lsn(gap.from_lsn),
            "from_at": gap.from_at.isoformat(),
            "to_lsn": format_lsn(gap.to_lsn),
            "to_at": gap.to_at.isoformat(),
            "seconds": self._seconds,
            "tables": [{"table": job.table, "rows": job.rows, "error": job.error} for job in self.copies],
            "targets": {
                name: {"deleted": gap.deleted.get(name, 0), "left": self.left.get(name, 0)} for name in gap.targets
            },
            "away": dict(self.away),
        }

    def render(self) -> str:
        gap = self.gap
        rows = sum(job.rows for job in self.copies)
        lines = [
            f"{gap.source}: {gap.reason}",
            f"Changes of {self._seconds:,.0f} s were unknown:",
            f"  from {_at(gap.from_at, gap.from_lsn)} to {_at(gap.to_at, gap.to_lsn)}.",
            f"{len(self.copies)} tables were copied, {rows:,} rows.",
        ]
        lines += [f"{job.table}: {job.error}" for job in self.copies if job.error]
        for name in gap.targets:
            lines.append(f"{name}: {gap.deleted.get(name, 0):,} rows were gone from the source and were deleted.")
        lines += [
            f"{name}: {many:,} rows or more are still to be deleted; does its worker run?"
            for name, many in self.left.items()
        ]
        lines += [f"{name} was away: {why}" for name, why in self.away.items()]
        lines.append("Done." if self.done else f"Not done. Run again: placemat resync {gap.source}")
        return "\n".join(lines)

    @property
    def _seconds(self) -> float:
        return round((self.gap.to_at - self.gap.from_at).total_seconds(), 3)


def _at(time: datetime, lsn: int) -> str:
    return f"{time.astimezone():%Y-%m-%d %H:%M:%S} ({format_lsn(lsn)})"
