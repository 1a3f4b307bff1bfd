"""What a verification of the audit log has found, as JSON and as text. `daemon/cli/README.md` documents the JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

LISTED = 100
"""Findings that are listed; the rest is counted."""

Kind = Literal[
    "altered", "values_altered", "values_gone", "removed", "removed_at_end", "inserted", "moved", "segment_gone",
    "segment_altered", "recomputed", "signature", "unsigned", "checkpoint_gone", "heads_gone", "foreign", "repeated",
    "head", "guard",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it was written. `sequence` is the entry's number, or the first of several."""

    kind: Kind
    sequence: int | None
    sentence: str


@dataclass(slots=True)
class AuditReport:
    """`proven` is the newest entry that a signature or Kafka vouches for; `unproven` are sentences on what nothing can
    tell here."""

    entries: int = 0
    first: int | None = None
    last: int | None = None
    segments: int = 0
    checkpoints: int = 0
    heads: int = 0
    erased: int = 0
    """Entries whose values were erased, as an entry says."""
    erasures: list[dict[str, Any]] = field(default_factory=list)
    unfinished: list[dict[str, Any]] = field(default_factory=list)
    """Erasures that were asked for and have not come to their end."""
    proven: int | None = None
    findings: int = 0
    listed: list[Finding] = field(default_factory=list)
    unproven: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return self.findings == 0

    def find(self, kind: Kind, sequence: int | None, sentence: str) -> None:
        self.findings += 1
        if len(self.listed) < LISTED:
            self.listed.append(Finding(kind, sequence, sentence))

    def take(self, other: AuditReport) -> None:
        """Add what another one has found and proven."""
        kept = other.listed[: LISTED - len(self.listed)]
        self.listed += kept
        self.findings += other.findings
        self.heads += other.heads
        self.unproven += other.unproven
        if other.proven is not None:
            self.proven = max(self.proven or 0, other.proven)

    def to_json(self) -> dict[str, Any]:
        return {
            "clean": self.clean,
            "entries": self.entries,
            "first": self.first,
            "last": self.last,
            "segments": self.segments,
            "checkpoints": self.checkpoints,
            "heads": self.heads,
            "proven": self.proven,
            "erased": self.erased,
            "erasures": self.erasures,
            "unfinished": self.unfinished,
            "findings": self.findings,
            "listed": [{"kind": one.kind, "sequence": one.sequence, "sentence": one.sentence} for one in self.listed],
            "unproven": self.unproven,
        }

    def render(self) -> str:
        span = f", {self.first} to {self.last}" if self.entries else ""
        seals = f"{self.segments:,} sealed segments, {self.checkpoints:,} checkpoints, {self.heads:,} heads in Kafka"
        lines = [f"{self.entries:,} entries{span}; {seals}"]
        lines += [
            f"values of {one['entity']} {one['key']} were erased by {one['by']} (entry {one['sequence']}):"
            f" {one['entries']} entries"
            for one in self.erasures
        ]
        lines += [
            f"Not finished: the erasure of {one['entity']} {one['key']} that {one['by']} has asked for (entry"
            f" {one['sequence']}): run placemat audit erase again"
            for one in self.unfinished
        ]
        lines += [f"Found: {one.sentence}" for one in self.listed]
        if self.findings > len(self.listed):
            lines.append(f"… and {self.findings - len(self.listed):,} more")
        lines += [f"Not proven: {one}" for one in self.unproven]
        lines.append("Nothing was altered." if self.clean else f"{self.findings:,} findings.")
        return "\n".join(lines)
