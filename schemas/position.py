"""Where an event stands in its source's stream of commits.

The order of positions is the order of commits, and of changes within a commit. A change's own LSN never
serves as one: the rows of a single COPY share it.
"""

from __future__ import annotations

from typing import NamedTuple, NewType

Lsn = NewType("Lsn", int)
"""A place in the write-ahead log, in bytes from its beginning."""


def parse_lsn(text: str) -> Lsn:
    """Read PostgreSQL's form, such as `16/B374D848`.

    Raises ValueError when it is not one.
    """
    high, slash, low = text.partition("/")
    if not slash:
        raise ValueError(f"{text!r} is not an LSN such as 16/B374D848")
    return Lsn((int(high, 16) << 32) | int(low, 16))


def format_lsn(lsn: int) -> str:
    """Write PostgreSQL's form, such as `16/B374D848`."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


class Position(NamedTuple):
    """Timeline of the commit, LSN of the commit record, and place among all changes of the transaction (from 1)."""

    timeline: int
    commit_lsn: int
    ordinal: int

    def to_header(self) -> bytes:
        """Fixed width, so that bytes compare as positions do."""
        return b"%08X-%016X-%010X" % self

    @classmethod
    def from_header(cls, header: bytes) -> Position:
        """Read what `to_header` wrote.

        Raises ValueError when the bytes are not a position.
        """
        timeline, commit_lsn, ordinal = header.split(b"-")
        return cls(int(timeline, 16), int(commit_lsn, 16), int(ordinal, 16))

    def __str__(self) -> str:
        return f"{self.timeline}:{format_lsn(self.commit_lsn)}:{self.ordinal}"


START = Position(0, 0, 0)
"""Before every event."""


ERA_BITS = 16
"""Bits of a position's timeline that PostgreSQL's own timeline has; above them stands the era."""


def in_era(era: int, timeline: int) -> int:
    """The timeline of positions in an era: greater than every one of the eras before it."""
    return era << ERA_BITS | timeline


def era_of(timeline: int) -> int:
    """The era of a position's timeline; 0 before the first gap."""
    return timeline >> ERA_BITS
