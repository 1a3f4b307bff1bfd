"""Workers are killed at random and at named seams, under load; the witness counts."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import suppress

import pytest

from tests.crash.kills import APPLY_SEAMS, COPY_SEAMS, STREAM_SEAMS, Kill, NothingInFlight, die_at, draw
from tests.crash.stage import APPLY, CAPTURE, Stage

pytestmark = pytest.mark.crash


def check(found: Stage, kills: Sequence[Kill]) -> None:
    found.settle()
    print(*kills, sep="\n")  # noqa: T201 shown with a failure, and by pytest -s
    assert found.parked() == []
    counted = found.count()
    assert counted.ok, counted
    assert counted.journal_entries > 0


@pytest.mark.timeout(300)
def test_kills_at_every_seam_lose_nothing_and_apply_nothing_twice(crash_stage: Stage) -> None:
    seed = 20261121
    rng = random.Random(seed)
    kills = []
    with crash_stage.load(seed):
        crash_stage.start(APPLY)
        kills += [die_at(crash_stage, CAPTURE, seam, rng.randrange(1, 6)) for seam in COPY_SEAMS]
        for seam in STREAM_SEAMS:
            count = rng.randrange(1, 8) if "confirm" in seam else rng.randrange(20, 300)
            kills.append(die_at(crash_stage, CAPTURE, seam, count))
        crash_stage.start(CAPTURE)
        crash_stage.kill(APPLY)
        kills += [die_at(crash_stage, APPLY, seam, rng.randrange(1, 10)) for seam in APPLY_SEAMS]
        crash_stage.start(APPLY)
    check(crash_stage, kills)


@pytest.mark.long
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("seed", [1, 2])
def test_fifty_kills_lose_nothing_and_apply_nothing_twice(crash_stage: Stage, seed: int) -> None:
    rng = random.Random(seed)
    kills: list[Kill] = []
    with crash_stage.load(seed, rate=600):
        crash_stage.start(APPLY)
        kills += [die_at(crash_stage, CAPTURE, seam, rng.randrange(1, 6)) for seam in COPY_SEAMS]
        crash_stage.start(CAPTURE)
        while len(kills) < 50:
            with suppress(NothingInFlight):
                kills.append(draw(crash_stage, rng))
            crash_stage.start_dead()
    check(crash_stage, kills)
