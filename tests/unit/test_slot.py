"""Commits belong to the timeline on which they were made, not to the connection's."""

from __future__ import annotations

import pytest

from daemon.capture.slot import check_history, timeline_of
from daemon.errors import Gap
from schemas.position import START, Position, parse_lsn

HISTORY = "1\t0/3000000\tno recovery target specified\n\n2\t0/5000148\tbefore 2026-01-01\n"


def test_a_commit_belongs_to_the_timeline_that_wrote_it() -> None:
    timeline = timeline_of(3, HISTORY)
    commits = ["0/1", "0/2FFFFFF", "0/3000000", "0/5000147", "0/5000148", "A/0"]
    assert [timeline(parse_lsn(lsn)) for lsn in commits] == [1, 1, 2, 2, 3, 3]


def test_the_first_timeline_has_no_history() -> None:
    assert timeline_of(1, "")(parse_lsn("16/B374D848")) == 1


@pytest.mark.parametrize(
    "published",
    [
        Position(1, parse_lsn("0/2FFFFFF"), 1),
        Position(2, parse_lsn("0/5000147"), 9),
        Position(3, parse_lsn("0/6000000"), 1),
    ],
)
def test_what_was_published_and_the_promoted_server_has_is_no_gap(published: Position) -> None:
    check_history("primary", [START, published], 0, 3, timeline_of(3, HISTORY))


@pytest.mark.parametrize(
    "published",
    [
        Position(1, parse_lsn("0/3000010"), 1),
        Position(2, parse_lsn("0/5000200"), 1),
        Position(4, parse_lsn("0/6000000"), 1),
    ],
)
def test_what_was_published_and_the_promoted_server_lacks_stops_the_source(published: Position) -> None:
    with pytest.raises(Gap, match="which was published") as gap:
        check_history("primary", [published], 0, 3, timeline_of(3, HISTORY))
    assert gap.value.reason == "other_timeline"
