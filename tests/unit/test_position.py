"""Positions sort as bytes as they do as tuples."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.position import Position, era_of, format_lsn, in_era, parse_lsn

positions = st.builds(
    Position,
    timeline=st.integers(0, 2**32 - 1),
    commit_lsn=st.integers(0, 2**64 - 1),
    ordinal=st.integers(0, 2**40 - 1),
)


@given(positions, positions)
def test_positions_sort_as_bytes_as_they_do_as_tuples(one: Position, other: Position) -> None:
    assert (one < other) == (one.to_header() < other.to_header())
    assert Position.from_header(one.to_header()) == one


@given(st.integers(0, 2**64 - 1))
def test_an_lsn_is_read_as_it_is_written(lsn: int) -> None:
    assert parse_lsn(format_lsn(lsn)) == lsn


@pytest.mark.parametrize("text", ["", "16", "16/", "x/1", "1/2/3"])
def test_what_is_no_lsn_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        parse_lsn(text)


def test_positions_of_a_later_era_are_greater_whatever_timeline_and_log_come_after_it() -> None:
    before = Position(in_era(1, 40_000), 2**63, 9)
    after = Position(in_era(2, 1), 1, 1)
    assert before < after
    assert before.to_header() < after.to_header()
    assert (era_of(before.timeline), era_of(after.timeline), era_of(7)) == (1, 2, 0)
