"""`placemat rebuild`: the rows of a table at a moment, from the topics alone, and what they do not tell."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from daemon.config.settings import Settings
from daemon.history.past import Past
from daemon.history.reading import Question, read_past
from daemon.history.shape import Shape
from daemon.history.span import Oldest
from daemon.history.states import Absent, Known, Untold
from daemon.keys import key_text
from daemon.progress import OnProgress, Tracker

LISTED = 100
"""Keys that are listed by name; the rest is counted."""


@dataclass(slots=True)
class Gaps:
    """What the topics do not tell of the rows of a table at a moment. Each list holds the first so many."""

    partial: int = 0
    partial_rows: list[Known] = field(default_factory=list)
    """Rows of which some values are not told."""
    untold: int = 0
    untold_keys: list[Untold] = field(default_factory=list)
    """Keys that may have had a row: nothing is told of them before a later time."""
    lost: dict[int, Oldest] = field(default_factory=dict)
    """Partitions that retention has cut: rows that have not changed since are not among those that were rebuilt."""

    @property
    def none(self) -> bool:
        return not (self.partial or self.untold or self.lost)

    def to_json(self) -> dict[str, Any]:
        return {
            "complete": self.none,
            "partial": self.partial,
            "untold": self.untold,
            "listed": [
                *({**_partial_json(row), "known_since": _iso(row.since_ms)} for row in self.partial_rows),
                *(
                    {"key": msgspec.Raw(one.key), "unknown": None, "known_since": _iso(one.since_ms)}
                    for one in self.untold_keys
                ),
            ],
            "lost": {
                str(partition): {"offset": one.offset, "oldest": _iso(one.ts_ms)}
                for partition, one in self.lost.items()
            },
        }

    def render(self) -> list[str]:
        lines = [f"{key_text(row.key)}: {_why(row)}" for row in self.partial_rows]
        lines += [f"{key_text(one.key)}: known only since {_iso(one.since_ms)}" for one in self.untold_keys]
        if (more := self.partial + self.untold - len(lines)) > 0:
            lines.append(f"and {more:,} more")
        if self.lost:
            oldest = max((one.ts_ms for one in self.lost.values() if one.ts_ms is not None), default=None)
            since = f" since {_iso(oldest)}" if oldest is not None else ""
            lines.append(f"The topic no longer holds its beginning: rows without a change{since} may be missing.")
        return lines


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A table at a moment. `newest_ms` is when the newest change that counts was committed."""

    source: str
    table: str
    rows: int
    shape: Shape
    records: int
    newest_ms: int | None
    gaps: Gaps
    _past: Past

    def known(self) -> Iterator[list[Known]]:
        """The rows, so many at a time; as often as they are asked for. Columns that are not told are all named."""
        for chunk in self._past.chunks():
            yield [self.shape.complete(one.state) for one in chunk if isinstance(one.state, Known)]

    @property
    def columns(self) -> tuple[str, ...]:
        return self.shape.columns

    def to_json(self) -> dict[str, Any]:
        """The documented contract."""
        return {
            "source": self.source,
            "table": self.table,
            "rows": self.rows,
            "records": self.records,
            "newest": _iso(self.newest_ms),
            **self.gaps.to_json(),
        }


@contextmanager
def rebuild(
    settings: Settings, era: int, question: Question, on_progress: OnProgress | None = None
) -> Iterator[Rebuilt]:
    """The only table of the question. Raises as `read_past` does."""
    tracker = Tracker(on_progress)
    with read_past(settings, era, question, tracker) as answer:
        [(table, past)] = answer.tables.items()
        shape = answer.shapes[table]
        gaps = Gaps(lost=dict(answer.lost[table]))
        rows = 0
        for chunk in past.chunks():
            for entry in chunk:
                match entry.state:
                    case Known() as row:
                        rows += 1
                        _count(gaps, shape.complete(row))
                    case Untold() as key:
                        gaps.untold += 1
                        if len(gaps.untold_keys) < LISTED:
                            gaps.untold_keys.append(key)
                    case Absent():
                        pass
        yield Rebuilt(question.source, table, rows, shape, answer.records, past.newest_ms, gaps, past)


def row_json(row: Known) -> dict[str, Any]:
    """One row as a line of JSON."""
    return {
        **_partial_json(row),
        "row": row.values,
        "changed": _iso(row.ts_ms),
        "known_since": _iso(row.since_ms),
        "oversize": row.large,
        **({"json_text": list(row.json_text)} if row.json_text else {}),
    }


def _count(gaps: Gaps, row: Known) -> None:
    if row.unknown or row.since_ms is not None or row.large is not None:
        gaps.partial += 1
        if len(gaps.partial_rows) < LISTED:
            gaps.partial_rows.append(row)


def _partial_json(row: Known) -> dict[str, Any]:
    return {"key": msgspec.Raw(row.key), "unknown": list(row.unknown)}


def _why(row: Known) -> str:
    parts = []
    if row.large is not None:
        parts.append(f"{row.large:,} bytes, too large to publish")
    if row.since_ms is not None:
        parts.append(f"known only since {_iso(row.since_ms)}")
    if row.unknown:
        parts.append(f"not told: {', '.join(row.unknown)}")
    return "; ".join(parts)


def _iso(ts_ms: int | None) -> str | None:
    return None if ts_ms is None else datetime.fromtimestamp(ts_ms / 1_000, UTC).isoformat()
