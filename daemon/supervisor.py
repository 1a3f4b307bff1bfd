"""Keeps the workers of a process running: a thread each, restarts with back-off, one orderly end."""

from __future__ import annotations

import random
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import structlog

from daemon.errors import Fenced, Gap, OperatorError, Unavailable
from daemon.observe import metrics
from daemon.observe.board import Board
from daemon.state.workers import WorkerState

FIRST_DELAY_SECONDS = 0.2
LONGEST_DELAY_SECONDS = 30.0
STEADY_AFTER_SECONDS = 30.0
GRACE_SECONDS = 10.0

Report = Callable[[WorkerState, str | None], None]
log = structlog.get_logger(__name__)


class LeftBehind(OperatorError):
    """Workers were still there when the time to end was over: their threads have to be killed with the process."""


class Worker(Protocol):
    """One loop of the daemon. It is run in a thread of its own, again after a failure, never twice at a time."""

    @property
    def name(self) -> str:
        """`capture:<source>`, `apply:<target>` or `notify:<hub>`."""

    def run(self, stop: threading.Event, report: Report) -> None:
        """Work until `stop` is set, then finish what must be finished within seconds, close everything, and return.

        Reports its state when it changes, and at least once a minute as a sign of life.
        Raises OperatorError to end for good, and anything else to be started again; after Fenced it stands by.
        """


class Backoff:
    """Delays that grow from 0.2 to 30 seconds, drawn at random below their bound."""

    def __init__(self, random_: Callable[[], float]) -> None:
        self._random = random_
        self._failures = 0

    def failed_after(self, ran_seconds: float) -> float:
        """The delay before the next start, in seconds; a run of 30 seconds begins the count anew."""
        self._failures = 1 if ran_seconds >= STEADY_AFTER_SECONDS else self._failures + 1
        bound = min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2.0 ** min(self._failures, 16))
        return FIRST_DELAY_SECONDS + self._random() * (bound - FIRST_DELAY_SECONDS)


class Supervisor:
    """Runs workers until all have ended."""

    def __init__(
        self,
        workers: Sequence[Worker],
        board: Board,
        *,
        clock: Callable[[], float] = time.monotonic,
        random_: Callable[[], float] = random.random,
        wait: Callable[[threading.Event, float], bool] = threading.Event.wait,
    ) -> None:
        self._workers = workers
        self._board = board
        self._clock = clock
        self._random = random_
        self._wait = wait
        self._stop = threading.Event()
        self._ends: list[OperatorError] = []

    @property
    def stopping(self) -> bool:
        return self._stop.is_set()

    def stop(self) -> None:
        """Ask every worker to end; safe in a signal handler."""
        self._stop.set()

    def run(self) -> None:
        """Start every worker, and return when all have ended as asked.

        Raises OperatorError, the first worker's that ended for good, when none is left; and LeftBehind when workers
        are still there 10 seconds after they were asked to end.
        """
        threads = [
            threading.Thread(target=self._keep, args=(worker,), name=worker.name, daemon=True)
            for worker in self._workers
        ]
        for thread in threads:
            self._board.enter(thread.name, thread)
            thread.start()
        self._join(threads)
        if not self._stop.is_set() and self._ends:
            raise self._ends[0]

    def _join(self, threads: Sequence[threading.Thread]) -> None:
        deadline: float | None = None
        while left := [thread for thread in threads if thread.is_alive()]:
            if self._stop.is_set():
                deadline = deadline or self._clock() + GRACE_SECONDS
                if self._clock() > deadline:
                    names = ", ".join(thread.name for thread in left)
                    raise LeftBehind(
                        f"{names} did not end within {GRACE_SECONDS:.0f} seconds and was left behind.",
                        "Nothing is lost: start placemat run again. If it happens again, report it.",
                    )
            left[0].join(0.05)  # short, so that signals are seen on every platform

    def _keep(self, worker: Worker) -> None:
        backoff = Backoff(self._random)
        while not self._stop.is_set():
            self._board.report(worker.name, "starting")
            started = self._clock()
            state: WorkerState = "waiting"
            try:
                worker.run(self._stop, lambda state, detail: self._note(worker, state, detail))
                failure = "it returned without being asked to"
                if self._stop.is_set():
                    break
                log.error("worker returned without being asked to", worker=worker.name)
            except OperatorError as error:
                self._give_up(worker, error)
                return
            except Fenced as error:
                state, failure = "standby", "Another instance has taken over."
                log.warning("worker was replaced by another instance", worker=worker.name, error=str(error))
            except Unavailable as error:
                failure = str(error)
                log.warning("worker waits for what is unavailable", worker=worker.name, error=failure)
            except Exception as error:  # noqa: BLE001 whatever went wrong in a worker, the next start may go right
                failure = type(error).__name__
                log.error("worker failed", worker=worker.name, error=failure, at=_places(error))  # noqa: TRY400 the message may hold row values
            delay = backoff.failed_after(self._clock() - started)
            metrics.WORKER_RESTARTS.labels(worker.name).inc()
            self._board.report(worker.name, state, failure)
            self._wait(self._stop, delay)
        self._board.report(worker.name, "stopped")
        log.info("worker stopped", worker=worker.name)

    def _note(self, worker: Worker, state: WorkerState, detail: str | None) -> None:
        if self._board.report(worker.name, state, detail):
            log.info("worker state changed", worker=worker.name, state=state, detail=detail)

    def _give_up(self, worker: Worker, error: OperatorError) -> None:
        reason = error.reason if isinstance(error, Gap) else None
        log.error("worker needs an operator", worker=worker.name, error=str(error), advice=error.try_, gap=reason)
        if reason is not None:
            metrics.GAP.labels(worker.name, reason).set(1)
        self._ends.append(error)
        self._board.report(worker.name, "failed", f"{error} Try: {error.try_}")


def _places(error: BaseException) -> list[str]:
    """Where an error came from, innermost last, without its message: that may hold values of a row."""
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    return [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
