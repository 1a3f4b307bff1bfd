"""Writes what a set of events comes to: all of it, or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from connectors.postgres.parked import Key
from connectors.postgres.rows import Event, fold
from connectors.postgres.table_writes import TableWrites


class Effects(Protocol):
    """Every method needs an open transaction, and raises Refused or CannotFold where one of the rows is not welcome;
    nothing of the set is written then."""

    @property
    def one_by_one(self) -> bool:
        """Whether each event of a key is told apart from the others: those that come in one set have one outcome."""

    def write(self, events: Sequence[Event]) -> list[Key]:
        """Returns keys of which a part is known and no row was there."""

    def write_screened(self, events: Sequence[Event]) -> tuple[list[Key], dict[Key, str]]:
        """As `write`, but for rows whose parent is missing when their turn comes: those are returned, with why."""


class Folded:
    """Where rows go one way: one effect per key, whatever the row is at the target."""

    one_by_one = False

    def __init__(self, writes: TableWrites) -> None:
        self._writes = writes

    def write(self, events: Sequence[Event]) -> list[Key]:
        return self._writes.write_nets(fold(events))

    def write_screened(self, events: Sequence[Event]) -> tuple[list[Key], dict[Key, str]]:
        return self._writes.write_screened(fold(events))
