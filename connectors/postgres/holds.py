"""What the worker keeps in the target of deletes: counts of the last hours, holds, and what was rejected.

`guard.py` judges; here is what it judges by, and what comes of it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any, Literal

import psycopg
from psycopg.types.json import Jsonb

from connectors.contract import Destination, Held, Hold, Place, Progress, TableLane
from connectors.postgres.bookkeeping import MAIN_LANE
from connectors.postgres.guard import LAST, Excess, Guard
from connectors.postgres.mirror.naming import Named
from connectors.postgres.statements import Catalogue

KNOWN_SECONDS = 60.0
"""How long it is taken for known that a table has so many rows at least."""
Answer = Literal["confirmed", "rejected"]


class Exceeded(Held):
    """What a lane's transaction would delete beside what it may: nothing of it is stored yet."""

    def __init__(self, lane: str, first: Place, through: Place, excesses: Sequence[Excess]) -> None:
        super().__init__(", ".join(one.table for one in excesses))
        self.lane = lane
        self.first = first
        self.through = through
        self.excesses = excesses


_READ = """
SELECT lane, first_timeline, first_lsn::bigint, timeline, commit_lsn::bigint, tables, answer
FROM placemat.holds WHERE source = %s
"""
_STORE = """
INSERT INTO placemat.holds (source, lane, first_timeline, first_lsn, timeline, commit_lsn, tables)
VALUES (%s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (source, lane) DO UPDATE SET first_timeline = EXCLUDED.first_timeline, first_lsn = EXCLUDED.first_lsn,
    timeline = EXCLUDED.timeline, commit_lsn = EXCLUDED.commit_lsn, tables = EXCLUDED.tables, held_at = now(),
    answer = NULL, answered_by = NULL, reason = NULL, answered_at = NULL
"""
_FORGET = "DELETE FROM placemat.holds WHERE source = %s AND lane = ANY (%s)"
_ANSWERED = "SELECT EXISTS (SELECT FROM placemat.holds WHERE source = %s AND lane = ANY (%s) AND answer IS NOT NULL)"
_REMEMBER = """
WITH old AS (
    DELETE FROM placemat.deletes
    WHERE source = %(source)s AND minute < date_trunc('minute', now() - %(hours)s * interval '1 h')
), counted AS (
    INSERT INTO placemat.deletes (source, table_name, minute, deleted)
    SELECT %(source)s, name, date_trunc('minute', now()), many
    FROM unnest(%(tables)s::text[], %(counts)s::bigint[]) AS counted (name, many)
    ON CONFLICT (source, table_name, minute) DO UPDATE SET deleted = deletes.deleted + EXCLUDED.deleted
)
SELECT table_name, sum(deleted)::bigint FROM placemat.deletes
WHERE source = %(source)s AND table_name = ANY (%(tables)s)
  AND minute >= date_trunc('minute', now() - %(hours)s * interval '1 h') GROUP BY table_name
"""
_SETTLE = "DELETE FROM placemat.deletes WHERE source = %s AND table_name = ANY (%s)"
_REJECT = """
INSERT INTO placemat.rejected (source, table_name, key) SELECT %s, * FROM unnest(%s::text[], %s::text[])
ON CONFLICT DO NOTHING
"""
_REJECTED = """
SELECT table_name, key FROM placemat.rejected
WHERE source = %s AND (table_name, key) IN (SELECT * FROM unnest(%s::text[], %s::text[]))
"""


class Holds:
    """One per session, over its connection. Every method but `hold`, `begin` and `forget` needs an open transaction."""

    def __init__(self, connection: psycopg.Connection[Any], destination: Destination, catalogue: Catalogue) -> None:
        self._connection = connection
        self._destination = destination
        self._source = destination.source
        self._catalogue = catalogue
        self._holds: dict[str, Hold] = {}
        self._answers: dict[str, Answer] = {}
        self._tables: dict[str, list[str]] = {}
        self._lane = MAIN_LANE
        self._begun: Place | None = None
        self._through: Place = (0, 0)
        self._known: dict[str, tuple[int, float]] = {}
        self.named = Named(connection, destination.mirrored)
        self.guard = Guard()

    def load(self, main: Progress, tables: Sequence[TableLane]) -> None:
        """Those of lanes that there are and whose commits are not applied; without a limit nothing waits."""
        places = {MAIN_LANE: main.place} | {lane.table: lane.progress.place for lane in tables}
        stale = []
        for lane, *place, found, answer in self._connection.execute(_READ, [self._source]).fetchall():
            first, through = (place[0], place[1]), (place[2], place[3])
            unasked = answer is None and self._destination.delete_limit is None
            if lane not in places or places[lane] >= through or unasked:
                stale.append(lane)
                continue
            excesses = [Excess(**one) for one in found]
            self._holds[lane] = self._hold(first, through, excesses, answered=answer is not None)
            self._tables[lane] = [one.table for one in excesses]
            if answer is not None:
                self._answers[lane] = answer
        if stale:
            self._connection.execute(_FORGET, [self._source, stale])

    def hold(self, table: str | None) -> Hold | None:
        return self._holds.get(table or MAIN_LANE)

    def answered(self) -> bool:
        """Whether an operator has answered one that was open at the claim."""
        waiting = [lane for lane in self._holds if lane not in self._answers]
        row = self._connection.execute(_ANSWERED, [self._source, waiting]).fetchone() if waiting else None
        return bool(row and row[0])

    def begin(self, table: str | None, place: Place) -> None:
        """A lane writes, and `place` is the next commit of it; what the transaction has begun with stays its first."""
        self._through = place
        if self._begun is None:
            self._begun = place
            self._lane = table or MAIN_LANE
            hold = self._holds.get(self._lane)
            rejected = hold is not None and self._answers.get(self._lane) == "rejected"
            self.guard.rejecting = (hold.first, hold.through) if hold is not None and rejected else None

    @property
    def counts(self) -> bool:
        """Whether anything is asked about at all."""
        return self._destination.delete_limit is not None

    @property
    def begun(self) -> Place:
        """The first commit of the open transaction."""
        return self._begun or (0, 0)

    def reject(self, keys: Iterable[tuple[str, bytes]]) -> None:
        """Remember rows whose delete was left out, until they are back in the source."""
        tables, texts = zip(*keys, strict=True)
        self._connection.execute(_REJECT, [self._source, list(tables), [key.decode() for key in texts]])

    def rejected(self, keys: Iterable[tuple[str, bytes]]) -> set[tuple[str, bytes]]:
        """Those of which the delete was rejected, and which are not back in the source yet."""
        tables, texts = zip(*keys, strict=True)
        rows = self._connection.execute(_REJECTED, [self._source, list(tables), [key.decode() for key in texts]])
        return {(table, key.encode()) for table, key in rows}

    def check(self) -> None:
        """Count what the open transaction has deleted. Raises Exceeded when it is too much and was not answered for."""
        limit, guard = self._destination.delete_limit, self.guard
        self.named.count(guard, self.begun, self._through)
        if limit is None or not guard.deletes or self._lane in self._answers:
            return
        tables, counts = zip(*guard.deletes.items(), strict=True)
        values = {"source": self._source, "hours": limit.hours, "tables": list(tables), "counts": list(counts)}
        before = dict(self._connection.execute(_REMEMBER.encode(), values).fetchall())
        if excesses := guard.excesses(limit, before, self._count):
            first, through = guard.span(limit, excesses)
            raise Exceeded(self._lane, first, through, excesses)

    def store(self, found: Exceeded, *, for_good: bool = False) -> None:
        """Keep a hold. `for_good`: until the lane ends, as what it would delete is of no commit of its own."""
        through = LAST if for_good else found.through
        tables = Jsonb([asdict(one) for one in found.excesses])
        self._connection.execute(_STORE, [self._source, found.lane, *found.first, *through, tables])

    def settle(self, place: Place) -> None:
        """The lane is to be committed through this place: an answer that is for nothing behind it has been followed."""
        hold = self._holds.get(self._lane)
        if hold is None or self._lane not in self._answers or place < hold.through:
            return
        self._connection.execute(_FORGET, [self._source, [self._lane]])
        if self._answers[self._lane] == "confirmed":
            self._connection.execute(_SETTLE, [self._source, self._tables[self._lane]])

    def committed(self, place: Place) -> None:
        """The open transaction is committed, and its lane through this place."""
        lane, hold = self._lane, self._holds.get(self._lane)
        if hold is not None and lane in self._answers and place >= hold.through:
            del self._holds[lane], self._answers[lane]
        self._known = {
            table: (rows - self.guard.deletes[table], at)
            for table, (rows, at) in self._known.items()
            if time.monotonic() - at < KNOWN_SECONDS
        }
        self.forget()

    def forget(self) -> None:
        """The open transaction is over."""
        self._begun, self.guard.rejecting = None, None
        self.guard.forget()

    def _count(self, table: str, enough: int) -> int:
        """Rows of a table, up to a few times `enough`; what was counted lately is not counted again."""
        rows, at = self._known.get(table, (0, 0.0))
        if rows - self.guard.deletes[table] >= enough and time.monotonic() - at < KNOWN_SECONDS:
            return enough
        named = self.named.counting(table)
        rows_of = self._catalogue.tables[table].only if named is None else named.as_string(self._connection)
        query = f"SELECT count(*) FROM (SELECT FROM {rows_of} LIMIT %s) AS found"
        row = self._connection.execute(query.encode(), [enough * 4]).fetchone()
        assert row is not None, "a count returns a row"
        self._known[table] = row[0] + self.guard.deletes[table], time.monotonic()
        return int(row[0])

    def _hold(self, first: Place, through: Place, excesses: Sequence[Excess], *, answered: bool) -> Hold:
        target = self._destination.name
        return Hold(
            first, through, sum(one.deletes for one in excesses), sentence(target, excesses), advice(target), answered
        )


def sentence(target: str, excesses: Sequence[Excess]) -> str:
    """What waits, for an operator."""
    lost = ", ".join(f"{one.deletes + one.before:,} of {one.rows:,} rows of {one.table}" for one in excesses)
    return (
        f"Target {target} was to lose {lost}, more than it may unasked: nothing of it is deleted, and the target waits."
    )


def advice(target: str) -> str:
    """What an operator can do about it."""
    return (
        f"See what is meant: placemat resume {target} --confirm-deletes deletes them;"
        f" placemat resume {target} --reject-deletes keeps them, and puts them back in the source."
    )
