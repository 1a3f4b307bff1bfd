"""One server and its children as operating-system processes: start, signal, freeze, kill, wait."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from daemon.errors import OperatorError

LAUNCH = Path(__file__).with_name("launch.py")
ADOPTION_TOLERANCE_SECONDS = 2.0
LOG_LINES = 5
FREEZE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Account:
    """An operating-system user that a server runs as."""

    name: str
    uid: int
    gid: int


class Process:
    """A running server. `created` (seconds since 1970) tells it from a later process with its pid."""

    def __init__(self, process: psutil.Process) -> None:
        self._process = process
        self.pid: int = process.pid
        self.created: float = process.create_time()

    @classmethod
    def current(cls) -> Process:
        return cls(psutil.Process())

    @classmethod
    def find(cls, pid: int, created: float) -> Process | None:
        """The process that another run of ours has started, or None when it is gone."""
        try:
            found = cls(psutil.Process(pid))
        except psutil.Error:
            return None
        same = abs(found.created - created) < ADOPTION_TOLERANCE_SECONDS
        return found if same and found.running() else None

    def running(self) -> bool:
        return bool(self._process.is_running()) and not _zombie(self._process)

    def wait(self, seconds: float) -> bool:
        """Wait for the end; False when it still runs after so many seconds."""
        return _wait(self._process, seconds)

    def stop(self, first: signal.Signals, seconds: float) -> None:
        """Send a signal, wait, and kill whatever is still there after so many seconds."""
        self.resume()
        _send(self._process, first)
        if not self.wait(seconds):
            self.kill()

    def kill(self) -> None:
        """SIGKILL to the server and all its children, none of which can answer or be replaced meanwhile."""
        tree = self._stopped_tree()
        for member in tree:
            _send(member, signal.SIGKILL)
        for member in tree:
            _wait(member, 10.0)

    def pause(self) -> None:
        """SIGSTOP, and wait until no thread runs: a signal is taken when its process is given the processor.

        Raises OperatorError when a thread still runs after 5 seconds.
        """
        for member in self._stopped_tree():
            until = time.monotonic() + FREEZE_SECONDS
            while _runs(member):
                if time.monotonic() > until:
                    raise OperatorError(
                        f"Process {member.pid} still runs {FREEZE_SECONDS:.0f} seconds after it was told to freeze.",
                        "See what it waits for (ps shows it in state D): nothing can be said of a server half frozen.",
                    )
                time.sleep(0.001)

    def resume(self) -> None:
        for member in self._tree():
            _send(member, signal.SIGCONT)

    def _stopped_tree(self) -> list[psutil.Process]:
        _send(self._process, signal.SIGSTOP)
        tree = self._tree()
        for member in tree:
            _send(member, signal.SIGSTOP)
        return tree

    def _tree(self) -> list[psutil.Process]:
        try:
            return [self._process, *self._process.children(recursive=True)]
        except psutil.NoSuchProcess:
            return [self._process]


def _runs(process: psutil.Process) -> bool:
    """Whether any of its threads is not stopped; where threads cannot be told apart, whether the process is not."""
    tasks = Path("/proc") / str(process.pid) / "task"
    try:
        if not tasks.is_dir():
            return bool(process.is_running() and process.status() != psutil.STATUS_STOPPED)
        return any(_state(task) not in "TtZX" for task in tasks.iterdir())
    except psutil.NoSuchProcess:
        return False


def _state(task: Path) -> str:
    """One letter, as proc(5) has them; a thread that has ended is none."""
    try:
        return (task / "stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return "X"


def spawn(
    command: Sequence[str | Path], *, log: Path, account: Account | None, death_signal: signal.Signals | None
) -> Process:
    """Start a server in a session of its own, so that a terminal's Ctrl-C reaches us and not it.

    Standard output and error are appended to `log`. With a death signal the server gets it when this process
    ends in whatever way (Linux only); with None it outlives this process.
    """
    uid, gid = (account.uid, account.gid) if account else (-1, -1)
    arguments = [os.getpid(), int(death_signal or 0), uid, gid, *command]
    launch = [sys.executable, "-I", "-S", LAUNCH, *arguments]

    def start() -> psutil.Process:
        with log.open("ab") as output:
            started = (psutil.Popen if death_signal else subprocess.Popen)(
                [str(part) for part in launch],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=_environment(),
                cwd="/",
            )
        return started if death_signal else _disowned(started)

    return Process(_spawner().run(start))


def _environment() -> dict[str, str]:
    """Ours without what would steer a server: PGDATA, PGOPTIONS, JAVA_TOOL_OPTIONS and their like."""
    steering = ("PG", "JAVA", "JDK_JAVA", "_JAVA", "CLASSPATH", "KAFKA", "LC_", "LANG")
    return {name: value for name, value in os.environ.items() if not name.startswith(steering)} | {"LC_ALL": "C"}


def _disowned(started: subprocess.Popen[bytes]) -> psutil.Process:
    """The same without the handle, whose end would complain that the process still runs."""
    started.returncode = 0
    return psutil.Process(started.pid)


class _Spawner:
    """Starts processes from one thread that lives as long as this process.

    The death signal is sent when the *thread* ends that started the server, so no thread of a caller will do.
    """

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._work: queue.SimpleQueue[tuple[Callable[[], psutil.Process], Future[psutil.Process]]] = queue.SimpleQueue()
        threading.Thread(target=self._serve, name="server-spawner", daemon=True).start()

    def run(self, start: Callable[[], psutil.Process]) -> psutil.Process:
        started: Future[psutil.Process] = Future()
        self._work.put((start, started))
        return started.result()

    def _serve(self) -> None:
        while True:
            start, started = self._work.get()
            try:
                started.set_result(start())
            except BaseException as error:  # noqa: BLE001 - handed to the caller, who waits for it
                started.set_exception(error)


_lock = threading.Lock()
_the_spawner: _Spawner | None = None


def _spawner() -> _Spawner:
    """This process's own: a fork has none of its parent's threads."""
    global _the_spawner
    with _lock:
        if _the_spawner is None or _the_spawner.pid != os.getpid():
            _the_spawner = _Spawner()
        return _the_spawner


def _send(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def _wait(process: psutil.Process, seconds: float) -> bool:
    """False when the process still runs after so many seconds. A child of ours is reaped."""
    deadline = time.monotonic() + seconds
    while True:
        # A dead orphan stays a zombie where nobody reaps it, as in a container without an init.
        if not isinstance(process, psutil.Popen) and _zombie(process):
            return True
        try:
            process.wait(0.02)
        except psutil.TimeoutExpired:
            if time.monotonic() > deadline:
                return False
        else:
            return True


def _zombie(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def log_end(log: Path) -> str:
    """The last lines of a server's log, for the sentence that says why it did not start."""
    return " | ".join(reasons(log.read_text(errors="replace"))[-LOG_LINES:])


def reasons(output: str) -> list[str]:
    """What a program has printed, without the frames of Java's stack traces; never empty."""
    lines = [line.strip() for line in output.splitlines() if line.strip() and not line.startswith("\tat ")]
    return lines or ["(nothing)"]
