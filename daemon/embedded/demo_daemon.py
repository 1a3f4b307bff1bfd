"""The daemon of a demo: real processes, as in the containers; one of them for each target."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from daemon.embedded.process import Process, spawn
from daemon.errors import OperatorError

STOP_SECONDS = 12.0
WORKERS = ("capture", "apply:empathy_ledger", "apply:primary", "apply:primary_observer", "audit")
NOTION_WORKERS = ("apply:notion", "push:notion", "fetch:notion", "apply:primary_notion")
"""All that has to do with Notion, in one process."""
HELD = ("apply:empathy_ledger", "apply:primary")


class DemoDaemon:
    """Runs while the block runs, and dies with this process at the latest. Logs go to `directory`."""

    def __init__(self, config: Path, directory: Path, *, notion: bool = False) -> None:
        self._commands = [(one,) for one in WORKERS] + ([NOTION_WORKERS] if notion else [])
        self._config = config
        self._directory = directory
        self._processes: dict[str, Process] = {}

    def __enter__(self) -> Self:
        """Raises OperatorError when `placemat init` fails."""
        self.placemat("init")
        for workers in self._commands:
            self._processes[workers[0]] = spawn(
                self._command("run", *workers), log=self._log(workers[0]), account=None, death_signal=signal.SIGTERM
            )
        return self

    def __exit__(self, *_: object) -> None:
        with ThreadPoolExecutor(max_workers=len(self._commands)) as pool:
            for stopped in [
                pool.submit(process.stop, signal.SIGTERM, STOP_SECONDS) for process in self._processes.values()
            ]:
                stopped.result()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nothing is applied in the block: the processes stand still, and go on where they were."""
        held = [self._processes[worker] for worker in HELD]
        for process in held:
            process.pause()
        try:
            yield
        finally:
            for process in held:
                process.resume()

    def placemat(self, *arguments: str) -> str:
        """What the command prints. Raises OperatorError when it fails."""
        done = subprocess.run(self._command(*arguments), capture_output=True, text=True, check=False)
        if done.returncode:
            raise OperatorError(f"placemat {' '.join(arguments)} failed: {_last(done.stderr)}", "Run the demo again.")
        return done.stdout

    def check(self) -> None:
        """Raises OperatorError when a worker has ended."""
        for worker, process in self._processes.items():
            if not process.running():
                log = self._log(worker).read_text(errors="replace")
                raise OperatorError(f"placemat run {worker} ended: {_last(log)}", "Run the demo again.")

    def _log(self, worker: str) -> Path:
        return self._directory / f"{worker.replace(':', '-')}.log"

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "daemon", "--config", str(self._config), *arguments]


def _last(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return " ".join(lines[-2:]) or "it said nothing"
