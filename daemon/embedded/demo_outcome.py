"""What a demo has shown, for programs and for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from daemon.embedded.demo_audit import Audited
from daemon.embedded.latency import Latency
from daemon.embedded.notion.report import NotionReport
from daemon.embedded.scenario.act import Report
from daemon.embedded.witness import WitnessReport
from daemon.reconcile.report import VerifyReport

TARGET = "empathy_ledger"
PACED_CHANGES_PER_SECOND = 200
DIFFERENCES_FOUND = 3


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one demo has shown."""

    witness: WitnessReport
    scenario: Report
    audit: Audited
    verified: VerifyReport
    latency: Latency | None
    seconds: float
    orphans: int
    notion: NotionReport | None = None

    @property
    def clean(self) -> bool:
        parts = self.witness.ok and self.scenario.ok and self.audit.ok and self.verified.clean
        return parts and (self.notion is None or self.notion.ok)

    @property
    def exit_status(self) -> int:
        return 0 if self.clean else DIFFERENCES_FOUND

    def to_json(self) -> dict[str, Any]:
        """`daemon/cli/README.md` documents it."""
        return {
            "captured": self.witness.topic_records + self.witness.snapshot_records,
            "applied": {TARGET: self.witness.target_changes},
            "mismatches": self.verified.differences + (len(self.notion.compared.mismatches) if self.notion else 0),
            "duplicates": self.witness.duplicated,
            "lost": self.witness.lost,
            "out_of_order": self.witness.out_of_order,
            "damaged": self.witness.damaged,
            "returned": self.witness.returned,
            "rows_verified": sum(table.rows for table in self.verified.tables),
            "orphans": self.orphans,
            "seconds": round(self.seconds, 1),
            "latency_ms": {"p50": self.latency.p50, "p99": self.latency.p99} if self.latency else None,
            "scenario": self.scenario.to_json(),
            "audit": {"events": self.audit.events, "missing": self.audit.missing, "twice": self.audit.twice},
            "targets": {"notion": self.notion.to_json()} if self.notion else {},
        }

    def render(self) -> str:
        found = self.to_json()
        time_ = (
            f"from commit in the primary to commit in Empathy Ledger: {self.latency.p50:.0f} ms for half of the"
            f" changes, {self.latency.p99:.0f} ms for 99 of 100"
            if self.latency
            else "no latency measured"
        )
        return "\n".join(
            [
                "",
                (
                    f"Captured {found['captured']:,} events;"
                    f" Empathy Ledger made {found['applied'][TARGET]:,} changes of rows"
                    " (several changes of a row that wait together are applied as one)."
                ),
                (
                    f"The witness, which shares no code with the daemon, counted: lost {found['lost']}, applied twice"
                    f" {found['duplicates']}, out of order {found['out_of_order']}, damaged {found['damaged']},"
                    f" come back to the primary {found['returned']}."
                ),
                f"Measured at {PACED_CHANGES_PER_SECOND} changes/s, {time_}.",
                scenario_sentences(self.scenario),
                *([self.notion.render()] if self.notion else []),
                (
                    f"The audit log has an entry for each of {self.audit.events:,} events:"
                    f" {self.audit.missing} missing, {self.audit.twice} twice; its chain is whole."
                ),
                f"Verified {found['rows_verified']:,} rows field by field: {self.verified.differences} differences.",
                "Everything is equal." if self.clean else "NOT everything is equal: see above.",
            ]
        )


def scenario_sentences(report: Report) -> str:
    rules = ", ".join(f"{count} by {rule}" for rule, count in report.conflicts.items())
    share = f"{100 * report.queue_found / report.edited:.1f} %" if report.edited else "0 %"
    return "\n".join(
        [
            (
                f"Both sides at once: {report.edited:,} rows edited, {report.edited_on_both:,} of them on both sides,"
                f" {report.same_field:,} in the same field. Conflicts met: {rules}."
            ),
            (
                f"Against the ledger that was written before: {len(report.mismatches)} differences;"
                f" {report.queue_found} conflicts waited for a person ({share}), and it had {report.queue_predicted}."
                f" {report.queue_decided} were decided by command, {report.queue_left or 0} wait."
            ),
        ]
    )
