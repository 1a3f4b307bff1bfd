"""`placemat restore`: rows of a source put back to what they were, as ordinary changes that flow everywhere.

The topics tell what the rows were; the source's own database compares them with what they are, and is written to.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from connectors.contract import Expected, Refusal, TryAgain
from connectors.restoring import RestoreTarget, Scope, Wrong, against
from daemon.config.settings import Settings
from daemon.history.past import Past
from daemon.history.reading import Answer, Question, read_past
from daemon.history.restore_report import OnRow, RestoreReport, RowRestored, TableRestored
from daemon.history.shape import Shape, content
from daemon.history.states import Absent, Entry, Known, Untold
from daemon.keys import key_text
from daemon.progress import OnProgress, Tracker
from daemon.routes import source_masks

CHUNK_ROWS = 500
CHUNK_BYTES = 4 * 1024 * 1024
ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Task:
    """What is asked for; `said` is the moment as a person wrote it. `where` are column and value by table; `columns`
    None: all."""

    question: Question
    said: str
    by: str
    reason: str | None = None
    columns: frozenset[str] | None = None
    where: Mapping[str, Sequence[tuple[str, str]]] | None = None
    delete_newer: bool = False
    partial: bool = False
    dry_run: bool = False


def scopes(settings: Settings, task: Task) -> dict[str, Scope]:
    """What of each table may be put back.

    Columns that a route from or to the source has as `local` are kept by the database's own triggers: they are only put
    back where they are named.
    """
    source = task.question.source
    masks = source_masks(settings, source)
    found = {}
    for table in task.question.tables:
        where = tuple((task.where or {}).get(table, ()))
        kept = frozenset(_local(settings, source, table))
        found[table] = Scope(task.columns, kept, frozenset(masks.get(table, ())), where, task.partial)
    return found


def _local(settings: Settings, source: str, table: str) -> Iterator[str]:
    for name, target in settings.targets.items():
        for routed, route in target.tables.items():
            from_it = target.source == source and routed == table
            into_it = name == source and (route.table or routed) == table
            if from_it or into_it:
                yield from route.local


def restore(
    settings: Settings,
    era: int,
    task: Task,
    target: RestoreTarget,
    *,
    on_progress: OnProgress | None = None,
    on_row: OnRow | None = None,
) -> RestoreReport:
    """Put rows of the source, which is in that era, back. Safe to interrupt and to repeat.

    Raises OperatorError (exit code 2 for what cannot be asked for), and Unavailable when a server does not answer.
    """
    started = time.monotonic()
    tracker = Tracker(on_progress)
    with closing(target):
        order = target.open()
        with read_past(settings, era, task.question, tracker) as answer:
            work = _Restore(task, scopes(settings, task), target, answer, tracker, on_row)
            work.run(order)
    seconds = time.monotonic() - started
    return RestoreReport(task.question.source, task.dry_run, task.by, tuple(work.reports.values()), seconds)


class _Restore:
    def __init__(
        self, task: Task, scopes: Mapping[str, Scope], target: RestoreTarget, answer: Answer, tracker: Tracker,
        on_row: OnRow | None,
    ) -> None:  # fmt: skip
        self._task, self._scopes, self._target, self._answer = task, scopes, target, answer
        self._tracker, self._on_row = tracker, on_row
        self._again: defaultdict[str, dict[bytes, str]] = defaultdict(dict)
        """Keys that were refused, and why, by table."""
        actor = {"actor": task.by, "reason": task.reason, "verb": "restore", "at": task.said}
        self._actor = json.dumps({name: value for name, value in actor.items() if value is not None})
        self.reports: dict[str, TableRestored] = {}

    def run(self, order: Sequence[str]) -> None:
        for table in order:
            self.reports[table] = TableRestored(table, untold_partitions=self._answer.uncovered[table])
        total = sum(past.count() for past in self._answer.tables.values())
        self._tracker.begin("comparing", total)
        for table in order:
            for chunk in self._chunks(table):
                self._present(table, chunk)
                self._tracker.advance(len(chunk))
        for table in reversed(order):
            for chunk in self._chunks(table):
                self._absent(table, chunk)
        self._come_back(order)

    def _chunks(self, table: str) -> Iterator[list[Entry]]:
        return self._past(table).chunks(CHUNK_ROWS, CHUNK_BYTES)

    def _present(self, table: str, entries: Sequence[Entry]) -> None:
        """Rows that there were then."""
        by_key = {entry.state.key: entry for entry in entries if self._asked(entry)}
        report, shape = self.reports[table], self._answer.shapes[table]
        for entry in by_key.values():
            if isinstance(entry.state, Untold) and entry.inside:
                report.left.add(Refusal(entry.state.key, "nothing is told of it before a later time"))
        rows = self._passing(table, [one for entry in by_key.values() for one in _expected(entry, shape)], by_key)
        report.compared += len(rows)
        found = self._target.compare(table, rows)
        act = []
        for one in found:
            entry = by_key[one.key]
            if entry.beyond and self._task.question.until is not None:
                report.beyond.add(Refusal(one.key, f"changed later, and differs: {', '.join(one.fields) or 'gone'}"))
            elif one.kind == "insert" and entry.moved is not None:
                report.left.add(Refusal(one.key, f"its key was changed since, to {key_text(entry.moved)}"))
            elif why := against(one, self._scopes[table]):
                report.left.add(Refusal(one.key, why))
            else:
                act.append(one)
        self._untold(table, rows, {one.key for one in found}, by_key)
        self._do(table, rows, act)

    def _untold(
        self, table: str, rows: Sequence[Expected], differing: set[bytes], by_key: Mapping[bytes, Entry]
    ) -> None:
        """Rows that were changed since, of which no value but the key is told."""
        for row in rows:
            state = by_key[row.key].state
            if row.key in differing or not by_key[row.key].inside or not isinstance(state, Known):
                continue
            if state.large is not None or (state.since_ms is not None and len(state.values) <= len(_names(row.key))):
                self.reports[table].left.add(Refusal(row.key, "its values of then are not told"))

    def _absent(self, table: str, entries: Sequence[Entry]) -> None:
        """Keys that had no row then."""
        by_key = {
            one.state.key: one for one in entries if isinstance(one.state, Absent) and one.inside and self._asked(one)
        }
        rows = self._passing(table, [Expected(key, None) for key in by_key], by_key)
        act = []
        for one in self._target.compare(table, rows) if rows else ():
            entry = by_key[one.key]
            if not self._task.delete_newer or self._task.columns is not None:
                self.reports[table].newer.add(Refusal(one.key, "made since"))
            elif entry.came:
                self.reports[table].left.add(Refusal(one.key, "a row of then may have this key now"))
            elif entry.beyond and self._task.question.until is not None:
                self.reports[table].beyond.add(Refusal(one.key, "made since, and changed later"))
            else:
                act.append(one)
        self._do(table, rows, act)

    def _do(self, table: str, rows: Sequence[Expected], wrong: Sequence[Wrong]) -> None:
        if self._task.dry_run:
            for one in wrong:
                self._account(table, one)
        elif wrong:
            keys = {one.key for one in wrong}
            self._write(table, [row for row in rows if row.key in keys])

    def _write(self, table: str, rows: Sequence[Expected]) -> None:
        for attempt in range(ATTEMPTS):
            try:
                written = self._target.write(table, rows, self._actor)
                break
            except TryAgain:
                self._tracker.wait()
                if attempt == ATTEMPTS - 1:
                    for row in rows:
                        self._again[table][row.key] = "somebody else holds the row"
                    return
        for refused in written.refused:
            self._again[table][refused.key] = refused.reason
        for one in written.done:
            self._account(table, one)
        for key, fields in written.kept.items():
            self.reports[table].kept.add(
                Refusal(key, f"written, and something made another value of {', '.join(fields)}")
            )

    def _come_back(self, order: Sequence[str]) -> None:
        """Once more, as long as it helps, what was refused: a parent or a unique value may have come free meanwhile."""
        before = -1
        while (count := sum(map(len, self._again.values()))) not in (0, before):
            before = count
            again, self._again = self._again, defaultdict(dict)
            for table in order:
                entries = self._past(table).look_up(list(again[table]))
                rows = [row for entry in entries for row in _expected(entry, self._answer.shapes[table])]
                gone = [Expected(entry.state.key, None) for entry in entries if isinstance(entry.state, Absent)]
                for some in (rows, gone):
                    for first in range(0, len(some), CHUNK_ROWS):
                        self._write(table, some[first : first + CHUNK_ROWS])
        for table, refused in self._again.items():
            for key, why in refused.items():
                self.reports[table].left.add(Refusal(key, why))

    def _account(self, table: str, one: Wrong) -> None:
        report = self.reports[table]
        report.updated += one.kind == "update"
        report.inserted += one.kind == "insert"
        report.deleted += one.kind == "delete"
        report.partial += bool(one.untold)
        if self._on_row:
            self._on_row(RowRestored(table, one))

    def _asked(self, entry: Entry) -> bool:
        """With an end of the window only what was changed within it."""
        return self._task.question.until is None or entry.inside

    def _passing(self, table: str, rows: Sequence[Expected], by_key: Mapping[bytes, Entry]) -> list[Expected]:
        if not rows:
            return []
        passing = self._target.passing(table, rows)
        for row in rows:
            if row.key in passing.untold and by_key[row.key].inside:
                self.reports[table].left.add(Refusal(row.key, "what --where asks for is not told of it"))
        return [row for row in rows if row.key in passing.keys]

    def _past(self, table: str) -> Past:
        return self._answer.tables[table]


def _expected(entry: Entry, shape: Shape) -> list[Expected]:
    state = entry.state
    return [Expected(state.key, content(shape.complete(state)))] if isinstance(state, Known) else []


def _names(key: bytes) -> list[str]:
    return list(json.loads(key))
