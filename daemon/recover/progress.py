"""How far a replay is, told as it goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one step is: records or keys. `waiting` for the live worker, or for the source."""

    step: str
    done: int
    total: int
    waiting: bool = False


OnProgress = Callable[[Progress], None]


class Tracker:
    """Counts, and tells the listener."""

    def __init__(self, listener: OnProgress | None) -> None:
        self._listener = listener
        self._step = ""
        self._done = 0
        self._total = 0

    def begin(self, step: str, total: int) -> None:
        self._step, self._done, self._total = step, 0, total
        self._tell()

    def advance(self, by: int) -> None:
        self._done += by
        self._total = max(self._total, self._done)
        self._tell()

    def wait(self) -> None:
        self._tell(waiting=True)

    def _tell(self, *, waiting: bool = False) -> None:
        if self._listener:
            self._listener(Progress(self._step, self._done, self._total, waiting))
