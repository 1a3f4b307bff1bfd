"""What a service has beside what its mirror wants it to have: every record, field by field.

Records are read a page at a time, and of each only a hash by field is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from connectors.pushing import Key
from connectors.service import Page, Remote
from daemon.progress import Tracker
from daemon.push.forms import Forms
from daemon.reconcile.report import TableReport
from daemon.reconcile.service_settle import OnDifference, Round, ServiceSettler, ServiceSide, WaitsOf, away
from schemas.resolution import Fields

BATCH_ROWS = 100
Print = tuple[int | None, ...]
"""A row, as a hash by column; None: that column is not shown."""


class ServiceTables:
    """Compares the tables of one service, each once."""

    def __init__(
        self, name: str, side: ServiceSide, tracker: Tracker, waits: WaitsOf, round_: Round, *, stall_seconds: float,
        show_values: bool, on_difference: OnDifference | None = None,
    ) -> None:  # fmt: skip
        self._name = name
        self._side = side
        self._tracker = tracker
        self._forms = Forms(side.mirror, side.service, side.tables)
        self._settler = ServiceSettler(
            name, side, self._forms, tracker, waits, round_, stall_seconds=stall_seconds, show_values=show_values,
            on_difference=on_difference,
        )  # fmt: skip

    @property
    def stalled(self) -> bool:
        """See `ServiceSettler`."""
        return self._settler.stalled

    def run(self, table: str, sample: int | None) -> TableReport:
        """Every row, or so many random ones of either side. Raises OperatorError where the service does not answer."""
        report = TableReport(table, 0, 0)
        self._tracker.begin(table, sample or 0)
        if sample is None:
            self._compare(report)
        else:
            keys = self._side.mirror.sample(table, sample)
            self._count(report, len(keys), len(keys))
            self._settler.settle(report, keys)
        return report

    def look_at(self, keys: Sequence[Key]) -> None:
        """Only at these rows of one table. Raises as `run` does."""
        self._settler.settle(TableReport(keys[0].table, len(keys), len(keys)), keys)

    def _compare(self, report: TableReport) -> None:
        there = self._records(report)
        several = {Key(report.table, text) for text, prints in there.items() if len(prints) > 1}
        suspects = [*several]
        for batch in _batches(self._side.mirror.wanted(report.table)):
            rows = self._forms.rows(report.table, [row for _, row in batch])
            both = 0
            for key, row in batch:
                prints = there.pop(key.text, [])
                both += bool(prints)
                shown = self._print(report.table, self._forms.shown(key, row, rows))
                if not prints or (key not in several and not _alike(shown, prints[0])):
                    suspects.append(key)
            report.rows_source += len(batch)
            self._count(report, len(batch), both)
        suspects += [key for text in there if (key := Key(report.table, text)) not in several]
        self._count(report, len(there), 0)
        self._settler.settle(report, suspects, several)

    def _records(self, report: TableReport) -> dict[str, list[Print]]:
        """By record key, all that the service has. What people have just made there is a row before long, where the
        table goes both ways; where it goes one way it is theirs."""
        found: dict[str, list[Print]] = {}
        new: list[str] = []
        for one in self._listed(report.table):
            key = None if one.gone or one.key is None else self._forms.key_of(report.table, one.key)
            if key is not None:
                report.rows_target += 1
                found.setdefault(key.text, []).append(self._print(report.table, self._forms.current(key, one)))
            elif not one.gone and self._side.tables[report.table].seen:
                new.append(one.id)
            self._tracker.advance(1)
        known = self._side.mirror.keys_of(report.table, new)
        for remote_id in new:
            if remote_id not in known:
                report.add_changing({"record": remote_id})
        return found

    def _listed(self, table: str) -> Iterator[Remote]:
        cursor: str | None = None
        while True:
            page = self._side.service.changed(table, 0, cursor)
            if not isinstance(page, Page):
                raise away(self._name, page)
            yield from page.remotes
            if (cursor := page.cursor) is None:
                return

    def _print(self, table: str, row: Fields) -> Print:
        return tuple(hash(row[name]) if name in row else None for name in self._side.tables[table].columns)

    def _count(self, report: TableReport, rows: int, rows_on_both: int) -> None:
        report.rows += rows
        report.fields += rows_on_both * len(self._side.tables[report.table].columns)
        self._tracker.advance(rows)


def _alike(shown: Print, there: Print) -> bool:
    return all(a is None or a == b for a, b in zip(shown, there, strict=True))


def _batches(rows: Iterator[tuple[Key, Fields]]) -> Iterator[list[tuple[Key, Fields]]]:
    while batch := list(islice(rows, BATCH_ROWS)):
        yield batch
