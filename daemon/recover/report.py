"""What a replay did, as JSON and as text. `daemon/cli/README.md` documents the JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal

import orjson

from connectors.contract import Refusal
from daemon.keys import key_text
from daemon.reconcile.report import Waits

LISTED = 100
"""Keys that are listed by name; the rest is counted."""

ChangeKind = Literal["insert", "update", "delete", "fetch"]


@dataclass(frozen=True, slots=True)
class RowChange:
    """One row that is written, or would be. `fetch`: it is taken from the source. `fields` are those that differ."""

    table: str
    key: bytes
    kind: ChangeKind
    fields: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {"table": self.table, "key": orjson.loads(self.key), "change": self.kind, "fields": list(self.fields)}

    def render(self) -> str:
        return f"{self.table}  {key_text(self.key)}: {self.kind} {', '.join(self.fields)}".rstrip()


OnChange = Callable[[RowChange], None]


@dataclass(slots=True)
class Left:
    """Keys that could not be put right: how many, and the first of them with why."""

    count: int = 0
    listed: list[Refusal] = field(default_factory=list)

    def add(self, refusal: Refusal) -> None:
        self.count += 1
        if len(self.listed) < LISTED:
            self.listed.append(refusal)


@dataclass(slots=True)
class TableReport:
    """One table. Filled while it is replayed; after a dry run the changes are those that would be made."""

    table: str
    keys: int = 0
    """Keys with an event in the time asked for."""
    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    fetched: int = 0
    newer: int = 0
    """Left alone: their newest event is later than asked for."""
    parked: int = 0
    too_large: int = 0
    waits: dict[bytes, Waits] = field(default_factory=dict)
    """Rows, or fields of them, that are left alone as a person has yet to decide."""
    lost: dict[int, int] = field(default_factory=dict)
    """Partition to its oldest offset, where retention has passed over a part of what was asked for."""
    left: Left = field(default_factory=Left)

    @property
    def changes(self) -> int:
        return self.inserted + self.updated + self.deleted + self.fetched

    def to_json(self) -> dict[str, Any]:
        return {
            "table": self.table,
            "keys": self.keys,
            "inserted": self.inserted,
            "updated": self.updated,
            "deleted": self.deleted,
            "fetched": self.fetched,
            "newer": self.newer,
            "parked": self.parked,
            "too_large": self.too_large,
            "waits": len(self.waits),
            "waiting": [
                {"key": orjson.loads(key), "conflict": one.conflict, "fields": list(one.fields)}
                for key, one in islice(self.waits.items(), LISTED)
            ],
            "lost": {str(partition): offset for partition, offset in self.lost.items()},
            "left": self.left.count,
            "listed": [{"key": orjson.loads(one.key), "reason": one.reason} for one in self.left.listed],
        }

    def render(self, *, dry_run: bool) -> str:
        would = "would be " if dry_run else ""
        parts = [
            f"{number:,} {word}"
            for number, word in (
                (self.inserted, f"{would}inserted"),
                (self.updated, f"{would}updated"),
                (self.deleted, f"{would}deleted"),
                (self.fetched, f"{would}taken from the source"),
                (self.newer, "left alone, changed later"),
                (self.parked, "parked (placemat dlq list)"),
                (self.too_large, "never published, too large"),
                (len(self.waits), "waiting for a person"),
                (self.left.count, "left as they are"),
            )
            if number
        ]
        if not self.keys and not parts:
            return f"  {self.table}: no event of what was asked for"
        keys = "1 key" if self.keys == 1 else f"{self.keys:,} keys"
        return f"  {self.table}: {keys}; {', '.join(parts) if parts else 'nothing differs'}"


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """All tables, in the order in which they were written."""

    target: str
    dry_run: bool
    tables: tuple[TableReport, ...]
    records: int
    seconds: float

    @property
    def changes(self) -> int:
        return sum(table.changes for table in self.tables)

    @property
    def left(self) -> int:
        return sum(table.left.count for table in self.tables)

    def to_json(self) -> dict[str, Any]:
        """The documented contract, as values that a JSON encoder takes."""
        return {
            "target": self.target,
            "dry_run": self.dry_run,
            "records": self.records,
            "changes": self.changes,
            "left": self.left,
            "seconds": round(self.seconds, 3),
            "tables": [table.to_json() for table in self.tables],
        }

    def render(self) -> str:
        """The report for people, several lines without a final newline."""
        lines = [f"{self.target}, {self.records:,} records replayed in {self.seconds:.1f} s"]
        for table in self.tables:
            lines.append(table.render(dry_run=self.dry_run))
            if table.lost:
                lines.append("    the topic no longer holds all that was asked for; the source was asked for the rest")
            lines += [f"    {key_text(one.key)}: {one.reason}" for one in table.left.listed]
            for key, one in islice(table.waits.items(), LISTED):
                what = ", ".join(one.fields) or "the row"
                lines.append(f"    {key_text(key)}: {what} left as it is (waits: conflict {one.conflict})")
            if len(table.waits) > LISTED:
                lines.append(f"    and {len(table.waits) - LISTED:,} more that wait (placemat conflicts list)")
            if table.left.count > len(table.left.listed):
                lines.append(f"    and {table.left.count - len(table.left.listed):,} more")
        return "\n".join(lines)
