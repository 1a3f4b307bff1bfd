"""Workers are killed at random and at named seams, under load; the witness counts."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from daemon import seams
from tests.crash.stage import APPLY, CAPTURE, Stage, stage
from tests.waiting import until

pytestmark = pytest.mark.crash

CAPTURE_SEAMS = (
    seams.AFTER_PRODUCE,
    seams.AFTER_ACK,
    seams.BEFORE_CONFIRM,
    seams.AFTER_CONFIRM,
)
COPY_SEAMS = (seams.AFTER_MARK, seams.AFTER_CHUNK_ROWS, seams.BEFORE_PROGRESS)
APPLY_SEAMS = (seams.BEFORE_TARGET_COMMIT, seams.AFTER_TARGET_COMMIT, seams.BEFORE_OFFSET_COMMIT)
DEATH_SECONDS = 30.0


class NothingInFlight(AssertionError):
    """The kill came at a moment when everything had arrived."""


@pytest.fixture
def crash_stage(tmp_path: Path) -> Iterator[Stage]:
    with stage(tmp_path) as found:
        found.init()
        yield found


def die_at(found: Stage, worker: str, seam: str, count: int, seed: int) -> str:
    """Run a worker until it dies at a seam; a line for the report."""
    process = found.start(worker, seam=f"{seam}:{count}")
    until(lambda: process.poll() is not None, DEATH_SECONDS, what=f"{worker} dead at {seam}")
    committed = seam in (seams.AFTER_TARGET_COMMIT, seams.BEFORE_OFFSET_COMMIT)
    flying = found.just_committed() if committed else found.in_flight()
    found.kill(worker)
    if not flying:
        raise NothingInFlight(f"seed {seed}: nothing was in flight at {seam}")
    return f"seed {seed:>10}  {worker:<22} {seam:<22} #{count:<4} in flight {flying}"


def kill_later(found: Stage, worker: str, rng: random.Random, seed: int) -> str:
    """Let a worker run until something is in flight, then kill it."""
    process = found.processes[worker]
    wanted = rng.randrange(1, 40)
    until(lambda: found.in_flight() >= wanted or process.poll() is not None, DEATH_SECONDS, what="events in flight")
    flying = found.in_flight()
    found.kill(worker)
    found.start(worker)
    return f"seed {seed:>10}  {worker:<22} {'at random':<22}       in flight {flying}"


def check(found: Stage, report: list[str]) -> None:
    found.settle()
    counted = found.count()
    print("\n".join(report))  # noqa: T201 shown with a failure, and by pytest -s
    assert found.parked() == []
    assert counted.ok, counted
    assert counted.journal_entries > 0


@pytest.mark.timeout(300)
def test_kills_at_every_seam_lose_nothing_and_apply_nothing_twice(crash_stage: Stage) -> None:
    seed = 20261121
    rng = random.Random(seed)
    report = []
    with crash_stage.load(seed):
        crash_stage.start(APPLY)
        report += [die_at(crash_stage, CAPTURE, seam, rng.randrange(1, 6), seed) for seam in COPY_SEAMS]
        for seam in CAPTURE_SEAMS:
            count = rng.randrange(1, 8) if "confirm" in seam else rng.randrange(20, 300)
            report.append(die_at(crash_stage, CAPTURE, seam, count, seed))
        crash_stage.start(CAPTURE)
        crash_stage.kill(APPLY)
        report += [die_at(crash_stage, APPLY, seam, rng.randrange(1, 10), seed) for seam in APPLY_SEAMS]
        crash_stage.start(APPLY)
    check(crash_stage, report)


@pytest.mark.long
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("seed", [1, 2])
def test_fifty_kills_lose_nothing_and_apply_nothing_twice(crash_stage: Stage, seed: int) -> None:
    rng = random.Random(seed)
    report = []
    with crash_stage.load(seed, rate=600):
        crash_stage.start(APPLY)
        report += [die_at(crash_stage, CAPTURE, seam, rng.randrange(1, 6), seed) for seam in COPY_SEAMS]
        crash_stage.start(CAPTURE)
        while len(report) < 50:
            worker = rng.choice((CAPTURE, APPLY))
            if rng.random() < 0.5:
                report.append(kill_later(crash_stage, worker, rng, seed))
                continue
            crash_stage.kill(worker)
            seam = rng.choice(CAPTURE_SEAMS if worker == CAPTURE else APPLY_SEAMS)
            with suppress(NothingInFlight):  # a kill that proves nothing does not count
                report.append(die_at(crash_stage, worker, seam, rng.randrange(1, 30), seed))
            crash_stage.start(worker)
    check(crash_stage, report)
