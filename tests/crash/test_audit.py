"""Relay and apply are killed at each of their seams, under load: every event has exactly one entry."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from daemon import seams
from daemon.audit.verify import verify
from daemon.config.load import load
from tests.asking import ask
from tests.crash.kills import APPLY_SEAMS, DEATH_SECONDS, die_at
from tests.crash.stage import APPLY, CAPTURE, Stage
from tests.waiting import until

pytestmark = [pytest.mark.crash, pytest.mark.timeout(300)]

AUDIT = "audit:empathy_ledger"
AUDIT_SEAMS = (seams.BEFORE_AUDIT_COMMIT, seams.AFTER_AUDIT_COMMIT, seams.AFTER_OUTBOX_DELETED)
_TAKEN = "SELECT topic, partition, next_offset FROM placemat.offsets WHERE source = 'primary'"
_ENTRIES = "SELECT topic, partition, \"offset\" FROM placemat.audit_entries WHERE kind = 'event'"


def die_relaying(found: Stage, seam: str, count: int) -> None:
    """Run the relay until it dies at a seam."""
    process = found.start(AUDIT, seam=f"{seam}:{count}")
    until(lambda: process.poll() is not None, DEATH_SECONDS, what=f"the relay dead at {seam}")
    found.kill(AUDIT)


def test_kills_of_relay_and_apply_leave_exactly_one_entry_of_each_event(crash_stage: Stage) -> None:
    rng = random.Random(20261122)
    with crash_stage.load(5):
        crash_stage.start(CAPTURE)
        for seam in APPLY_SEAMS:
            die_at(crash_stage, APPLY, seam, rng.randrange(2, 10))
            die_relaying(crash_stage, rng.choice(AUDIT_SEAMS), 1)
        crash_stage.start(APPLY)
        for seam in AUDIT_SEAMS:
            for count in (1, rng.randrange(2, 5)):
                die_relaying(crash_stage, seam, count)
        crash_stage.start(AUDIT)
    crash_stage.settle()
    until(lambda: not ask(crash_stage.ledger, "SELECT 1 FROM placemat.outbox"), 90, what="the outbox relayed")
    entries = Counter(ask(crash_stage.state, _ENTRIES))
    taken = {(topic, number): after for topic, number, after in ask(crash_stage.ledger, _TAKEN)}
    assert max(entries.values()) == 1
    assert set(entries) == {(*key, offset) for key, after in taken.items() for offset in range(after)}
    assert len(entries) > 1_000
    report = verify(load(crash_stage.config))
    assert report.clean, report.render()
