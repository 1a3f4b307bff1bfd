"""What became of each event of a target's transaction, kept until the transaction ends and written into it.

Taken means applied, unless something else is noted. The last note of an event wins: a set that was refused and halved,
or a savepoint that was rolled back, leaves nothing wrong behind. A rollback of the transaction forgets all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson
import psycopg

from connectors.contract import Partition, Progress, Record
from connectors.postgres.mirror.queueing import Queueing
from connectors.postgres.rows import Event
from schemas import outbox
from schemas.outbox import APPLIED, DROPPED, PARKED, QUEUED, Change, Others, Outbox, Place, Range, Taken
from schemas.position import era_of

SPILL_EVENTS = 20_000
"""Events of one row: a transaction without end needs memory with an end, here and where the row is read."""
WAITING = frozenset({PARKED, QUEUED})

_INSERT = "INSERT INTO placemat.outbox (source, lane, ends_from, events) VALUES (%s, %s, %s, %s)"

Note = tuple[str, bytes]
"""Outcome, and details as JSON."""


class Outcomes:
    """One per claim of a target. `next_offsets` are the first records not taken, as they are stored."""

    def __init__(
        self, source: str, next_offsets: Mapping[Partition, int], timeline: int = 0, *, wanted: bool = True,
        silent: str | None = None, queueing: Queueing | None = None,
    ) -> None:  # fmt: skip
        """`timeline` is that of the commit the target is applied through. `wanted`: else nothing is kept, and nothing
        written. Events of the topic `silent` only say something of others. `queueing`: of a mirror."""
        self.wanted = wanted
        self._kept = wanted or queueing is not None
        self._queueing = queueing
        self._silent = silent
        self._source = source
        self._stored = dict(next_offsets)
        self._timeline = timeline
        """The greatest of any position that was met."""
        self._settled: Counter[str] = Counter()
        self.forget()

    def forget(self) -> None:
        """The transaction was rolled back, or has ended otherwise."""
        self._runs: dict[Partition, list[list[int]]] = {}
        self._notes: dict[Partition, dict[int, Note]] = {}
        self._judged: dict[tuple[Partition, int], Note] = {}
        """What was noted of an event before it was found that it has to wait; or, of one that has waited since an
        earlier transaction, what is made of it now."""
        self._changes: dict[tuple[str, str, Note | None], Change] = {}
        self._dropped: dict[Partition, list[Range]] = {}
        self._next: dict[Partition, int] = {}
        self._told: dict[Partition, int] = {}
        """Events below are in a row of this transaction already."""
        self._count = 0
        self._outcomes: Counter[str] = Counter()
        if self._queueing is not None:
            self._queueing.forget()

    def take(self, records: Iterable[Record]) -> None:
        """These records are written now; in the order of their partitions."""
        if not self._kept:
            return
        for record in records:
            topic, partition, offset, position, *_ = record
            key = topic, partition
            if self._queueing is not None:
                self._queueing.take(record)
            if position.timeline > self._timeline:
                self._timeline = position.timeline
            if topic == self._silent:
                continue
            self._pass_over(key, offset)
            runs = self._runs.setdefault(key, [])
            if runs and runs[-1][1] == offset:
                runs[-1][1] = offset + 1
            else:
                runs.append([offset, offset + 1])
            self._next[key] = offset + 1
            self._count += 1

    def note(self, of: Record | Event, outcome: str, **details: Any) -> None:
        """Say what became of an event; one that a condition has made of a parent's change has no place of its own."""
        if not self._kept:
            return
        record = of.record if isinstance(of, Event) else of
        key = record.topic, record.partition
        if record.topic == self._silent:
            return
        note = outcome, orjson.dumps(details, option=orjson.OPT_SORT_KEYS)
        if self._untold(key, record.offset):
            notes = self._notes.setdefault(key, {})
            if outcome in WAITING and (judged := notes.get(record.offset)) is not None and judged[0] not in WAITING:
                self._judged[key, record.offset] = judged
            notes[record.offset] = note
            return
        if record.offset >= 0:
            self._judged[key, record.offset] = note
        if isinstance(of, Event) and not 0 <= record.offset < self._stored.get(key, 0):
            self.change(of.table, record.key, outcome, [of], **details)

    def change(self, table: str, key: bytes, outcome: str, events: Sequence[Event] = (), **details: Any) -> None:
        """Say what was done to a key without an event of its own; the last word for a key wins."""
        if self._kept:
            self._change(table, key, Change(table, key.decode(), outcome, details, self._places(events)))

    def redriven(self, table: str, key: bytes, events: Sequence[Event], outcome: str, **details: Any) -> None:
        """Say what became of events that waited. Those of this very transaction have no earlier word, and are told as
        what they were judged to be; of the others that is a detail."""
        if not self._kept:
            return
        told = [event for event in events if event.record.topic != self._silent]
        earlier: dict[Note | None, list[Event]] = {} if told else {None: []}
        for event in told:
            record = event.record
            place = record.topic, record.partition
            if not self._untold(place, record.offset):
                judged = self._judged.pop((place, record.offset), None)
                earlier.setdefault(judged if outcome == outbox.REDRIVEN else None, []).append(event)
            elif outcome != outbox.REDRIVEN:
                self.note(event, outcome, **details)
            elif self._notes.get(place, {}).get(record.offset, (APPLIED,))[0] in WAITING:
                self._notes[place][record.offset] = self._judged.get((place, record.offset), (APPLIED, b"{}"))
        found = {judged: self._places(some) for judged, some in earlier.items()}
        for judged, places in found.items():
            if places or len(found) == 1:  # what a condition has made says nothing of its own beside the others
                more = details if judged is None else {**orjson.loads(judged[1]), "judged": judged[0]}
                self._change(table, key, Change(table, key.decode(), outcome, more, places), judged)

    def _change(self, table: str, key: bytes, change: Change, judged: Note | None = None) -> None:
        """The last word for a key wins; of events that were judged each has its own."""
        plain = table, key.decode(), None
        if judged is not None and plain in self._changes and set(self._changes[plain].events) <= set(change.events):
            del self._changes[plain]
        self._changes[table, key.decode(), judged] = change

    def _places(self, events: Sequence[Event]) -> list[Place]:
        records = [one.record for one in events]
        return [
            (one.topic, one.partition, one.offset) for one in records if one.offset >= 0 and one.topic != self._silent
        ]

    def spill(self, connection: psycopg.Connection[Any], lane: str, ends_from: int, held: Iterable[Event]) -> None:
        """Write what is settled of a large transaction; `held` events are not written yet."""
        if self._count >= SPILL_EVENTS:
            self._insert(connection, lane, ends_from, self.part(held))

    def store(self, connection: psycopg.Connection[Any], lane: str, ends_from: int, progress: Progress | None) -> None:
        """Write the transaction's last row, before it is committed."""
        if self._kept:
            self._insert(connection, lane, ends_from, self.rest(progress))

    def part(self, held: Iterable[Event] = ()) -> Outbox:
        """What is settled so far, and is not told again: of each partition, all before the first event that is held."""
        limits = dict(self._next)
        for event in held:
            key = event.record.topic, event.record.partition
            limits[key] = min(limits[key], event.record.offset)
        runs, dropped, notes = self._runs, self._dropped, self._notes
        self._runs = {key: [[*one] for one in _part(found, 0, limits[key])] for key, found in runs.items()}
        self._dropped = {key: _part(found, 0, limits[key]) for key, found in dropped.items()}
        told = self._content()
        self._runs = {key: [[*one] for one in _part(found, limits[key])] for key, found in runs.items()}
        self._dropped = {key: _part(found, limits[key]) for key, found in dropped.items()}
        self._notes = {
            key: {at: note for at, note in found.items() if at >= limits[key]} for key, found in notes.items()
        }
        self._changes = {}
        self._told = limits
        self._count = sum(after - first for found in self._runs.values() for first, after in found)
        return told

    def rest(self, progress: Progress | None) -> Outbox:
        """All that was not told. What the partitions have passed over beside the events taken was dropped."""
        if progress is not None:
            self._timeline = max(self._timeline, progress.place[0])
            for key, taken in progress.partitions.items():
                self._pass_over(key, taken.next_offset)
        return self._content()

    def stored(self, progress: Progress | None) -> None:
        """What was stored last is committed."""
        for key, taken in (progress.partitions if progress is not None else {}).items():
            self._stored[key] = taken.next_offset
        self._settled.update(self._outcomes)
        self.forget()

    def counted(self) -> Mapping[str, int]:
        """How many events have come to which outcome, by commits since the last call."""
        settled, self._settled = self._settled, Counter()
        return settled

    def _untold(self, key: Partition, offset: int) -> bool:
        """Whether an event is of this transaction, and is not in a row of it yet."""
        return any(first <= offset < after for first, after in self._runs.get(key, ()))

    def _pass_over(self, key: Partition, until: int) -> None:
        """What lies between the last event that was taken and this one was dropped."""
        after = self._next.get(key, self._stored.get(key, until))
        if after < until and key[0] != self._silent:
            self._dropped.setdefault(key, []).append((after, until))

    def _content(self) -> Outbox:
        partitions = [self._taken(key) for key in sorted({*self._runs, *self._dropped})]
        found = [one for one in partitions if one.applied or one.others]
        return Outbox(found, list(self._changes.values()), era_of(self._timeline))

    def _insert(self, connection: psycopg.Connection[Any], lane: str, ends_from: int, content: Outbox) -> None:
        if self._queueing is not None:
            content = self._queueing.store(connection, content)
        for one in content.partitions:
            self._outcomes[APPLIED] += _many(one.applied)
            for other in one.others:
                self._outcomes[other.outcome] += _many(other.ranges)
        if self.wanted and (content.partitions or content.changes):
            connection.execute(_INSERT, [self._source, lane, ends_from, outbox.encode(content).decode()])

    def _taken(self, key: Partition) -> Taken:
        ranges, notes = self._runs.get(key, []), self._notes.get(key, {})
        others: dict[Note, list[int]] = {}
        applied: list[int] = []
        for first, after in ranges if notes else ():
            for offset in range(first, after):
                note = notes.get(offset)
                (applied if note is None or note[0] == APPLIED else others.setdefault(note, [])).append(offset)
        found = [
            Others(outcome, _together(offsets), orjson.loads(details)) for (outcome, details), offsets in others.items()
        ]
        if dropped := self._dropped.get(key):
            found.append(Others(DROPPED, dropped))
        return Taken(*key, _together(applied) if notes else [(first, after) for first, after in ranges], found)


def _part(ranges: Iterable[Sequence[int]], first: int, after: int | None = None) -> list[Range]:
    """What of these lies between two offsets."""
    cut = [(max(one[0], first), one[1] if after is None else min(one[1], after)) for one in ranges]
    return [one for one in cut if one[0] < one[1]]


def _together(offsets: Sequence[int]) -> list[Range]:
    """Rising offsets as ranges."""
    found: list[list[int]] = []
    for offset in offsets:
        if found and found[-1][1] == offset:
            found[-1][1] = offset + 1
        else:
            found.append([offset, offset + 1])
    return [(first, after) for first, after in found]


def _many(ranges: Iterable[Range]) -> int:
    return sum(after - first for first, after in ranges)
