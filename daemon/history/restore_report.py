"""What a restore did, as JSON and as text. `daemon/cli/README.md` documents the JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from connectors.restoring import Wrong
from daemon.keys import key_text
from daemon.recover.report import Left

SHOWN = 60
"""Characters of a value that are shown to a person."""


@dataclass(frozen=True, slots=True)
class RowRestored:
    """One row that is put back, or would be."""

    table: str
    wrong: Wrong

    def to_json(self) -> dict[str, Any]:
        fields = {name: {"now": texts.now, "then": texts.then} for name, texts in self.wrong.fields.items()}
        return {
            "table": self.table,
            "key": orjson.loads(self.wrong.key),
            "change": self.wrong.kind,
            "fields": fields,
            "untold": list(self.wrong.untold),
        }

    def render(self) -> list[str]:
        lines = [f"{self.table}  {key_text(self.wrong.key)}: {self.wrong.kind}"]
        if self.wrong.kind == "update":
            lines += [
                f"  {name}: {_value(texts.now)} → {_value(texts.then)}" for name, texts in self.wrong.fields.items()
            ]
        else:
            lines += [f"  {name}: {_value(texts.then)}" for name, texts in self.wrong.fields.items()]
        if self.wrong.untold:
            lines.append(f"  not told, and not written: {', '.join(self.wrong.untold)}")
        return lines


OnRow = Callable[[RowRestored], None]


@dataclass(slots=True)
class TableRestored:
    """One table; after a dry run the changes are those that would be made."""

    table: str
    compared: int = 0
    updated: int = 0
    inserted: int = 0
    deleted: int = 0
    partial: int = 0
    """Rows that were put back without some fields, as their values are not told."""
    newer: Left = field(default_factory=Left)
    """Rows that were made since, and stay."""
    beyond: Left = field(default_factory=Left)
    """Rows left alone, as they were changed later than the window that was asked for."""
    kept: Left = field(default_factory=Left)
    """Rows of which the database has made other values of some fields."""
    left: Left = field(default_factory=Left)
    """Rows that could not be put back."""
    untold_partitions: Sequence[int] = ()
    """Partitions that do not hold every change since the moment: rows may have changed of which they tell nothing."""

    @property
    def changes(self) -> int:
        return self.updated + self.inserted + self.deleted

    def to_json(self) -> dict[str, Any]:
        counts = {name: getattr(self, name) for name in ("compared", "updated", "inserted", "deleted", "partial")}
        return {
            "table": self.table,
            **counts,
            **{name: _left_json(getattr(self, name)) for name in ("newer", "beyond", "kept", "left")},
            "untold_partitions": list(self.untold_partitions),
        }

    def render(self, *, dry_run: bool) -> list[str]:
        would = "would be " if dry_run else ""
        parts = [
            f"{number:,} {word}"
            for number, word in (
                (self.updated, f"{would}changed back"),
                (self.inserted, f"{would}made again"),
                (self.deleted, f"{would}deleted"),
                (self.partial, "of them without what is not told"),
                (self.newer.count, "made since, and left"),
                (self.beyond.count, "changed later, and left"),
                (self.kept.count, "with other values of the database's own"),
                (self.left.count, "left as they are"),
            )
            if number
        ]
        lines = [f"  {self.table}: {', '.join(parts) if parts else 'nothing differs'}"]
        for what in (self.newer, self.beyond, self.kept, self.left):
            lines += [f"    {key_text(one.key)}: {one.reason}" for one in what.listed]
            if what.count > len(what.listed):
                lines.append(f"    and {what.count - len(what.listed):,} more")
        if self.untold_partitions:
            lines.append("    the topic does not hold every change since then: what it does not tell stays as it is")
        return lines


@dataclass(frozen=True, slots=True)
class RestoreReport:
    """All tables, parents first."""

    source: str
    dry_run: bool
    actor: str
    tables: tuple[TableRestored, ...]
    seconds: float

    @property
    def changes(self) -> int:
        return sum(one.changes for one in self.tables)

    @property
    def left(self) -> int:
        return sum(one.left.count for one in self.tables)

    @property
    def partial(self) -> int:
        return sum(one.partial for one in self.tables)

    @property
    def complete(self) -> bool:
        """Whether the topics told everything that was asked for."""
        return not self.partial and not any(one.untold_partitions for one in self.tables)

    def to_json(self) -> dict[str, Any]:
        """The documented contract, as values that a JSON encoder takes."""
        return {
            "source": self.source,
            "dry_run": self.dry_run,
            "by": self.actor,
            "changes": self.changes,
            "left": self.left,
            "partial": self.partial,
            "complete": self.complete,
            "seconds": round(self.seconds, 3),
            "tables": [one.to_json() for one in self.tables],
        }

    def render(self) -> str:
        """The report for people, several lines without a final newline."""
        lines = [f"{self.source}, by {self.actor}, in {self.seconds:.1f} s"]
        return "\n".join([*lines, *(line for one in self.tables for line in one.render(dry_run=self.dry_run))])


def _left_json(left: Left) -> dict[str, Any]:
    listed = [{"key": orjson.loads(one.key), "reason": one.reason} for one in left.listed]
    return {"count": left.count, "listed": listed}


def _value(text: str | None) -> str:
    if text is None:
        return "NULL"
    shown = " ".join(text.split())
    return f"'{shown}'" if len(shown) <= SHOWN else f"'{shown[:SHOWN]}…'"
