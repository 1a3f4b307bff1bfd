"""One table of one target: every row, or a sample, read side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from daemon.progress import Tracker
from daemon.reconcile.lane import Lane
from daemon.reconcile.parked import parked_ids
from daemon.reconcile.report import Difference, TableReport, Waits
from daemon.reconcile.rows import CHUNK_ROWS, Key, Rows
from daemon.reconcile.settle import Settler
from daemon.reconcile.shape import Comparison
from daemon.reconcile.side import Side
from daemon.reconcile.waiting import Waiting

SETTLED_AT_ONCE = 2_000


class TableVerification:
    """Compares a table once. Rows are met by hash; those that differ are settled in batches."""

    def __init__(
        self, comparison: Comparison, source: Side, target: Side, lane: Lane, tracker: Tracker, *, show_values: bool,
        waiting: Waiting | None = None,
    ) -> None:  # fmt: skip
        """`waiting` tells what a person has yet to decide; None: the target does not go both ways."""
        self._comparison = comparison
        self._source = Rows(source, comparison.source)
        self._target = Rows(target, comparison.target)
        self._settler = Settler(comparison, self._source, self._target, lane, show_values=show_values)
        self._tracker = tracker
        self._waiting = waiting
        self._on_difference: Callable[[Difference], None] | None = None

    def run(self, sample: int | None, on_difference: Callable[[Difference], None] | None = None) -> TableReport:
        """Compare every row, or up to `sample` random keys of each side; tells every difference, listed or not."""
        self._on_difference = on_difference
        report = TableReport(self._comparison.table, self._source.count(), self._target.count())
        if sample is None:
            self._tracker.begin(report.table, report.rows_source + report.rows_target)
            suspects = self._all(report)
        else:
            self._tracker.begin(report.table, min(sample, report.rows_source) + min(sample, report.rows_target))
            suspects = self._sampled(report, sample)
        batch: list[Key] = []
        for keys in suspects:
            batch += keys
            if len(batch) >= SETTLED_AT_ONCE:
                self._settle(batch, report)
                batch = []
        self._settle(batch, report)
        return report

    def _all(self, report: TableReport) -> Iterator[list[Key]]:
        """Every row of the source with the target's row of that key, then the target's keys that the source lacks."""
        for ours in self._source.chunks():
            theirs = self._target.versions(list(ours))
            self._count(report, len(ours), len(theirs))
            self._tracker.advance(len(ours))
            yield [key for key, row in ours.items() if key not in theirs or theirs[key].digest != row.digest]
        for keys in self._target.key_chunks():
            present = self._source.present(keys)
            extra = [key for key in keys if key not in present]
            self._count(report, len(extra), 0)
            self._tracker.advance(len(keys))
            yield extra

    def _sampled(self, report: TableReport, size: int) -> Iterator[list[Key]]:
        """Keys of the source find what is lost or damaged; keys of the target find what should not be there."""
        keys = list(dict.fromkeys([*self._source.sample(size), *self._target.sample(size)]))
        for first in range(0, len(keys), CHUNK_ROWS):
            chunk = keys[first : first + CHUNK_ROWS]
            ours, theirs = self._source.versions(chunk), self._target.versions(chunk)
            self._count(report, len(ours.keys() | theirs.keys()), len(ours.keys() & theirs.keys()))
            self._tracker.advance(len(chunk))
            alike = {key for key, row in ours.items() if key in theirs and theirs[key].digest == row.digest}
            yield [key for key in chunk if key not in alike]

    def _settle(self, keys: list[Key], report: TableReport) -> None:
        settled = self._settler.settle(keys)
        named = zip(self._comparison.target.key, self._comparison.key, strict=True)
        key_columns = [replace(column, name=name) for column, name in named]
        parked = parked_ids(
            self._target.side, self._source.side.name, report.table, key_columns, list(settled.differences)
        )
        waits = self._waits(list(settled.differences))
        for key, difference in settled.differences.items():
            found = replace(difference, parked_id=parked.get(key), waits=waits.get(key))
            report.add(found)
            if self._on_difference is not None:
                self._on_difference(found)
        for key in settled.changing:
            report.add_changing(dict(zip(self._comparison.key, key, strict=True)))

    def _waits(self, keys: list[Key]) -> dict[Key, Waits]:
        return self._waiting.of(self._comparison.table, self._comparison.source.key, keys) if self._waiting else {}

    def _count(self, report: TableReport, rows: int, rows_on_both: int) -> None:
        report.rows += rows
        report.fields += rows_on_both * len(self._comparison.columns)
