"""How many rows a target may lose without being asked. Pure: what is deleted is counted here, and judged by numbers.

A writer counts what a transaction has deleted before it is committed; nothing of that is visible to anybody yet. Where
it is too much, the transaction is rolled back, and the commits from the first one that passes the limit wait.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from connectors.contract import DeleteLimit, Place
from schemas.position import START, Position

SAMPLE = 5
"""Keys that are shown of a table."""
BEFORE_ALL: Place = (0, 0)
LAST: Place = (2**31 - 1, 2**63 - 1)
"""Behind every commit."""

CountRows = Callable[[str, int], int]
"""How many rows a table has now, without those that are deleted already; more than so many need not be counted."""


@dataclass(frozen=True, slots=True)
class Excess:
    """What one table would lose: rows by this transaction, those of the hours `before` it, and how many rows it had."""

    table: str
    deletes: int
    before: int
    rows: int
    sample: tuple[str, ...]

    @property
    def share(self) -> float:
        return (self.deletes + self.before) / self.rows


class Guard:
    """One per session; what it has counted is that of the open transaction.

    `rejecting` is set while the commits are written of which an operator wants no delete: `first` through `through`.
    """

    def __init__(self) -> None:
        self.rejecting: tuple[Place, Place] | None = None
        self.deletes: Counter[str] = Counter()
        """Rows by table."""
        self._places: dict[str, Counter[Place]] = {}
        self._samples: dict[str, list[str]] = {}

    def count(self, table: str, rows: int, deleted: Iterable[tuple[bytes, Position]], begun: Place) -> None:
        """Rows have left a table, by these deletes: key and position. Keys without a row count for nothing.

        What has no position of its own, as a parent's change has led to it, counts as of `begun`: the transaction's
        first commit.
        """
        found = list(deleted)
        if not rows or not found:
            return
        places = self._places.setdefault(table, Counter())
        places.update(_place(position) if position != START else begun for _, position in found)
        sample = self._samples.setdefault(table, [])
        sample += [key.decode() for key, _ in found[: SAMPLE - len(sample)]]
        self.deletes[table] += min(rows, len(found))

    def reach(self, table: str, through: Place) -> None:
        """Which commits through this one have led to what was counted of a table, nobody can tell."""
        self._places[table][through] += 0

    def count_all(self, table: str, rows: int, position: Position) -> None:
        """A table was emptied."""
        if not rows:
            return
        self._places.setdefault(table, Counter())[_place(position)] += rows
        self.deletes[table] += rows

    def forget(self) -> None:
        """The transaction is over, in whatever way."""
        self.deletes.clear()
        self._places.clear()
        self._samples.clear()

    def rejected(self, position: Position) -> bool:
        """Whether a delete at this position, or one that a parent's change has led to, is to be left out."""
        if self.rejecting is None:
            return False
        first, through = self.rejecting
        return position == START or first <= _place(position) <= through

    def excesses(self, limit: DeleteLimit, before: Mapping[str, int], rows: CountRows) -> list[Excess]:
        """Tables that would lose too much, with what they have lost in the hours before."""
        found = []
        for table, deletes in self.deletes.items():
            lost = before.get(table, 0)
            total = deletes + lost
            if total >= limit.least:
                enough = math.ceil(total / limit.share - total)
                now = rows(table, enough)
                if now < enough:
                    found.append(Excess(table, deletes, lost, now + total, tuple(self._samples.get(table, ()))))
        return found

    def span(self, limit: DeleteLimit, excesses: Iterable[Excess]) -> tuple[Place, Place]:
        """The commits that wait: from the first that passes the limit through the last that deletes from its table."""
        firsts, lasts = [], []
        for one in excesses:
            places = sorted(self._places[one.table].items())
            lost = one.before
            for place, many in places:
                lost += many
                if lost >= limit.least and lost > limit.share * one.rows:
                    firsts.append(place)
                    break
            lasts.append(places[-1][0])
        return min(firsts), max(lasts)


def _place(position: Position) -> Place:
    return position.timeline, position.commit_lsn
