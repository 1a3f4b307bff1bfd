"""How far a verification is, told as it goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a table is: rows read of rows to read, both sides together; `waiting` for the target to apply."""

    target: str
    table: str
    done: int
    total: int
    waiting: bool = False


OnProgress = Callable[[Progress], None]


class Tracker:
    """Counts for one target and tells the listener."""

    def __init__(self, target: str, listener: OnProgress | None) -> None:
        self._target = target
        self._listener = listener
        self._table = ""
        self._done = 0
        self._total = 0

    def begin(self, table: str, total: int) -> None:
        self._table, self._done, self._total = table, 0, total
        self._tell()

    def advance(self, rows: int) -> None:
        """Rows that came while the table was read let the total grow."""
        self._done += rows
        self._total = max(self._total, self._done)
        self._tell()

    def wait(self) -> None:
        self._tell(waiting=True)

    def _tell(self, *, waiting: bool = False) -> None:
        if self._listener:
            self._listener(Progress(self._target, self._table, self._done, self._total, waiting))
