"""Rows that only a target has, and keys parked there without a row: the source is asked about each, and answers that it
is gone, or how it is by now.

The answer takes its place in the stream, so nothing here depends on who writes meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from connectors.contract import Wanted
from daemon.apply.requests import RowRequests
from daemon.capture.catalog import read_table
from daemon.capture.codec import Codec
from daemon.capture.pgoutput import Cell
from daemon.capture.provision import copied, depths, foreign_keys
from daemon.config.settings import Settings
from daemon.progress import OnProgress, Tracker
from daemon.reconcile.comparison import compare
from daemon.reconcile.parked import parked_keys
from daemon.reconcile.paused import PausedTable, not_compared
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
    both are left; `own`: rows among those whose key the source's columns cannot hold, so that it cannot be asked;
    `paused`: the table that has to flow before they can go, itself or a parent that its condition names, and
    `resuming`: it catches up already; `parked`: those that are left are, some of them at least; `after`: the table that
    kept its rows, so that these were counted only."""

    table: str
    deleted: int
    settled: int
    left: int
    own: int = 0
    paused: str | None = None
    resuming: bool = False
    parked: bool = False
    after: str | None = None

    @property
    def to_go(self) -> int:
        """Those that are left and could go."""
        return self.left - self.own


@dataclass(frozen=True, slots=True)
class Only:
    """What only the target has: rows, and parked keys without a row on either side; `own` as in `Gone`, and beside the
    rows."""

    table: str
    rows: int
    parked: int
    own: int = 0


def delete_gone(
    settings: Settings,
    target: str,
    on_table: Callable[[str], None],
    only: Collection[str] | None = None,
    on_progress: OnProgress | None = None,
) -> Iterator[Gone]:
    """Take out of a target what its source does not have, of all its tables or `only` these; children before parents.

    After a table whose rows do not leave in time, those of the others are counted and not waited for. Raises
    OperatorError when one of the two databases cannot be reached or compared.
    """
    stuck: str | None = None
    with _tables(settings, target, only, on_progress) as tables:
        for table in tables:
            on_table(table.name)
            found = table.delete(stuck)
            if stuck is None and found.to_go and not found.paused:
                stuck = table.name
            yield found


def count_gone(
    settings: Settings, target: str, only: Collection[str], on_progress: OnProgress | None = None
) -> Iterator[Only]:
    """What `delete_gone` would find now, in its order; raises what that does."""
    with _tables(settings, target, only, on_progress) as tables:
        for table in tables:
            yield table.count()


@contextmanager
def _tables(
    settings: Settings, target: str, only: Collection[str] | None, on_progress: OnProgress | None
) -> Iterator[Iterator[_Table]]:
    config = settings.targets[target]
    source = config.source
    with (
        opened("source", source, settings.sources[source].url.get_secret_value()) as ours,
        opened("target", target, config.url.get_secret_value()) as theirs,
        closing(RowRequests(settings.kafka, target, source)) as requests,
    ):
        for side in (ours, theirs):
            side.connection.execute(_INTERVALS)
        places = depths(copied(ours.connection, list(config.tables)), foreign_keys(ours.connection))
        parents = {name: {one.table for one in config.tables[name].referred().values()} for name in places}
        held = not_compared(theirs, source, parents)
        tracker = Tracker(on_progress, target)
        yield (
            _Table(
                ours,
                theirs,
                compare(settings, target, ours, theirs, name, keys_only=True),
                requests,
                held.get(name),
                tracker,
            )
            for name in sorted(places, key=lambda one: -places[one])
            if only is None or name in only
        )


class _Table:
    def __init__(
        self,
        ours: Side,
        theirs: Side,
        comparison: Comparison,
        requests: RowRequests,
        held: PausedTable | None,
        tracker: Tracker,
    ) -> None:
        self.name = comparison.table
        self._held = held
        self._tracker = tracker
        self._source = Rows(ours, comparison.source)
        self._target = Rows(theirs, comparison.target)
        self._key = comparison.key
        self._source_key = comparison.source.key
        self._table = read_table(ours.connection, *comparison.table.split(".", 1))
        self._codec = Codec(ours.name, "", self._table.relation, self._table.key)
        self._requests = requests

    def delete(self, after: str | None) -> Gone:
        """Wait while something leaves. What cannot is counted: of a paused table, or `after` one that is stuck."""
        held = self._held
        stall_seconds = 0.0 if after or (held and held.resume == self.name) else STALL_SECONDS
        deleted = left = own = 0
        batch: list[Key] = []
        for keys, kept in self._only_in_target():
            batch += keys
            own += kept
            while len(batch) >= ASKED_AT_ONCE:
                asked, batch = batch[:ASKED_AT_ONCE], batch[ASKED_AT_ONCE:]
                stay = self._ask(asked, stall_seconds)
                deleted, left = deleted + len(asked) - stay, left + stay
        stay = self._ask(batch, stall_seconds)
        deleted, left = deleted + len(batch) - stay, left + stay
        settled, waiting = self._settle(stall_seconds)
        parked = bool(left + waiting) and bool(self._gone(self._parked()))
        return Gone(
            self.name,
            deleted,
            settled,
            left + waiting + own,
            own,
            held.resume if held else None,
            held is not None and held.state == "resuming",
            parked,
            after,
        )

    def count(self) -> Only:
        rows = own = 0
        for keys, kept in self._only_in_target():
            self._tracker.advance(len(keys))
            rows, own = rows + len(keys), own + kept
        return Only(self.name, rows, len(self._rowless()), own)

    def _only_in_target(self) -> Iterator[tuple[list[Key], int]]:
        """A bounded number at a time: those the source can be asked about, and how many it cannot."""
        self._tracker.begin(self.name, self._target.count())
        for keys in self._target.key_chunks():
            present = self._source.present(keys)
            only = [key for key in keys if key not in present]
            held = self._source.held(only)
            self._tracker.advance(len(keys) - len(held))
            yield held, len(only) - len(held)

    def _ask(self, keys: list[Key], stall_seconds: float) -> int:
        """Until none of the keys is only in the target; how many still are when nothing moves any more."""
        wanted = {key: self._record_key(key) for key in keys}
        return self._until_gone(wanted, lambda: self._target.present(list(wanted)), stall_seconds)

    def _settle(self, stall_seconds: float) -> tuple[int, int]:
        """Parked keys of rows that are gone: no event of theirs will come that sets them free."""
        wanted = self._rowless()
        many = len(wanted)
        stay = self._until_gone(wanted, lambda: wanted.keys() & self._parked().keys(), stall_seconds)
        return many - stay, stay

    def _rowless(self) -> dict[Key, bytes]:
        """Parked keys that have a row on neither side."""
        parked = self._parked()
        gone = self._gone(parked)
        gone -= self._target.present(list(gone))
        return {key: parked[key] for key in gone}

    def _gone(self, keys: Collection[Key]) -> set[Key]:
        return set(keys) - self._source.present(list(keys))

    def _parked(self) -> dict[Key, bytes]:
        return parked_keys(self._target.side, self._source.side.name, self.name, self._source_key)

    def _until_gone(self, records: dict[Key, bytes], still: Callable[[], set[Key]], stall_seconds: float) -> int:
        """Ask for keys of the source until it shows them or `still` does no more; `records` loses those."""
        moved_at = time.monotonic()
        while records and time.monotonic() - moved_at < stall_seconds:
            self._requests.ask([Wanted(self.name, record) for record in records.values()])
            time.sleep(LOOK_SECONDS)
            there = still()
            only = there - self._source.present(list(there))
            if len(only) < len(records):
                moved_at = time.monotonic()
                self._tracker.advance(len(records) - len(only))
            else:
                self._tracker.wait()
            for key in records.keys() - only:
                del records[key]
        return len(records)

    def _record_key(self, key: Key) -> bytes:
        texts = dict(zip(self._key, key, strict=True))
        row: list[Cell] = [
            texts[column.name].encode() if column.name in texts else None for column in self._table.relation.columns
        ]
        return self._codec.key(row)
