"""Rows that only a target has, and keys parked there without a row: the source is asked about each, and answers that it
is gone, or how it is by now.

The answer takes its place in the stream, so nothing here depends on who writes meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from connectors.contract import Wanted
from daemon.apply.requests import RowRequests
from daemon.capture.catalog import read_table
from daemon.capture.codec import Codec
from daemon.capture.pgoutput import Cell
from daemon.capture.provision import copied, depths, foreign_keys
from daemon.config import Settings
from daemon.reconcile.comparison import compare
from daemon.reconcile.parked import parked_keys
from daemon.reconcile.paused import paused_tables
from daemon.reconcile.rows import Key, Rows
from daemon.reconcile.shape import Comparison
from daemon.reconcile.side import Side, opened

ASKED_AT_ONCE = 500
LOOK_SECONDS = 0.2
STALL_SECONDS = 60.0
_INTERVALS = "SET intervalstyle = iso_8601"  # as record keys have them


@dataclass(frozen=True, slots=True)
class Gone:
    """Of one table of one target: rows that have left it, parked keys without a row that wait no more, and how many of
    both nobody has taken away in time."""

    table: str
    deleted: int
    settled: int
    left: int


def delete_gone(settings: Settings, target: str, on_table: Callable[[str], None]) -> Iterator[Gone]:
    """Take out of a target what its source does not have; children before parents.

    Raises OperatorError when one of the two databases cannot be reached or compared.
    """
    config = settings.targets[target]
    source = config.source
    with (
        opened("source", source, settings.sources[source].url.get_secret_value()) as ours,
        opened("target", target, config.url.get_secret_value()) as theirs,
    ):
        for side in (ours, theirs):
            side.connection.execute(_INTERVALS)
        places = depths(copied(ours.connection, list(config.tables)), foreign_keys(ours.connection))
        paused = {one.table for one in paused_tables(theirs, source, places)}
        requests = RowRequests(settings.kafka, target, source)
        try:
            for table in sorted(places, key=lambda name: -places[name]):
                on_table(table)
                stall = 0.0 if table in paused else STALL_SECONDS
                yield _Table(ours, theirs, compare(settings, target, ours, theirs, table), requests, stall).run()
        finally:
            requests.close()


class _Table:
    def __init__(
        self, ours: Side, theirs: Side, comparison: Comparison, requests: RowRequests, stall_seconds: float
    ) -> None:
        self._name = comparison.table
        self._source = Rows(ours, comparison.source)
        self._target = Rows(theirs, comparison.target)
        self._key = comparison.key
        self._source_key = comparison.source.key
        self._stall_seconds = stall_seconds
        self._table = read_table(ours.connection, *comparison.table.split(".", 1))
        self._codec = Codec(ours.name, "", self._table.relation, self._table.key)
        self._requests = requests

    def run(self) -> Gone:
        deleted = left = 0
        batch: list[Key] = []
        for keys in self._target.key_chunks():
            present = self._source.present(keys)
            batch += [key for key in keys if key not in present]
            while len(batch) >= ASKED_AT_ONCE:
                asked, batch = batch[:ASKED_AT_ONCE], batch[ASKED_AT_ONCE:]
                stay = self._ask(asked)
                deleted, left = deleted + len(asked) - stay, left + stay
        stay = self._ask(batch)
        settled, waiting = self._settle()
        return Gone(self._name, deleted + len(batch) - stay, settled, left + stay + waiting)

    def _ask(self, keys: list[Key]) -> int:
        """Until none of the keys is only in the target; how many still are when nothing moves any more."""
        wanted = {key: self._record_key(key) for key in keys}
        return self._until_gone(wanted, lambda: self._target.present(list(wanted)))

    def _settle(self) -> tuple[int, int]:
        """Parked keys of rows that are gone: no event of theirs will come that sets them free."""
        parked = self._parked()
        wanted = {key: parked[key] for key in parked.keys() - self._source.present(list(parked))}
        many = len(wanted)
        stay = self._until_gone(wanted, lambda: wanted.keys() & self._parked().keys())
        return many - stay, stay

    def _parked(self) -> dict[Key, bytes]:
        return parked_keys(self._target.side, self._source.side.name, self._name, self._source_key)

    def _until_gone(self, records: dict[Key, bytes], still: Callable[[], set[Key]]) -> int:
        """Ask for keys of the source until it shows them or `still` does no more; `records` loses those."""
        moved_at = time.monotonic()
        while records and time.monotonic() - moved_at < self._stall_seconds:
            self._requests.ask([Wanted(self._name, record) for record in records.values()])
            time.sleep(LOOK_SECONDS)
            there = still()
            only = there - self._source.present(list(there))
            if len(only) < len(records):
                moved_at = time.monotonic()
            for key in records.keys() - only:
                del records[key]
        return len(records)

    def _record_key(self, key: Key) -> bytes:
        texts = dict(zip(self._key, key, strict=True))
        row: list[Cell] = [
            texts[column.name].encode() if column.name in texts else None for column in self._table.relation.columns
        ]
        return self._codec.key(row)
