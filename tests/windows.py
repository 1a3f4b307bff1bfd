"""Windows of connections in this process, and a clock that moves only when somebody waits."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

import msgspec

from connectors.http.quota import Window

T = TypeVar("T")


class Windows:
    """A `QuotaStore`. Windows go through JSON, as they do in a database."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self.kept: dict[str, bytes] = {}

    def change(self, connection: str, change: Callable[[Window, float], T]) -> T:
        with self._lock:
            window = self.read(connection)
            found = change(window, self._clock())
            self.kept[connection] = msgspec.json.encode(window)
            return found

    def read(self, connection: str) -> Window:
        return msgspec.json.decode(self.kept.get(connection, b"{}"), type=Window)
