"""Seeded kills of the workers, at random and at named seams, each with events in flight, and how long recovery took."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

from daemon import seams
from tests.crash.stage import APPLY, CAPTURE, Stage, Started
from tests.waiting import until

STREAM_SEAMS = (seams.AFTER_PRODUCE, seams.AFTER_ACK, seams.BEFORE_CONFIRM, seams.AFTER_CONFIRM)
COPY_SEAMS = (seams.AFTER_MARK, seams.AFTER_CHUNK_ROWS, seams.BEFORE_PROGRESS)
APPLY_SEAMS = (seams.BEFORE_TARGET_COMMIT, seams.AFTER_TARGET_COMMIT, seams.BEFORE_OFFSET_COMMIT)
AT_RANDOM = "at_random"
DEATH_SECONDS = 120.0
STORED_SEAMS = (seams.AFTER_ANNOUNCEMENT, seams.AFTER_VERSION, seams.AFTER_PROGRESS)
REQUEST_SEAMS = (seams.BEFORE_REQUESTS, seams.BEFORE_ANSWER)
PAUSE_SEAMS = (seams.AFTER_REGROUP, seams.BEFORE_REJOIN, seams.AFTER_REJOIN)
REPLAY_SEAMS = (seams.BEFORE_REPLAY_COMMIT, seams.AFTER_REPLAY_COMMIT)
BEGUN_SEAMS = (seams.AFTER_NEW_SLOT, seams.AFTER_GAP_BEGUN, seams.AFTER_TARGET_SET)
RESYNC_SEAMS = (*BEGUN_SEAMS, seams.AFTER_TABLE_ASKED, seams.BEFORE_GAP_CLOSED)
_COMMITTED = (seams.AFTER_TARGET_COMMIT, seams.BEFORE_OFFSET_COMMIT)


class NothingInFlight(AssertionError):
    """The kill came at a moment when everything had arrived: it proves nothing."""


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill: who, in which phase, how many events were in flight, and seconds until the target moved on."""

    worker: str
    phase: str
    in_flight: int
    recovery_seconds: float | None = None


def die_at(found: Stage, worker: str, seam: str, count: int) -> Kill:
    """Run a worker that is not running until it dies at a seam; it stays dead.

    Raises NothingInFlight when everything had arrived by then.
    """
    process = found.start(worker, seam=f"{seam}:{count}")
    until(lambda: _dead(found, process), DEATH_SECONDS, what=f"{worker} dead at {seam}")
    flying = found.just_committed() if seam in _COMMITTED else found.in_flight()
    found.kill(worker)
    if not flying:
        raise NothingInFlight(f"nothing was in flight at {seam}")
    return Kill(worker, seam, flying)


def kill_in_flight(found: Stage, worker: str, after_seconds: float) -> Kill:
    """Let a worker run for a while, and kill it when something is in flight; it stays dead."""
    process, due = found.processes[worker], time.monotonic() + after_seconds
    until(lambda: time.monotonic() >= due, DEATH_SECONDS, what="the moment of the kill")
    until(lambda: found.in_flight() or _dead(found, process), DEATH_SECONDS, what="events in flight")
    flying = found.in_flight()
    found.kill(worker)
    if not flying:
        raise NothingInFlight("nothing was in flight")
    return Kill(worker, AT_RANDOM, flying)


def _dead(found: Stage, process: Started) -> bool:
    found.check_workers()
    return process.poll() is not None


def draw(found: Stage, rng: random.Random, *, copying: bool = False) -> Kill:
    """Kill a worker drawn by lot, in a phase drawn by lot; `copying` lets it die within a copy too.

    Raises NothingInFlight when the moment was a bad one. The worker stays dead.
    """
    worker = rng.choice((CAPTURE, APPLY))
    if rng.random() < 0.5:
        return kill_in_flight(found, worker, rng.uniform(0, 2))
    found.kill(worker)
    if worker == APPLY:
        return die_at(found, worker, rng.choice(APPLY_SEAMS), rng.randrange(1, 30))
    if copying and rng.random() < 0.4:
        return die_at(found, worker, rng.choice(COPY_SEAMS), rng.randrange(1, 6))
    return die_at(found, worker, rng.choice(STREAM_SEAMS), rng.randrange(1, 30))


def revive(found: Stage) -> float:
    """Start what is dead; seconds until the target has applied what is committed after the start."""
    began = time.monotonic()
    found.start_dead()
    place = found.mark()
    until(lambda: found.applied() >= place, DEATH_SECONDS, what="changes applied after the restart")
    return time.monotonic() - began
