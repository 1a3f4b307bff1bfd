"""Commits belong to the timeline on which they were made, not to the connection's."""

from __future__ import annotations

from daemon.capture.slot import timeline_of
from schemas.position import parse_lsn

HISTORY = "1\t0/3000000\tno recovery target specified\n\n2\t0/5000148\tbefore 2026-01-01\n"


def test_a_commit_belongs_to_the_timeline_that_wrote_it() -> None:
    timeline = timeline_of(3, HISTORY)
    commits = ["0/1", "0/2FFFFFF", "0/3000000", "0/5000147", "0/5000148", "A/0"]
    assert [timeline(parse_lsn(lsn)) for lsn in commits] == [1, 1, 2, 2, 3, 3]


def test_the_first_timeline_has_no_history() -> None:
    assert timeline_of(1, "")(parse_lsn("16/B374D848")) == 1
