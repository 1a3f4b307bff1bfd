"""What the topics cannot tell is taken from the source: a row is asked for, and comes on its ordinary way."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace

import orjson

from connectors.contract import Refusal, Wanted
from daemon.apply.requests import RowRequests
from daemon.config.settings import Settings
from daemon.progress import Tracker
from daemon.reconcile.comparison import compare
from daemon.reconcile.lane import Lane
from daemon.reconcile.record_key import texts_of
from daemon.reconcile.report import Difference
from daemon.reconcile.rows import Key, Rows
from daemon.reconcile.settle import Settler
from daemon.reconcile.shape import Column, Comparison
from daemon.reconcile.side import opened
from daemon.reconcile.table import TableVerification
from daemon.reconcile.waiting import Waiting

TOGETHER = 500
LOOK_SECONDS = 0.5
STALL_SECONDS = 60.0
WIDE_KEYS = 2_000
ROWS_A_KEY = 100
"""About how many rows a copy brings in the time that one key takes that is asked for by itself."""
_WHOLE_NUMBERS = ("smallint", "integer", "bigint", "oid")


class SourceRows:
    """One target beside its source. Raises OperatorError when one of them does not answer."""

    def __init__(
        self,
        settings: Settings,
        target: str,
        era: int,
        on_wait: Callable[[], None],
        stall_seconds: float = STALL_SECONDS,
        conflicts: Waiting | None = None,
    ) -> None:
        """`era` is the source's. `conflicts` tell what a person has yet to decide."""
        self._settings = settings
        self._target = target
        self._era = era
        self._on_wait = on_wait
        self._stall_seconds = stall_seconds
        self._conflicts = conflicts
        self._stack = ExitStack()
        config = settings.targets[target]
        source = settings.sources[config.source]
        self._ours = self._stack.enter_context(opened("source", config.source, source.url.get_secret_value()))
        self._theirs = self._stack.enter_context(opened("target", target, config.url.get_secret_value()))
        self._requests = RowRequests(settings.kafka, target, config.source)
        self._stack.callback(self._requests.close)

    def close(self) -> None:
        self._stack.close()

    def differing(self, table: str) -> Iterator[tuple[bytes, Difference]]:
        """Every row of a table that is not the same on both sides, but for the parked ones."""
        comparison = self._comparison(table)
        found: list[Difference] = []
        tracker = Tracker(lambda _: self._on_wait())
        lane = self._lane()
        TableVerification(
            comparison, self._ours, self._theirs, lane, tracker, show_values=False, waiting=self._conflicts
        ).run(None, found.append)
        columns = comparison.source.key
        for one in found:
            if one.parked_id is None:
                yield _record_key(columns, one.key), one

    def take(self, table: str, keys: Sequence[bytes]) -> list[Refusal]:
        """Have rows brought until the target shows them as the source does; those that do not come are returned.

        Many of a table come with a copy of all of it; what that does not bring is asked for key by key. Raises
        KafkaUnavailable when Kafka does not take the request for a copy.
        """
        comparison = self._comparison(table)
        columns = comparison.source.key
        wanted = {texts_of(columns, key): key for key in keys}
        ours = Rows(self._ours, comparison.source)
        if len(wanted) > WIDE_KEYS and len(wanted) * ROWS_A_KEY > ours.count():
            self._requests.ask_for_tables(table)
            wanted = {texts: wanted[texts] for texts in self._await_copy(comparison, ours, list(wanted))}
        return [
            Refusal(wanted[texts], "it did not come from the source")
            for part in _parts(list(wanted))
            for texts in self._take(comparison, {texts: wanted[texts] for texts in part})
        ]

    def _await_copy(self, comparison: Comparison, ours: Rows, keys: Sequence[Key]) -> list[Key]:
        """The keys that a copy has not brought: those that the source does not have, and what is left at its end."""
        left: list[Key] = []
        moving = True
        for part in _parts(keys):
            present = ours.present(part) if moving else set()
            late = self._take(comparison, dict.fromkeys(present, b""), ask=False)
            moving = moving and not late
            left += [key for key in part if key not in present or key in late]
        return left

    def _take(self, comparison: Comparison, wanted: dict[Key, bytes], *, ask: bool = True) -> list[Key]:
        ours = Rows(self._ours, comparison.source)
        theirs = Rows(self._theirs, comparison.target)
        pending = list(wanted)
        moved_at = time.monotonic()
        while pending and time.monotonic() - moved_at < self._stall_seconds:
            if ask:
                self._requests.ask([Wanted(comparison.table, wanted[key]) for key in pending])
            self._on_wait()
            time.sleep(LOOK_SECONDS)
            settled = Settler(comparison, ours, theirs, self._lane(), show_values=False).settle(pending)
            differ = self._differ(comparison, settled.differences)
            still = [key for key in pending if key in differ or key in settled.changing]
            if len(still) < len(pending):
                moved_at = time.monotonic()
            pending = still
        return pending

    def _differ(self, comparison: Comparison, found: Mapping[Key, Difference]) -> set[Key]:
        """Without rows that differ only in what a person has yet to decide."""
        if self._conflicts is None:
            return set(found)
        waits = self._conflicts.of(comparison.table, comparison.source.key, list(found))
        return {
            key
            for key, one in found.items()
            if one.kind != "differs" or not replace(one, waits=waits.get(key)).only_waits
        }

    def _comparison(self, table: str) -> Comparison:
        return compare(self._settings, self._target, self._ours, self._theirs, table)

    def _lane(self) -> Lane:
        return Lane(self._ours, self._theirs, self._era, self._stall_seconds, self._on_wait)


def _parts(keys: Sequence[Key]) -> Iterator[Sequence[Key]]:
    for first in range(0, len(keys), TOGETHER):
        yield keys[first : first + TOGETHER]


def _record_key(columns: Sequence[Column], texts: Mapping[str, str]) -> bytes:
    """The record key of a row, from PostgreSQL's texts."""
    return orjson.dumps({column.name: _value(column, texts[column.name]) for column in columns})


def _value(column: Column, text: str) -> object:
    if column.type in _WHOLE_NUMBERS:
        return int(text)
    if column.type == "boolean":
        return text in ("t", "true")
    return base64.b64encode(bytes.fromhex(text[2:])).decode() if column.type == "bytea" else text
