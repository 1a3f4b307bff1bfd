"""The supervisor, with a clock, a chance and a wait of the test's own: nothing here waits."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from prometheus_client import REGISTRY

from daemon import supervisor as module
from daemon.errors import Fenced, Gap, OperatorError, Unavailable
from daemon.observe.board import HUNG_AFTER_SECONDS, Board
from daemon.supervisor import Backoff, Report, Supervisor

DEADLINE_SECONDS = 10.0


class Script:
    """A worker that does at its n-th start what the n-th action says; after the last it waits for its end."""

    def __init__(self, name: str, *actions: Exception | Callable[[], None]) -> None:
        self.name = name
        self._actions = list(actions)
        self.starts = 0
        self.settled = threading.Event()

    def run(self, stop: threading.Event, report: Report) -> None:
        self.starts += 1
        if not self._actions:
            report("running", None)
            self.settled.set()
            stop.wait()
            return
        action = self._actions.pop(0)
        if isinstance(action, Exception):
            raise action
        action()


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Supervised:
    """A supervisor in a thread of its own, and what it waited."""

    def __init__(self, *workers: Script, clock: Callable[[], float] | None = None) -> None:
        self.delays: list[float] = []
        self.error: OperatorError | None = None
        self.board = Board()
        self._supervisor = Supervisor(
            workers, self.board, clock=clock or Clock(), random_=lambda: 1.0, wait=self._note_delay
        )
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _note_delay(self, stop: threading.Event, seconds: float) -> bool:
        self.delays.append(seconds)
        return stop.is_set()

    def _run(self) -> None:
        try:
            self._supervisor.run()
        except OperatorError as error:
            self.error = error

    def join(self) -> None:
        self._thread.join(DEADLINE_SECONDS)
        assert not self._thread.is_alive()

    def stop(self) -> None:
        self._supervisor.stop()
        self.join()


def test_delays_double_up_to_thirty_seconds_and_lie_below_their_bound() -> None:
    longest, shortest = Backoff(lambda: 1.0), Backoff(lambda: 0.0)
    assert [longest.failed_after(0) for _ in range(9)] == [0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0]
    assert [shortest.failed_after(0) for _ in range(9)] == [0.2] * 9


def test_a_run_of_thirty_seconds_begins_the_count_anew() -> None:
    backoff = Backoff(lambda: 1.0)
    for _ in range(6):
        backoff.failed_after(1)
    assert backoff.failed_after(30) == 0.4


def test_a_worker_is_started_again_after_any_failure() -> None:
    worker = Script("capture:primary", Unavailable("kafka is away"), ValueError("private"), KeyError("private"))
    supervised = Supervised(worker)
    assert worker.settled.wait(DEADLINE_SECONDS)
    assert worker.starts == 4
    assert supervised.delays == [0.4, 0.8, 1.6]
    assert supervised.board.ready()
    supervised.stop()
    assert supervised.error is None
    assert supervised.board.standings()["capture:primary"].state == "stopped"


def test_a_worker_that_returns_unasked_is_started_again() -> None:
    worker = Script("capture:primary", lambda: None)
    supervised = Supervised(worker)
    assert worker.settled.wait(DEADLINE_SECONDS)
    assert worker.starts == 2
    supervised.stop()


def test_an_operator_error_ends_its_worker_and_no_other() -> None:
    broken = Script("apply:notion", OperatorError("The door is locked.", "Unlock it."))
    healthy = Script("capture:primary")
    supervised = Supervised(broken, healthy)
    assert healthy.settled.wait(DEADLINE_SECONDS)
    wait_for(lambda: supervised.board.standings()["apply:notion"].state == "failed")
    assert supervised.board.standings()["apply:notion"].detail == "The door is locked. Try: Unlock it."
    assert not supervised.board.ready()
    assert supervised.board.ailing() == []
    supervised.stop()
    assert broken.starts == 1
    assert supervised.error is None


def test_the_last_worker_that_ends_for_good_ends_the_process_with_its_sentence() -> None:
    supervised = Supervised(
        Script("apply:notion", OperatorError("The door is locked.", "Unlock it.", exit_code=2)),
    )
    supervised.join()
    assert (str(supervised.error), supervised.error and supervised.error.exit_code) == ("The door is locked.", 2)


def test_a_replaced_worker_stands_by() -> None:
    worker = Script("capture:primary", Fenced("epoch 3"))
    supervised = Supervised(worker)
    assert worker.settled.wait(DEADLINE_SECONDS)
    assert (worker.starts, supervised.delays) == (2, [0.4])
    supervised.stop()
    assert supervised.error is None


def test_a_gap_has_a_metric_while_the_other_workers_go_on() -> None:
    lost = Script("capture:lost", Gap("The slot is missing.", "slot_missing"))
    healthy = Script("apply:healthy")
    supervised = Supervised(lost, healthy)
    assert healthy.settled.wait(DEADLINE_SECONDS)
    labels = {"worker": "capture:lost", "reason": "slot_missing"}
    wait_for(lambda: REGISTRY.get_sample_value("placemat_gap", labels) == 1)
    wait_for(lambda: supervised.board.standings()["capture:lost"].state == "failed")
    assert supervised.board.standings()["apply:healthy"].state == "running"
    supervised.stop()
    assert (lost.starts, supervised.error) == (1, None)


def test_a_gap_of_the_only_worker_ends_the_process_with_its_sentence() -> None:
    supervised = Supervised(Script("capture:alone", Gap("The slot is missing.", "slot_missing")))
    supervised.join()
    assert (str(supervised.error), supervised.error and supervised.error.exit_code) == ("The slot is missing.", 1)


def test_a_worker_that_does_not_end_is_named_after_ten_seconds() -> None:
    clock, release = Clock(), threading.Event()
    entered = threading.Event()

    def hang() -> None:
        entered.set()
        release.wait()

    supervised = Supervised(Script("apply:slow", hang), clock=clock)
    assert entered.wait(DEADLINE_SECONDS)
    supervised._supervisor.stop()
    ticking = threading.Event()
    while not ticking.wait(0.01) and supervised._thread.is_alive():
        clock.now += 1
    assert str(supervised.error).startswith("apply:slow did not end within 10 seconds")
    release.set()


def test_logs_name_the_class_and_the_place_of_a_failure_but_not_its_message() -> None:
    with pytest.raises(ValueError, match="exists") as failure:
        raise ValueError("Key (email)=(ruth@example.org) already exists")
    places = module._places(failure.value)
    assert any("test_supervisor.py" in place for place in places)
    assert "ruth" not in "".join(places)


def test_a_dead_thread_and_a_silent_one_are_not_healthy() -> None:
    clock = Clock()
    board = Board(clock)
    dead = threading.Thread(target=lambda: None)
    board.enter("apply:dead", dead)
    board.enter("apply:silent", None)
    dead.start()
    dead.join()
    board.report("apply:silent", "running")
    assert board.ailing() == ["apply:dead"]
    clock.now = HUNG_AFTER_SECONDS + 1
    assert board.ailing() == ["apply:dead", "apply:silent"]
    board.report("apply:silent", "running")
    board.report("apply:dead", "failed", "It said why.")
    assert board.ailing() == []


def test_a_worker_that_starts_again_has_a_new_start() -> None:
    board = Board()
    board.enter("apply:target", None)
    first = board.standings()["apply:target"].started_at
    wait_for(lambda: datetime.now(UTC) > first)
    board.report("apply:target", "waiting", "the target does not answer")
    assert board.standings()["apply:target"].started_at == first
    board.report("apply:target", "starting")
    assert board.standings()["apply:target"].started_at > first


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait for what another thread is about to do."""
    tick, passed = threading.Event(), 0.0
    while not condition():
        assert passed < DEADLINE_SECONDS
        tick.wait(0.01)
        passed += 0.01
