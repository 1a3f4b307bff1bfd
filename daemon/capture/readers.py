"""Threads that read chunks, so that the stream never waits for a SELECT; a connection each while there is work."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from daemon.capture.reader import Reader


class Readers:
    """`submit`, `rest` and `close` belong to one thread."""

    def __init__(self, connect: Callable[[], Reader], threads: int) -> None:
        self._connect = connect
        self._threads = ThreadPoolExecutor(threads, "placemat-copy")
        self._free: list[Reader] = []
        self._all: list[Reader] = []
        self._closing = False

    def submit(self, read: Callable[[Reader], None]) -> Future[None]:
        return self._threads.submit(self._run, read)

    def rest(self) -> None:
        """Nothing is being read, and nothing is to be read for now: keep no connection."""
        while self._free:
            reader = self._free.pop()
            self._all.remove(reader)
            reader.close()

    def close(self) -> None:
        """End what is being read, and every connection."""
        self._closing = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        for reader in self._all:
            reader.cancel()
            reader.hang_up()  # a server that is frozen hears no cancel
        self._threads.shutdown(wait=True)
        for reader in self._all:
            reader.close()

    def _run(self, read: Callable[[Reader], None]) -> None:
        try:
            reader = self._free.pop()
        except IndexError:
            reader = self._connect()
            self._all.append(reader)
        try:
            if not self._closing:
                read(reader)
        finally:
            self._free.append(reader)
