"""Tells the state database what this process's workers do, so that `placemat status` can say it."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Sequence
from typing import Self

import sqlalchemy
import structlog
from sqlalchemy.exc import SQLAlchemyError

from daemon.observe.board import Board
from daemon.state import workers

BEAT_SECONDS = 5.0
log = structlog.get_logger(__name__)


class Recorder:
    """Writes the board at every change and every 5 seconds; a state database that is down costs only this."""

    def __init__(self, engine: sqlalchemy.Engine, board: Board, names: Sequence[str]) -> None:
        """`names` are those of the workers that will be on the board."""
        self._engine = engine
        self._names = list(names)
        self._board = board
        self._instance = f"{socket.gethostname()}:{os.getpid()}"
        self._stop = threading.Event()
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Write the last states, and end."""
        self._stop.set()
        self._board.changed.set()
        self._thread.join()
        self._write()

    def _run(self) -> None:
        forgotten = False
        while not self._stop.is_set():
            self._board.changed.clear()
            if not forgotten:
                forgotten = self._attempt_forget()
            self._write()
            self._board.changed.wait(BEAT_SECONDS)

    def _attempt_forget(self) -> bool:
        try:
            workers.forget_gone(self._engine, self._names)
        except SQLAlchemyError:
            return False
        return True

    def _write(self) -> None:
        standings = self._board.standings().items()
        told = {name: workers.Told(one.state, one.detail, one.started_at) for name, one in standings}
        try:
            workers.tell(self._engine, self._instance, told)
            self._failing = False
        except SQLAlchemyError as error:
            if not self._failing:
                log.warning("worker states cannot be written", error=type(error).__name__)
            self._failing = True
