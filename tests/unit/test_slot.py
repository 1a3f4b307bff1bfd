"""Commits belong to the timeline on which they were made, not to the connection's."""

from __future__ import annotations

import pytest

from daemon.capture.slot import check_history, timeline_of
from daemon.errors import OperatorError
from daemon.state.capture import Claim
from schemas.position import Position, parse_lsn

HISTORY = "1\t0/3000000\tno recovery target specified\n\n2\t0/5000148\tbefore 2026-01-01\n"


def claim(timeline: int, commit_lsn: str) -> Claim:
    published = Position(timeline, parse_lsn(commit_lsn), 1)
    return Claim(1, "7", timeline, "cluster", 0, {}, {("topic", 0): (9, published)})


def test_a_commit_belongs_to_the_timeline_that_wrote_it() -> None:
    timeline = timeline_of(3, HISTORY)
    commits = ["0/1", "0/2FFFFFF", "0/3000000", "0/5000147", "0/5000148", "A/0"]
    assert [timeline(parse_lsn(lsn)) for lsn in commits] == [1, 1, 2, 2, 3, 3]


def test_the_first_timeline_has_no_history() -> None:
    assert timeline_of(1, "")(parse_lsn("16/B374D848")) == 1


@pytest.mark.parametrize(("timeline", "commit_lsn"), [(1, "0/2FFFFFF"), (2, "0/5000147"), (3, "0/6000000")])
def test_what_was_published_and_the_promoted_server_has_is_no_gap(timeline: int, commit_lsn: str) -> None:
    check_history("primary", claim(timeline, commit_lsn), timeline_of(3, HISTORY))


@pytest.mark.parametrize(("timeline", "commit_lsn"), [(1, "0/3000010"), (2, "0/5000200"), (4, "0/6000000")])
def test_what_was_published_and_the_promoted_server_lacks_stops_the_source(timeline: int, commit_lsn: str) -> None:
    with pytest.raises(OperatorError, match="which was published"):
        check_history("primary", claim(timeline, commit_lsn), timeline_of(3, HISTORY))
