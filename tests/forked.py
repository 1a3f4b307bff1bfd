"""The command as a process of its own, forked from one that has imported it.

To import takes a third of a second of a processor, and tests start the command hundreds of times. What runs is the
same, and dies in the same ways. The verbs' own tests, the soak, and the long tests of kills start it as users do.
"""

from __future__ import annotations

import array
import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parent.parent
_SERVE = "from tests.forked import serve; serve()"
_IMPORTED = (
    "daemon.cli", "daemon.wiring", "daemon.capture.worker", "daemon.apply.worker", "connectors.postgres.sink",
    "daemon.observe.http", "daemon.observe.meter", "daemon.observe.recorder", "daemon.state.engine",
    "daemon.resync.resync", "daemon.recover.replay", "daemon.reconcile.verify",
)  # fmt: skip


class Forked:
    """As much of `subprocess.Popen` as tests ask for."""

    def __init__(self, server: _Server, pid: int) -> None:
        self._server = server
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The status, once it has ended; negative: the signal that ended it."""
        if self.returncode is None:
            self.returncode = self._server.status(self.pid, 0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Raises TimeoutExpired."""
        if self.returncode is None:
            self.returncode = self._server.status(self.pid, timeout)
            if self.returncode is None:
                raise subprocess.TimeoutExpired("placemat", timeout or 0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


class _Server:
    """The process that forks, of this test process; it ends with it."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _SERVE], cwd=REPOSITORY, stdin=theirs.fileno(), start_new_session=True
            )
        self._socket = ours
        self._left = b""
        self._ended: dict[int, int] = {}
        self._lock = threading.Lock()
        atexit.register(self._end)

    def _end(self) -> None:
        """With the test process; whatever still runs is killed."""
        self._socket.close()
        self._process.wait()

    def spawn(self, arguments: Sequence[str], environment: Mapping[str, str], out: int, err: int) -> int:
        request = json.dumps({"arguments": list(arguments), "environment": dict(environment)}).encode()
        with self._lock:
            socket.send_fds(self._socket, [len(request).to_bytes(4, "big") + request], [out, err])
            while (told := self._hear(None)) is None or "pid" not in told:
                pass
            return int(told["pid"])

    def status(self, pid: int, timeout: float | None) -> int | None:
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            with self._lock:
                self._hear(0)
                if pid in self._ended:
                    return self._ended[pid]
                left = None if until is None else until - time.monotonic()
                if left is not None and left <= 0:
                    return None
                self._hear(0.05 if left is None else min(0.05, left))

    def _hear(self, timeout: float | None) -> dict[str, Any] | None:
        """The next thing that it says, if it says something in time; who has ended is kept."""
        while b"\n" not in self._left:
            if timeout is not None and not select.select([self._socket], [], [], timeout)[0]:
                return None
            if not (came := self._socket.recv(65_536)):
                raise AssertionError("the process that forks has ended")
            self._left += came
        line, _, self._left = self._left.partition(b"\n")
        told: dict[str, Any] = json.loads(line)
        if "ended" in told:
            self._ended[told["ended"]] = told["status"]
        return told


_servers: dict[int, _Server] = {}


def spawn(arguments: Sequence[str], environment: Mapping[str, str], out: int, err: int) -> Forked:
    """Run `placemat` with these arguments and this environment, printing into two file descriptors."""
    server = _servers.get(os.getpid()) or _servers.setdefault(os.getpid(), _Server())
    return Forked(server, server.spawn(arguments, environment, out, err))


def serve() -> None:
    """Fork as asked on standard input, a socket, until it is closed. In each child it ends with SystemExit."""
    import gc
    import importlib

    for name in _IMPORTED:
        importlib.import_module(name)
    gc.freeze()
    asked = socket.socket(fileno=os.dup(0))
    children: set[int] = set()
    while True:
        came = select.select([asked], [], [], 0.02 if children else None)[0]
        while children and (found := os.waitpid(-1, os.WNOHANG)) != (0, 0):
            children.discard(found[0])
            told = {"ended": found[0], "status": os.waitstatus_to_exitcode(found[1])}
            asked.sendall(json.dumps(told).encode() + b"\n")
        if not came:
            continue
        request, handles = _receive(asked)
        if request is None:
            break
        if (pid := os.fork()) == 0:
            asked.close()
            _run(request, handles)
        children.add(pid)
        for handle in handles:
            os.close(handle)
        asked.sendall(json.dumps({"pid": pid}).encode() + b"\n")
    for child in children:
        os.kill(child, signal.SIGKILL)


def _receive(asked: socket.socket) -> tuple[dict[str, Any] | None, list[int]]:
    handles = array.array("i")
    content, ancillary, _, _ = asked.recvmsg(65_536, socket.CMSG_SPACE(2 * handles.itemsize))
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            handles.frombytes(data[: len(data) - len(data) % handles.itemsize])
    if not content:
        return None, []
    while len(content) < 4 + int.from_bytes(content[:4], "big"):
        content += asked.recv(65_536)
    return json.loads(content[4:]), list(handles)


def _run(request: dict[str, Any], handles: Sequence[int]) -> None:
    """In the child: become what was asked for."""
    import importlib
    import random

    null = os.open(os.devnull, os.O_RDONLY)
    for handle, place in ((null, 0), (handles[0], 1), (handles[1], 2)):
        os.dup2(handle, place)
    for handle in (null, *handles):
        os.close(handle)
    os.environ.clear()
    os.environ.update(request["environment"])
    random.seed()
    from daemon import cli, seams

    importlib.reload(seams)  # it reads the environment once
    cli.main(request["arguments"])
