"""What the witness found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

CounterName = Literal["lost", "duplicated", "late_of_replaced_capture", "out_of_order", "damaged", "returned"]
EXAMPLES = 5
"""Findings kept of each counter, to be shown; all are counted."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One example of what was counted. `key` is the primary key as text; no other value of a row is shown."""

    counter: CounterName
    table: str
    key: str
    reason: str


@dataclass(frozen=True, slots=True)
class WitnessReport:
    """Counts of one run, and the first few findings of each counter."""

    journal_entries: int
    """Changes made in the primary since the witness was installed."""
    topic_records: int
    """Change records in the topics, those of the initial copy left out."""
    snapshot_records: int
    """Records of the initial copy and of one-key snapshots."""
    target_changes: int
    """Row changes made in the target since the witness was installed; a truncate is one."""
    lost: int
    """Changes without a record, and keys whose last state never came to the target."""
    duplicated: int
    """Records that repeat a position, or a change; and changes in the target beyond one per event."""
    late_of_replaced_capture: int
    """Repeated records of a capture that had been replaced by then: legal, the target drops them."""
    out_of_order: int
    """States in the target that the primary had earlier than the state before, or never."""
    damaged: int
    """Rows that differ now between primary and target, or are in one of them only."""
    returned: int
    """Changes in the primary that the daemon made itself, while nobody else changed the target; 0 if not asked for."""
    damaged_fields: Mapping[str, int]
    """Of the rows in both: how many differ, by `table.column`."""
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        return self.lost == self.duplicated == self.out_of_order == self.damaged == self.returned == 0


@dataclass(slots=True)
class Tally:
    """Counters in the making."""

    counts: Counter[str] = field(default_factory=Counter)
    fields: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    shown: Counter[str] = field(default_factory=Counter)

    def add(self, counter: CounterName, table: str, key: str, reason: str, count: int = 1) -> None:
        if count <= 0:
            return
        self.counts[counter] += count
        if self.shown[counter] < EXAMPLES:
            self.shown[counter] += 1
            self.findings.append(Finding(counter, table, key, reason))

    def report(self) -> WitnessReport:
        counts = self.counts
        return WitnessReport(
            journal_entries=counts["journal_entries"],
            topic_records=counts["topic_records"],
            snapshot_records=counts["snapshot_records"],
            target_changes=counts["target_changes"],
            lost=counts["lost"],
            duplicated=counts["duplicated"],
            late_of_replaced_capture=counts["late_of_replaced_capture"],
            out_of_order=counts["out_of_order"],
            damaged=counts["damaged"],
            returned=counts["returned"],
            damaged_fields=dict(self.fields),
            findings=tuple(self.findings),
        )
