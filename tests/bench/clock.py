"""The moment at which something became true."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event

PAUSE_SECONDS = 0.01
LONGEST_SECONDS = 1_800.0


def when(
    condition: Callable[[], object],
    what: str,
    *,
    alive: Callable[[], None] = lambda: None,
    pause_seconds: float = PAUSE_SECONDS,
    seconds: float = LONGEST_SECONDS,
) -> float:
    """Ask until the answer is true; the moment, in seconds of the monotonic clock.

    `alive` raises when there is nothing to wait for any more. Raises TimeoutError after so many seconds.
    """
    deadline = time.monotonic() + seconds
    pause = Event()
    while not condition():
        alive()
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come within {seconds:g} s")
        pause.wait(pause_seconds)
    return time.monotonic()
