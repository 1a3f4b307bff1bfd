"""How many requests a target may get in a second. Pure, but for the clock that it is given."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

BURST_SECONDS = 2.0
"""What was not used so long may come at once."""


class Bucket:
    """From any thread."""

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`rate` is in requests per second."""
        self._rate = rate
        self._most = max(1.0, rate * BURST_SECONDS)
        self._clock = clock
        self._lock = threading.Lock()
        self._left = self._most
        self._at = clock()

    def take(self) -> bool:
        """Whether one more may come now."""
        with self._lock:
            now = self._clock()
            self._left = min(self._most, self._left + (now - self._at) * self._rate)
            self._at = now
            if self._left < 1:
                return False
            self._left -= 1
            return True
