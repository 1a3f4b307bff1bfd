"""What the embedded servers have in common: a directory, a port, a process, and the verbs on them."""

from __future__ import annotations

import atexit
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from daemon.embedded import directory as directories
from daemon.embedded.ports import remembered_port
from daemon.embedded.process import Account, Process, log_end, spawn
from daemon.errors import OperatorError

START_SECONDS = 90.0
STOP_SECONDS = 10.0


class Server(ABC):
    """A server on a free port of 127.0.0.1. Not for several threads at once.

    `directory` holds its data (`data`), its `log` and its `port`, and survives; without one a temporary directory
    is used and removed by `close`. A server that is not `detached` ends with this process, however that ends.
    """

    name: ClassVar[str]
    stop_signal: ClassVar[signal.Signals]
    death_signal: ClassVar[signal.Signals]

    def __init__(self, directory: Path | None, *, account: Account | None, detached: bool) -> None:
        self._given = directory.absolute() if directory else None
        self._account = account
        self._detached = detached
        self._root: Path | None = None
        self._port = 0
        self._process: Process | None = None

    @abstractmethod
    def _command(self, root: Path) -> Sequence[str | Path]:
        """Make ready what the server needs in its directory; the command that starts it."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether a client gets an answer. Returns within a second or so."""

    @property
    def port(self) -> int:
        """0 before the first start; the same for ever after."""
        return self._port

    @property
    def directory(self) -> Path:
        """Where its files are. Only after the first start."""
        assert self._root is not None, f"{self.name} was never started"
        return self._root

    @property
    def process(self) -> Process | None:
        """The server's first process, or None when it is stopped."""
        return self._process

    def start(self) -> None:
        """Start, on the same data and port as before if there was a before, and wait until it answers.

        Raises OperatorError, with the end of the server's log, when it does not.
        """
        if self._process and self._process.running():
            return
        root = self._make_root()
        command = self._command(root)
        if not self._detached:
            atexit.register(self.close)
        death_signal = None if self._detached else self.death_signal
        self._process = spawn(command, log=root / "log", account=self._account, death_signal=death_signal)
        (root / "pid").write_text(f"{self._process.pid} {self._process.created}\n")  # for `adopt`
        self._wait_until_it_answers(self._process, root / "log")

    def adopt(self) -> bool:
        """Take over the server that another process has started, detached, in the same given directory.

        False when there is none.
        """
        assert self._given is not None, "only a given directory can be looked into"
        try:
            pid, created = (self._given / "pid").read_text().split()
            port = int((self._given / "port").read_text())
        except (FileNotFoundError, ValueError):
            return False
        self._process = Process.find(int(pid), float(created))
        if self._process is None:
            return False
        self._root, self._port = self._given, port
        return True

    def stop(self) -> None:
        """Shut down, ending every session, and keep the data."""
        self._stop(self.stop_signal)

    def kill(self) -> None:
        """SIGKILL to every process of the server, as a power cut would."""
        if self._process:
            self._process.kill()
            self._process = None

    def pause(self) -> None:
        """Freeze every process of the server: connections stay open and nothing answers."""
        if self._process:
            self._process.pause()

    def resume(self) -> None:
        if self._process:
            self._process.resume()

    def close(self) -> None:
        """Stop, and remove the temporary directory."""
        atexit.unregister(self.close)
        # Nobody will read what is removed: no need to let the server write it down first.
        self._stop(self.stop_signal if self._given else self.death_signal)
        if self._root and not self._given:
            directories.remove(self._root)
            self._root = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:  # raised again, once nothing is left behind
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _stop(self, first: signal.Signals) -> None:
        if self._process:
            self._process.stop(first, STOP_SECONDS)
            self._process = None

    def _make_root(self) -> Path:
        if self._root is None:
            if self._given:
                directories.make_given(self._given, self._account)
            self._root = self._given or directories.make_temporary(self.name.lower(), self._account)
        if not self._port:
            self._port = remembered_port(self._root / "port")
        return self._root

    def _wait_until_it_answers(self, process: Process, log: Path) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._answers():
                return
            if process.wait(0.02):
                break
        self.kill()
        raise OperatorError(
            f"{self.name} did not start. Its log ends with: {log_end(log)}",
            f"The whole log is {log}." if self._given else "Look at the free disk space and memory.",
        )
