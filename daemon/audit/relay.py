"""Brings what a target has told of its events into the audit log: one entry for each, whatever dies when.

Entries, how far each partition is, and which outbox rows are done are one transaction of the state database; the rows
are deleted after it. A row that is met again was either deleted in vain, and is in that list, or was not entered.
"""

from __future__ import annotations

from threading import Event

from connectors.contract import Outbox, OutboxRow, Partition
from daemon.actors import Actors
from daemon.audit.entry import Draft
from daemon.audit.ledger import Ledger
from daemon.audit.records import Records
from daemon.audit.telling import Fate, Key, Known, Telling
from daemon.config.settings import Settings
from daemon.seams import AFTER_AUDIT_COMMIT, AFTER_OUTBOX_DELETED, BEFORE_AUDIT_COMMIT, seam
from schemas import outbox as shape

ROWS = 200
BATCH_EVENTS = 1_000
BATCH_BYTES = 4 * 1024 * 1024


class Relay:
    """One target's, from one claim to the next. Raises what its parts raise."""

    def __init__(self, settings: Settings, target: str, outbox: Outbox, ledger: Ledger) -> None:
        self._settings = settings
        self._target = target
        self._outbox = outbox
        self._ledger = ledger
        self._open()
        self._known = Known({}, {})
        self._drafts: list[Draft] = []
        self._fates: list[Fate] = []
        self._bytes = 0
        self._done: list[int] = []
        self._outbox.delete(ledger.relayed)

    def _open(self) -> None:
        settings, target = self._settings, self._target
        self._records = Records(settings.kafka)
        self._actors = Actors(settings.kafka, settings.targets[target].source)
        self._telling = Telling(settings, target, self._records, self._actors)

    def close(self) -> None:
        self._records.close()
        self._actors.close()

    def run(self, stop: Event) -> int:
        """Enter what waits, at most 200 rows of it, or until asked to end; how many rows were there."""
        rows = self._outbox.read(ROWS)
        for row in rows:
            if row.id not in self._ledger.relayed and not stop.is_set():
                self._take(row, stop)
        self._enter()
        return len(rows)

    def _take(self, row: OutboxRow, stop: Event) -> None:
        content = shape.decode(row.events)
        self._turn(content.era)
        for fate in self._telling.fates(content, self._ledger.next_offsets):
            self._fates.append(fate)
            self._bytes += fate.size
            if self._full():
                self._tell(row)
                self._enter()
                if stop.is_set():
                    return  # what is entered of it is known by its offsets
        self._tell(row)
        self._drafts += [self._telling.change(change, row) for change in content.changes]
        self._done.append(row.id)
        if self._full():
            self._enter()

    def _turn(self, era: int | None) -> None:
        """Where another era begins, nothing is left of what was read of topics that may have been made anew."""
        if era is None or era == self._ledger.era:
            return
        self._enter()
        self._ledger.begin(era)
        self.close()
        self._open()

    def _full(self) -> bool:
        return len(self._fates) + len(self._drafts) >= BATCH_EVENTS or self._bytes >= BATCH_BYTES

    def _tell(self, row: OutboxRow) -> None:
        fates, self._fates = self._fates, []
        if not fates:
            return
        partitions: dict[Key, Partition] = {
            key: (fate.topic, fate.partition) for fate in fates for key in self._telling.keys([fate])
        }
        unknown = {key: place for key, place in partitions.items() if key not in self._known.rows}
        self._known.rows.update(self._ledger.recall(unknown))
        self._drafts += self._telling.drafts(fates, row, self._known)

    def _enter(self) -> None:
        """What is told, in one transaction. Nothing of the values is remembered beyond it: they may be erased."""
        drafts, done = self._drafts, self._done
        self._drafts, self._done, self._bytes = [], [], 0
        self._known = Known({}, {})
        if not drafts and not done:
            return
        seam(BEFORE_AUDIT_COMMIT)
        self._ledger.append(drafts, done)
        seam(AFTER_AUDIT_COMMIT)
        self._outbox.delete(done)
        seam(AFTER_OUTBOX_DELETED)
