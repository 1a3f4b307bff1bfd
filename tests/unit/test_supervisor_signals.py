"""A supervised process and its signals, with workers that end, and that do not."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.command import REPOSITORY

PROGRAM = """
import sys, threading
from daemon import supervisor
from daemon.cli.run import end_on_signals, ending
from daemon.observe.board import Board

supervisor.GRACE_SECONDS = 0.2

class Worker:
    name = "apply:test"
    def run(self, stop, report):
        report("running", None)
        print("running", flush=True)
        stop.wait()
        print("stopping", flush=True)
        if sys.argv[1] == "hangs":
            threading.Event().wait()

if sys.argv[1] == "hangs long":
    supervisor.GRACE_SECONDS = 60
    sys.argv[1] = "hangs"
kept = supervisor.Supervisor([Worker()], Board())
end_on_signals(kept)
with ending():
    kept.run()
print("ended", flush=True)
"""


@pytest.fixture
def process(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    started = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, request.param],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert line(started) == "running"
    yield started
    started.kill()
    started.communicate()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return next(text for text in process.stdout if not text.startswith("20")).strip()


@pytest.mark.parametrize("process", ["ends"], indirect=True)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_asks_for_an_orderly_end(process: subprocess.Popen[str], number: signal.Signals) -> None:
    process.send_signal(number)
    assert (line(process), line(process)) == ("stopping", "ended")
    assert process.wait(10) == 0


@pytest.mark.parametrize("process", ["hangs"], indirect=True)
def test_a_worker_that_does_not_end_is_named_and_left_behind(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=10)
    assert process.returncode == 1
    assert "Error: apply:test did not end within 0 seconds and was left behind.\nTry: " in err


@pytest.mark.parametrize("process", ["hangs long"], indirect=True)
def test_the_second_signal_ends_at_once(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    assert line(process) == "stopping"
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 128 + signal.SIGTERM
