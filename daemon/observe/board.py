"""The board on which this process's workers stand: written by their threads, read by health, metrics and state."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import get_args

from daemon.observe import metrics
from daemon.state.workers import WorkerState

HUNG_AFTER_SECONDS = 300.0
"""A worker that says that it runs, and then nothing for this long, is taken for hung."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where one worker stands.

    `started_at` is when its present run began. `told_at` is the time of its latest report, in seconds of the
    monotonic clock.
    """

    state: WorkerState
    detail: str | None
    started_at: datetime
    told_at: float
    thread: threading.Thread | None = None


class Board:
    """Thread-safe; `changed` is set whenever a state changes."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._standings: dict[str, Standing] = {}
        self.changed = threading.Event()

    def enter(self, name: str, thread: threading.Thread | None) -> None:
        """Note the thread that carries a worker."""
        with self._lock:
            self._standings[name] = Standing("starting", None, datetime.now(UTC), self._clock(), thread)
        self._announce(name, "starting")

    def report(self, name: str, state: WorkerState, detail: str | None = None) -> bool:
        """Note what a worker says of itself, and tell whether it is new; the same again counts as a sign of life.

        `starting` begins a run.
        """
        with self._lock:
            before = self._standings[name]
            started_at = datetime.now(UTC) if state == "starting" else before.started_at
            self._standings[name] = replace(
                before, state=state, detail=detail, started_at=started_at, told_at=self._clock()
            )
        is_new = (state, detail) != (before.state, before.detail)
        if is_new:
            self._announce(name, state)
        return is_new

    def standings(self) -> dict[str, Standing]:
        with self._lock:
            return dict(self._standings)

    def ready(self) -> bool:
        """Every worker runs, or stands by for another instance."""
        standings = self.standings()
        return bool(standings) and all(one.state in ("running", "standby") for one in standings.values())

    def ailing(self) -> list[str]:
        """Workers whose thread is dead without having said why, or which are hung."""
        return [name for name, one in self.standings().items() if self._is_dead(one) or self._is_hung(one)]

    def _is_dead(self, one: Standing) -> bool:
        ended = one.thread is not None and one.thread.ident is not None and not one.thread.is_alive()
        return ended and one.state not in ("stopped", "failed")

    def _is_hung(self, one: Standing) -> bool:
        return one.state == "running" and self._clock() - one.told_at > HUNG_AFTER_SECONDS

    def _announce(self, name: str, state: WorkerState) -> None:
        for possible in get_args(WorkerState):
            metrics.WORKER_STATE.labels(name, possible).set(possible == state)
        self.changed.set()
