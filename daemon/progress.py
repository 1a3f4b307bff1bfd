"""How far long work is, told as it goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one step is: rows, records or keys. `waiting` for a target to apply, or for the source to answer."""

    step: str
    done: int
    total: int
    waiting: bool = False


OnProgress = Callable[[Progress], None]


class Tracker:
    """Counts, and tells the listener; `of` goes before every step. What comes meanwhile lets a total grow."""

    def __init__(self, listener: OnProgress | None, of: str = "") -> None:
        self._listener = listener
        self._of = of
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
            self._listener(Progress(f"{self._of} {self._step}".strip(), self._done, self._total, waiting))
