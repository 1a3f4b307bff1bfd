"""Looks, in a thread of its own, at what a loop would not notice by itself or would have to wait for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Self

import structlog

from daemon.errors import OperatorError, Unavailable

JOIN_SECONDS = 1.0
log = structlog.get_logger(__name__)


class Watch:
    """Calls `look` every so many seconds, the first time after that long, until it raises OperatorError.

    That error is kept, and raised by `check` in the thread of the loop. A look that meets something that is
    unavailable is no news: the loop notices that itself.
    """

    def __init__(self, look: Callable[[], None], seconds: float, name: str) -> None:
        self._look = look
        self._seconds = seconds
        self._stop = threading.Event()
        self._found: OperatorError | None = None
        self._thread = threading.Thread(target=self._run, name=f"watch {name}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """A look that waits for an answer is left behind."""
        self._stop.set()
        self._thread.join(JOIN_SECONDS)

    def check(self) -> None:
        """Raises the OperatorError that a look has ended with."""
        if self._found is not None:
            raise self._found

    def _run(self) -> None:
        while not self._stop.wait(self._seconds):
            try:
                self._look()
            except OperatorError as error:
                self._found = error
                return
            except Unavailable:
                continue
            except Exception as error:  # noqa: BLE001 a look that fails must not end the work that it looks after
                log.error("watch failed", watch=self._thread.name, error=type(error).__name__)  # noqa: TRY400 the message may hold a URL
