"""When a change was made, as far as that is known."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Interval:
    """Between two moments, both included, in microseconds since 1970. A commit's time has one moment."""

    lo: int
    hi: int

    def after(self, other: Interval, skew: int) -> bool:
        """Whether this was surely later than the other, on clocks that differ by no more than `skew` microseconds.

        Step "inbound 5": overlapping, or within the skew, is a tie, and a tie is never later.
        """
        return self.lo > other.hi + skew

    def or_later(self, other: Interval) -> Interval:
        """The later end of both on either side: the time of a field only grows (steps "observer", "inbound 4")."""
        return Interval(max(self.lo, other.lo), max(self.hi, other.hi))


_NEVER = -(1 << 62)
UNKNOWN = Interval(_NEVER, _NEVER)
"""A time that nobody has told: it never beats a known one, and every known one beats it."""


def at(moment: int) -> Interval:
    """A commit's time, in microseconds."""
    return Interval(moment, moment)
