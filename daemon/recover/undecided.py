"""Which rows a replay leaves as a spoke has them, because a person has yet to decide: the hub keeps what waits."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

from connectors.contract import Expected
from daemon.config.settings import Settings
from daemon.reconcile.comparison import compare
from daemon.reconcile.record_key import texts_of
from daemon.reconcile.report import Waits
from daemon.reconcile.shape import Column
from daemon.reconcile.side import opened
from daemon.reconcile.waiting import Waiting, conflicts_of


class Undecided:
    """Of one target. `keys` are the key's columns of each table that goes both ways."""

    def __init__(self, conflicts: Waiting | None = None, keys: Mapping[str, Sequence[Column]] | None = None) -> None:
        self.conflicts = conflicts
        self._keys = keys or {}

    def of(self, table: str, keys: Collection[bytes]) -> dict[bytes, Waits]:
        """By record key. Raises OperatorError when the hub does not answer."""
        if self.conflicts is None or table not in self._keys:
            return {}
        columns = self._keys[table]
        named = {texts_of(columns, key): key for key in keys}
        return {named[texts]: found for texts, found in self.conflicts.of(table, columns, list(named)).items()}


@contextmanager
def undecided(settings: Settings, target: str, tables: Collection[str]) -> Iterator[Undecided]:
    """Connects where one of the tables goes both ways. Raises OperatorError when a side cannot be reached."""
    config = settings.targets[target]
    both = [table for table in tables if config.tables[table].both_ways]
    with conflicts_of(settings, target) as conflicts:
        if conflicts is None or not both:
            yield Undecided()
            return
        source = settings.sources[config.source]
        with (
            opened("source", config.source, source.url.get_secret_value()) as ours,
            opened("target", target, config.url.get_secret_value()) as theirs,
        ):
            keys = {table: compare(settings, target, ours, theirs, table, keys_only=True).source.key for table in both}
        yield Undecided(conflicts, keys)


def spared(row: Expected, waits: Waits | None) -> Expected | None:
    """What is to be made of a row: None where it waits as a whole, else without the fields that wait."""
    if waits is None:
        return row
    if not waits.fields or row.content is None:
        return None
    return row._replace(kept=frozenset(waits.fields))
