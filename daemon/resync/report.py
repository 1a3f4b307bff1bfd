"""What a resync tells: before it begins, and at its end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from daemon.errors import Gap as GapError
from daemon.resync.gone import Gone
from daemon.state.gaps import Gap
from daemon.state.jobs import Job
from schemas.position import format_lsn


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be done."""

    source: str
    goes_on: bool
    gaps: Sequence[GapError]
    slot: str
    tables: Sequence[str]
    without_key: Sequence[str]
    targets: Sequence[str]

    def to_json(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "dry_run": True,
            "goes_on": self.goes_on,
            "reasons": [str(gap) for gap in self.gaps],
            "gaps": [gap.reason for gap in self.gaps],
            "slot": self.slot,
            "tables": list(self.tables),
            "without_key": list(self.without_key),
            "targets": list(self.targets),
        }

    def render(self) -> str:
        if self.goes_on:
            return f"{self.source}: a repair has begun and would go on."
        lines = [
            f"{self.source}: {reason}" for reason in [*map(str, self.gaps)] or ["nothing is wrong that can be seen."]
        ]
        return "\n".join(
            [
                *lines,
                f"Slot {self.slot} would be made anew, and {len(self.tables)} tables copied: {', '.join(self.tables)}.",
                *map(_not_copied, self.without_key),
                f"Targets that would begin anew: {', '.join(self.targets) or 'none'}.",
            ]
        )


@dataclass(frozen=True, slots=True)
class Report:
    """`without_key`: tables that could not be copied; `away`: targets that could not be reached, and why; `left`: what
    did not leave a target, by table."""

    gap: Gap
    copies: Sequence[Job]
    without_key: Sequence[str]
    away: Mapping[str, str]
    left: Mapping[str, Sequence[Gone]]

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
            "gaps": gap.kinds,
            "era": gap.era,
            "from_lsn": format_lsn(gap.from_lsn),
            "from_at": gap.from_at.isoformat(),
            "to_lsn": format_lsn(gap.to_lsn),
            "to_at": gap.to_at.isoformat(),
            "seconds": self._seconds,
            "tables": [{"table": job.table, "rows": job.rows, "error": job.error} for job in self.copies],
            "without_key": list(self.without_key),
            "targets": {
                name: {
                    "deleted": gap.deleted.get(name, 0),
                    "settled": gap.settled.get(name, 0),
                    "left": sum(one.left for one in self.left.get(name, ())),
                }
                for name in gap.targets
            },
            "away": dict(self.away),
        }

    def render(self) -> str:
        gap = self.gap
        rows = sum(job.rows for job in self.copies)
        kinds = f" ({', '.join(gap.kinds)})" if gap.kinds else ""
        lines = [
            f"{gap.source}: {gap.reason}{kinds}",
            f"Changes of {self._seconds:,.0f} s were unknown:",
            f"  from {_at(gap.from_at, gap.from_lsn)} to {_at(gap.to_at, gap.to_lsn)}.",
            f"{len(self.copies)} tables were copied, {rows:,} rows.",
        ]
        lines += [f"{job.table}: {job.error}" for job in self.copies if job.error]
        lines += map(_not_copied, self.without_key)
        for name in gap.targets:
            lines.append(f"{name}: {gap.deleted.get(name, 0):,} rows were gone from the source and were deleted.")
            if settled := gap.settled.get(name):
                lines.append(f"{name}: {settled:,} parked keys have no row in the source any more and wait no longer.")
        lines += [line for name, found in self.left.items() for one in found for line in _left(name, one)]
        lines += [f"{name} was away: {why}" for name, why in self.away.items()]
        lines.append("Done." if self.done else f"Not done. Run again: placemat resync {gap.source}")
        return "\n".join(lines)

    @property
    def _seconds(self) -> float:
        return round((self.gap.to_at - self.gap.from_at).total_seconds(), 3)


def _left(target: str, one: Gone) -> Iterator[str]:
    if one.to_go:
        yield f"{target}: {one.to_go:,} rows or parked keys, or more, are still to go; does its worker run?"
    if one.own:
        yield (
            f"{target}: {one.own:,} rows of {one.table} have keys that the source's columns cannot hold."
            f" placemat verify {one.table} names them; delete them at {target}."
        )


def _not_copied(table: str) -> str:
    return (
        f"{table} has no key and is not copied: its topic lacks what happened in the gap, and no target has the table."
        f" Give it a primary key, then: placemat snapshot {table}"
    )


def _at(time: datetime, lsn: int) -> str:
    return f"{time.astimezone():%Y-%m-%d %H:%M:%S} ({format_lsn(lsn)})"
