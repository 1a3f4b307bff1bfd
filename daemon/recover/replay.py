"""`placemat replay`: what the topics say of each row, compared with what the target holds, and written if it differs.

Beside the live flow: keys are compared without a lock first. Those that differ are looked at again in a transaction in
which the live worker has none; there the target says which records it has taken, and these are read before anything
is compared, so that what is expected of a row is known exactly.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from confluent_kafka import Message

from connectors.contract import Expected, Finding, Refusal, ReplayTarget, TryAgain
from daemon.config.settings import Settings
from daemon.errors import OperatorError
from daemon.progress import OnProgress, Tracker
from daemon.recover.contents import partial
from daemon.recover.locate import Locator, Window, place_of
from daemon.recover.reader import ReplayReader
from daemon.recover.report import ChangeKind, OnChange, ReplayReport, RowChange, TableReport
from daemon.recover.source import SourceRows
from daemon.recover.store import Entry, KeyStore, Seen
from daemon.recover.undecided import Undecided, spared, undecided
from daemon.recover.window import End, Start
from daemon.seams import AFTER_REPLAY_COMMIT, BEFORE_REPLAY_COMMIT, seam
from schemas.position import Position
from schemas.topics import table_topic, transactions_topic

CHUNK_ROWS = 500
CHUNK_BYTES = 4 * 1024 * 1024
CATCH_UP_SECONDS = 0.5
"""How long the live worker may be kept waiting for us to read what it has just taken."""
ATTEMPTS = 5
_KINDS: Mapping[str, ChangeKind] = {"missing": "insert", "differs": "update", "extra": "delete", "incomplete": "fetch"}


@dataclass(frozen=True, slots=True)
class Task:
    """What is asked for. `tables` are routed ones; `rate` is in rows written a second, None for no limit."""

    tables: Sequence[str]
    start: Start
    until: End | None = None
    rate: float | None = None
    dry_run: bool = False


def replay(
    settings: Settings,
    name: str,
    target: ReplayTarget,
    task: Task,
    *,
    era: int,
    on_progress: OnProgress | None = None,
    on_change: OnChange | None = None,
) -> ReplayReport:
    """Replay into the target called `name`, whose source is in that era. Safe to interrupt and to repeat.

    Raises OperatorError (exit code 2 for what cannot be asked for), and Unavailable when a server does not answer.
    """
    started = time.monotonic()
    with closing(target):
        order = [table for table in target.open() if table in task.tables]
        source = settings.targets[name].source
        topics = {table_topic(source, *table.split(".", 1)): table for table in order}
        with closing(Locator(settings.kafka, transactions_topic(source), era)) as locator:
            window = locator.window(list(topics), task.start, task.until)
        with (
            closing(KeyStore(order)) as store,
            closing(ReplayReader(settings.kafka, window.starts)) as reader,
            undecided(settings, name, order) as waiting,
        ):
            tracker = Tracker(on_progress)
            work = _Replay(
                settings, name, target, task, era, window, store, reader, waiting, topics, tracker, on_change
            )
            work.run(order)
    return ReplayReport(name, task.dry_run, tuple(work.reports.values()), work.records, time.monotonic() - started)


class _Replay:
    def __init__(
        self,
        settings: Settings,
        name: str,
        target: ReplayTarget,
        task: Task,
        era: int,
        window: Window,
        store: KeyStore,
        reader: ReplayReader,
        waiting: Undecided,
        topics: Mapping[str, str],
        tracker: Tracker,
        on_change: OnChange | None,
    ) -> None:
        self._settings, self._name, self._target, self._task, self._era = settings, name, target, task, era
        self._window, self._store, self._reader, self._topics = window, store.tables, reader, topics
        self._waiting, self._tracker, self._on_change = waiting, tracker, on_change
        self._rows = CHUNK_ROWS if task.rate is None else max(1, min(CHUNK_ROWS, int(task.rate)))
        self._written = 0
        self._began = 0.0
        self.records = 0
        self.reports = {table: TableReport(table) for table in topics.values()}
        for (topic, partition), begin in window.lost.items():
            self.reports[topics[topic]].lost[partition] = begin

    def run(self, order: Sequence[str]) -> None:
        bounds = self._target.taken()
        self._tracker.begin("reading", self._reader.behind(bounds))
        self._reader.read(bounds, self._take)
        through = {table: self._store[table].last() for table in order}
        for table in order:
            self.reports[table].keys = self._store[table].count()
        self._tracker.begin("comparing", sum(report.keys for report in self.reports.values()))
        self._began = time.monotonic()
        for table in order:
            for chunk in self._store[table].present(through[table], CHUNK_ROWS, CHUNK_BYTES):
                self._chunk(table, chunk)
        for table in reversed(order):
            for chunk in self._store[table].gone(through[table], CHUNK_ROWS):
                self._chunk(table, chunk)
        if not self._task.dry_run:
            self._come_back(order)
        self._ask_source(order)

    def _take(self, messages: Sequence[tuple[Message, Position]]) -> None:
        """Fold records, and mark the keys of those that are later than asked for."""
        inside: defaultdict[str, list[Seen]] = defaultdict(list)
        later: defaultdict[str, list[Seen]] = defaultdict(list)
        window = self._window
        for message, position in messages:
            seen = Seen(message.partition() or 0, message.key() or b"", message.value() or b"")
            place = place_of(position.timeline, position.commit_lsn)
            if place < window.first or (window.key is not None and seen.key not in (window.key, b"")):
                continue
            beyond = window.before is not None and place >= window.before
            (later if beyond else inside)[self._topics[message.topic() or ""]].append(seen)
        for table, records in inside.items():
            self._store[table].fold(records)
            self.records += len(records)
        for table, records in later.items():
            self._store[table].fold_later(records)
        self._tracker.advance(len(messages))

    def _chunk(self, table: str, entries: Sequence[Entry]) -> None:
        """Compare keys as they pass, and settle those that seem to differ."""
        rows = self._wanted(entries)
        report = self.reports[table]
        report.newer += len(entries) - len(rows)
        suspects = []
        for found in self._patiently(table, rows):
            if found.kind == "parked":
                report.parked += 1
            elif found.kind == "too_large":
                report.too_large += 1
            else:
                suspects.append(found.key)
        for first in range(0, len(suspects), self._rows):
            self._settle(table, suspects[first : first + self._rows])
        self._tracker.advance(len(entries))

    def _patiently(self, table: str, rows: Sequence[Expected]) -> list[Finding]:
        while True:
            try:
                return self._target.compare(table, rows)
            except TryAgain:
                self._tracker.wait()

    def _settle(self, table: str, keys: Sequence[bytes]) -> None:
        """Compare keys while the live worker waits, and write those that do differ."""
        for _ in range(ATTEMPTS):
            self._take_turn()
            try:
                rows = self._spared(table, self._wanted(self._store[table].look_up(keys)))
                findings = self._told_apart(table, self._target.compare(table, rows))
                refused = [] if self._task.dry_run else self._write(table, rows, findings)
            except TryAgain:
                self._tracker.wait()
                continue
            self._account(table, findings, refused)
            self._pace()
            return
        self._store[table].leave(Refusal(key, "somebody else holds the row") for key in keys)

    def _spared(self, table: str, rows: Sequence[Expected]) -> list[Expected]:
        """Without what waits for a person, here as the hub has it now."""
        waits = self._waiting.of(table, [row.key for row in rows])
        self.reports[table].waits |= waits
        return [row for row in (spared(row, waits.get(row.key)) for row in rows) if row is not None]

    def _told_apart(self, table: str, findings: Sequence[Finding]) -> list[Finding]:
        """What is to be done. Of a row whose key may be another one the topics tell, if they have a row of the key that
        the target shows; else only the source can."""
        told = [one for one in findings if one.kind in _KINDS]
        alike = [one for one in findings if one.kind == "alike"]
        known = {
            entry.expected.key for entry in self._store[table].look_up([one.own for one in alike]) if entry.present
        }
        for one in alike:
            if one.own not in known:
                told.append(Finding(one.key, "incomplete"))
            elif one.own == one.key:  # it is not for this target
                told.append(Finding(one.key, "extra"))
        return told

    def _take_turn(self) -> None:
        """A transaction of the target in which all that the target has taken is known here."""
        while True:
            self._reader.read(self._target.taken(), self._take)
            try:
                bounds = self._target.begin()
            except TryAgain:
                self._tracker.wait()
                continue
            if self._reader.read(bounds, self._take, CATCH_UP_SECONDS):
                return
            self._target.rollback()

    def _write(self, table: str, rows: Sequence[Expected], findings: Sequence[Finding]) -> list[Refusal]:
        wrong = {one.key: one.kind for one in findings if one.kind != "incomplete"}
        written = [
            row._replace(kept=frozenset()) if wrong[row.key] == "missing" else row for row in rows if row.key in wrong
        ]
        refused = self._target.write(table, written) if written else []
        seam(BEFORE_REPLAY_COMMIT)
        self._target.commit()
        seam(AFTER_REPLAY_COMMIT)
        return refused

    def _account(self, table: str, findings: Sequence[Finding], refused: Sequence[Refusal]) -> None:
        if self._task.dry_run:
            self._target.rollback()
        store, report = self._store[table], self.reports[table]
        store.leave(refused)
        store.leave([Refusal(one.key, "") for one in findings if one.kind == "incomplete"], incomplete=True)
        back = {one.key for one in refused}
        for one in findings:
            if one.kind == "incomplete" or one.key in back:
                continue
            if one.kind == "missing":  # whole: nothing of it is left as it was
                report.waits.pop(one.key, None)
            report.inserted += one.kind == "missing"
            report.updated += one.kind == "differs"
            report.deleted += one.kind == "extra"
            self._written += 1
            self._tell(table, one.key, _KINDS[one.kind], one.fields)

    def _pace(self) -> None:
        if self._task.rate is not None and not self._task.dry_run:
            time.sleep(max(0.0, self._began + self._written / self._task.rate - time.monotonic()))

    def _come_back(self, order: Sequence[str]) -> None:
        """Once more, as long as it helps, what was refused: a parent may have come, or a child gone, meanwhile."""
        before = -1
        while True:
            left = {table: self._store[table].left() for table in order}
            count = sum(map(len, left.values()))
            if count in (0, before):
                break
            before = count
            for table, refused in left.items():
                for first in range(0, len(refused), self._rows):
                    self._settle(table, [one.key for one in refused[first : first + self._rows]])
        for table, refused in left.items():
            for one in refused:
                self.reports[table].left.add(one)

    def _ask_source(self, order: Sequence[str]) -> None:
        """Rows of which the topics hold too little."""
        asked = {table: self._too_little(table) for table in order}
        whole = (
            [] if self._window.key else [one for one in order if self.reports[one].lost or self._store[one].truncated]
        )
        if not whole and not any(asked.values()):
            return
        self._tracker.begin("from the source", 0)
        conflicts = self._waiting.conflicts
        with closing(
            SourceRows(self._settings, self._name, self._era, self._tracker.wait, conflicts=conflicts)
        ) as source:
            for table in order:
                keys: dict[bytes, tuple[str, ...]] = dict.fromkeys(asked[table], ())
                if table in whole:
                    keys |= self._unknown(table, source, keys)
                self._fetch(table, source, keys)

    def _too_little(self, table: str) -> list[bytes]:
        """Keys that have no row in the target, and of which a part is known; or the only one, if that is unknown."""
        store, key = self._store[table], self._window.key
        found = [one.key for one in store.left(incomplete=True)]
        if key is None or found or not self.reports[table].lost:
            return found
        known = store.look_up([key])
        content = known[0].expected.content if known else None
        return [key] if not known or (content is not None and partial(content)) else []

    def _unknown(
        self, table: str, source: SourceRows, named: Mapping[bytes, tuple[str, ...]]
    ) -> dict[bytes, tuple[str, ...]]:
        """Rows that differ from the source, but for those that were named already."""
        found = dict(source.differing(table))
        self.reports[table].waits |= {key: one.waits for key, one in found.items() if one.waits is not None}
        differ = {key: one.fields for key, one in found.items() if key not in named and one.waits is None}
        known = {entry.expected.key for entry in self._store[table].look_up(list(differ))}
        return {key: fields for key, fields in differ.items() if key not in known or not self._task.dry_run}

    def _fetch(self, table: str, source: SourceRows, keys: Mapping[bytes, tuple[str, ...]]) -> None:
        left: set[bytes] = set()
        if not self._task.dry_run:
            for one in source.take(table, list(keys)) if keys else ():
                left.add(one.key)
                self.reports[table].left.add(one)
        for key, fields in keys.items():
            if key not in left:
                self.reports[table].fetched += 1
                self._tell(table, key, "fetch", fields)

    def _tell(self, table: str, key: bytes, kind: ChangeKind, fields: tuple[str, ...]) -> None:
        if self._on_change:
            self._on_change(RowChange(table, key, kind, fields))

    @staticmethod
    def _wanted(entries: Sequence[Entry]) -> list[Expected]:
        return [entry.expected for entry in entries if not entry.later]


def tables_of(settings: Settings, target: str, names: Sequence[str]) -> list[str]:
    """Routed tables, with or without `public.`; all of them when none is named.

    Raises OperatorError (exit code 2) for a target or a route that there is not.
    """
    if target not in settings.targets:
        known = ", ".join(settings.targets) or "none is configured"
        raise OperatorError(f"There is no target {target}.", f"Choose one of: {known}.", exit_code=2)
    routed = settings.targets[target].tables
    wanted = [name if "." in name else f"public.{name}" for name in names]
    for name in wanted:
        if name not in routed:
            raise OperatorError(
                f"Target {target} has no route for table {name}.",
                f"Routed are: {', '.join(sorted(routed))}.",
                exit_code=2,
            )
    return wanted or list(routed)
