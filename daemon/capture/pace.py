"""When tables may be copied, and how fast: the window of the day and the rows per second of one source."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from daemon.config.source import Snapshot
from daemon.window import Window


def utc_now() -> datetime:
    return datetime.now(UTC)


class Pace:
    """Shared by all copies of a source. `now` is the wall clock, `clock` counts seconds and never goes back."""

    def __init__(
        self,
        config: Snapshot,
        now: Callable[[], datetime] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._window = Window.parse(config.window) if config.window else None
        self._rate = config.rows_per_second
        self._now = now or utc_now
        self._clock = clock
        self._free_at = 0.0
        self.chunk_rows = min(config.chunk_rows, self._rate) if self._rate else config.chunk_rows

    @property
    def closed(self) -> Window | None:
        """The window, while it is closed."""
        return self._window if self._window is not None and not self._window.is_open(self._now()) else None

    @property
    def free(self) -> bool:
        """The rows that were read so far leave room for another chunk."""
        return self._clock() >= self._free_at

    def spend(self, rows: int) -> None:
        """These rows are about to be read."""
        if self._rate:
            self._free_at = max(self._free_at, self._clock()) + rows / self._rate
