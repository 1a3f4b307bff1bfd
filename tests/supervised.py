"""Workers as `placemat run` has them: under a supervisor, started again after failures, in a thread of the test."""

from __future__ import annotations

import threading
from typing import Self

from daemon.errors import OperatorError
from daemon.observe.board import Board
from daemon.state.workers import WorkerState
from daemon.supervisor import Supervisor, Worker

END_SECONDS = 20.0


class _Told(Board):
    """A board that remembers."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[WorkerState, str | None]] = []

    def report(self, name: str, state: WorkerState, detail: str | None = None) -> bool:
        self.told.append((state, detail))
        return super().report(name, state, detail)


class Supervised:
    """`error` is the sentence that the supervisor ended with; what was told is of all workers."""

    def __init__(self, *workers: Worker) -> None:
        self._board = _Told()
        self._supervisor = Supervisor(workers, self._board)
        self.error: OperatorError | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def state(self) -> WorkerState | None:
        """The latest."""
        return self._board.told[-1][0] if self._board.told else None

    @property
    def running(self) -> bool:
        return self.state == "running" and self._thread.is_alive()

    @property
    def details(self) -> str:
        """All that was said."""
        return "\n".join(detail for _, detail in self._board.told if detail)

    def count(self, state: WorkerState) -> int:
        return [told for told, _ in self._board.told].count(state)

    def stop(self) -> None:
        """Ask them to end, and wait until they have."""
        self._supervisor.stop()
        self.ended()

    def ended(self, seconds: float = END_SECONDS) -> OperatorError | None:
        """Wait for the end; what it ended with."""
        self._thread.join(seconds)
        assert not self._thread.is_alive(), f"they do not end; they said: {self.details}"
        return self.error

    def _run(self) -> None:
        try:
            self._supervisor.run()
        except OperatorError as error:
            self.error = error
