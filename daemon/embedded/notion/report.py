"""What the show with Notion has come to, for programs and for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from daemon.embedded.notion.compare import Compared

PROMISED_SECONDS = 30.0
Way = Literal["out", "back", "onward"]
"""From the primary to Notion, from Notion to the primary, and on to the Empathy Ledger."""


@dataclass(frozen=True, slots=True)
class Step:
    """Something that somebody did, and after how many seconds it was seen where it was to come; None: not in time."""

    what: str
    way: Way
    seconds: float | None


@dataclass(frozen=True, slots=True)
class NotionReport:
    """`counts` are the simulator's, of requests and pages; `conflicts` the fields that were listed as decided against
    Notion."""

    steps: Sequence[Step]
    counts: Mapping[str, int]
    conflicts: int
    missed: Sequence[str]
    """What was to be so and is not, in words."""
    compared: Compared

    @property
    def ok(self) -> bool:
        return not self.late and not self.missed and not self.compared.mismatches

    @property
    def late(self) -> list[str]:
        return [one.what for one in self.steps if one.seconds is None or one.seconds > PROMISED_SECONDS]

    def to_json(self) -> dict[str, Any]:
        """`daemon/cli/README.md` documents it."""
        names = ("created", "updated", "trashed", "restored", "requests", "throttled")
        return {
            **{name: self.counts.get(name, 0) for name in names},
            "edits_back": len(self._seconds("back")),
            "conflicts": self.conflicts,
            "rows": self.compared.rows,
            "rows_by_database": dict(self.compared.by_database),
            "mismatches": len(self.compared.mismatches),
            "late": len(self.late),
            "missed": len(self.missed),
            "seconds": spread(self._seconds("out")),
            "seconds_back": spread(self._seconds("back")),
            "seconds_onward": spread(self._seconds("onward")),
        }

    def render(self) -> str:
        found = self.to_json()
        longest = max((one.seconds for one in self.steps if one.seconds is not None), default=0.0)
        return "\n".join(
            [
                (
                    f"Notion has {found['rows']:,} rows: {found['created']:,} pages were made, {found['updated']:,}"
                    f" times one was changed, {found['trashed']:,} went to the trash, {found['restored']:,} came back;"
                    f" {found['requests']:,} requests, {found['throttled']} too fast."
                ),
                (
                    f"Its own store, row by row and field by field: {found['mismatches']} differences. Of"
                    f" {len(self.steps)} steps {found['late']} took longer than the promised {PROMISED_SECONDS:.0f} s,"
                    f" the longest {longest:.1f} s."
                ),
            ]
        )

    def _seconds(self, way: Way) -> list[float]:
        return sorted(one.seconds for one in self.steps if one.way == way and one.seconds is not None)


def spread(seconds: Sequence[float]) -> dict[str, float] | None:
    """Of sorted times."""
    return {"p50": round(seconds[len(seconds) // 2], 2), "max": round(seconds[-1], 2)} if seconds else None
