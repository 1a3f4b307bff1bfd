"""Deletes that wait in a target, for the operator's verbs and for those who look; and what is to be put back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from connectors.contract import Place
from connectors.postgres import bookkeeping
from connectors.postgres.bookkeeping import MAIN_LANE
from connectors.postgres.guard import LAST, Excess
from connectors.postgres.holds import Answer, advice, sentence

_PREPARED = "SELECT to_regclass('placemat.rejected') IS NOT NULL"
_HELD = """
SELECT lane, first_timeline, first_lsn::bigint, timeline, commit_lsn::bigint, tables,
       held_at, answer, answered_by, reason
FROM placemat.holds WHERE source = %s ORDER BY lane
"""
_ANSWER = """
UPDATE placemat.holds SET answer = %s, answered_by = %s, reason = %s, answered_at = now()
WHERE source = %s AND lane = %s AND held_at = %s AND answer IS NULL
"""
_REJECTED = """
SELECT table_name, count(*), bool_or(key = '') FROM placemat.rejected WHERE source = %s GROUP BY table_name
ORDER BY table_name
"""


@dataclass(frozen=True, slots=True)
class HeldDeletes:
    """Deletes of one lane that wait, or were answered and are not through yet. `table` is that of a lane of its own.

    The answer is for the commits from `first` through `through`, None where it is for all until the lane ends.
    """

    table: str | None
    first: Place
    through: Place | None
    excesses: tuple[Excess, ...]
    held_at: datetime
    answer: Answer | None
    answered_by: str | None
    reason: str | None

    def sentence(self, target: str) -> str:
        return sentence(target, self.excesses)

    @staticmethod
    def advice(target: str) -> str:
        return advice(target)


@dataclass(frozen=True, slots=True)
class Rejected:
    """Rows of a table whose delete was rejected and that are not back in the source; `emptied`: all that are there."""

    table: str
    keys: int
    emptied: bool


class Answers:
    """One target's held deletes of one source, over an open connection in autocommit mode."""

    def __init__(self, connection: psycopg.Connection[Any], target: str, source: str) -> None:
        self._connection = connection
        self._target = target
        self._source = source

    def held(self) -> list[HeldDeletes]:
        """None where nothing was ever prepared."""
        if not self._prepared():
            return []
        rows = self._connection.execute(_HELD.encode(), [self._source]).fetchall()
        return [
            HeldDeletes(
                None if lane == MAIN_LANE else lane,
                (first_timeline, first),
                None if (timeline, commit_lsn) == LAST else (timeline, commit_lsn),
                tuple(Excess(**{**one, "sample": tuple(one["sample"])}) for one in tables),
                *rest,
            )
            for lane, first_timeline, first, timeline, commit_lsn, tables, *rest in rows
        ]

    def rejected(self) -> list[Rejected]:
        """What is still to be put back, by table."""
        if not self._prepared():
            return []
        return [Rejected(*row) for row in self._connection.execute(_REJECTED, [self._source]).fetchall()]

    def answer(self, held: HeldDeletes, answer: Answer, by: str, reason: str) -> bool:
        """Answer what was shown; False when it is not what waits any more."""
        lane = held.table or MAIN_LANE
        values = [answer, by, reason, self._source, lane, held.held_at]
        with bookkeeping.prepared(self._target):
            return self._connection.execute(_ANSWER, values).rowcount == 1

    def _prepared(self) -> bool:
        row = self._connection.execute(_PREPARED).fetchone()
        return bool(row and row[0])


def to_json(one: Excess) -> Mapping[str, Any]:
    return {
        "table": one.table,
        "deletes": one.deletes,
        "before": one.before,
        "rows": one.rows,
        "share": round(one.share, 4),
        "sample": list(one.sample),
    }
