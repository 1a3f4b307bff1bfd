"""Writes events in order: many at once where the target takes them, one by one where it does not.

The quick way folds a run of events to one effect per key and writes sets of rows, parents first. When the target
refuses a set, the run is halved until the event that is refused stands alone; that one is parked by its key.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import psycopg

from connectors.contract import Record
from connectors.errors import OperatorError, TableUnfit
from connectors.postgres.effects import Effects, Folded
from connectors.postgres.failures import Refused
from connectors.postgres.holds import Holds
from connectors.postgres.leaving import Leaving
from connectors.postgres.outcomes import Outcomes
from connectors.postgres.parked import AMBIGUOUS, FOREIGN_KEY, OVERSIZE, Entry, Key, Parked
from connectors.postgres.reading import Reading
from connectors.postgres.retrying import PARTIAL, Retrying
from connectors.postgres.router import Router
from connectors.postgres.rows import CannotFold, Event, rounds_of
from connectors.postgres.statements import Catalogue
from connectors.postgres.table_writes import ChangedMeanwhile, TableWrites
from connectors.postgres.two_way.notes import ANSWER
from connectors.postgres.two_way.session import TwoWay
from connectors.postgres.two_way.writing import Judged
from schemas.outbox import KEPT, PARKED, QUEUED

_UNTOLD = "the route's condition asks for a column that the event does not hold"


class Writer:
    """One per session. Every method needs an open transaction, and raises what `translate` makes of an error."""

    def __init__(
        self, connection: psycopg.Connection[Any], target: str, topics: Mapping[str, str], catalogue: Catalogue,
        parked: Parked, router: Router | None = None, paused: frozenset[str] = frozenset(), holds: Holds | None = None,
        two_way: TwoWay | None = None, outcomes: Outcomes | None = None,
    ) -> None:  # fmt: skip
        self._target = target
        self.reading = Reading(topics, two_way)
        self.catalogue = catalogue
        """As it was at the claim."""
        self._parked = parked
        self._router = router
        self._resting = paused | catalogue.missing
        self._outcomes = outcomes or Outcomes("", {}, wanted=False)
        self._leaving = Leaving(holds, two_way, self._outcomes)
        self.held: list[Event] = []
        """Events that need their successor to be understood."""
        self._half: Event | None = None
        """The deletion of the old key, where a key change is written."""
        self._refused: list[Key] = []
        self._two_way = two_way
        self._writes = TableWrites(connection, target, catalogue)
        self._effects: Effects = (
            Folded(self._writes) if two_way is None else Judged(two_way, self._writes, self._outcomes)
        )
        self.retrying = Retrying(catalogue, parked, self._effects, self._writes, self._outcomes, self._resting)

    @property
    def waiting(self) -> list[Event]:
        """Events of the open transaction that are not written yet."""
        return self.held if self._two_way is None else [*self.held, *self._two_way.waiting()]

    def rank(self, table: str) -> int:
        """Parents have a lower one than their children."""
        known = self.catalogue.tables.get(table)
        return known.rank if known is not None else -1

    def rests(self, table: str) -> bool:
        """Whether nothing is to be written to a table now, parked keys neither."""
        return table in self._resting or table not in self.catalogue.tables

    def write(self, records: Sequence[Record]) -> None:
        """Write records in order; what needs its successor to be understood is held until the next call."""
        events = self.held + self.reading.events(records)
        at = len(events)
        while at and (events[at - 1].change.op == "t" or events[at - 1].change.moved_to):
            at -= 1
        self.held = events[at:]
        self._pass(events[:at])

    def finish(self) -> None:
        """Write what is held, and try once more what may be welcome now that the transaction is complete."""
        held, self.held = self.held, []
        self._pass(held if self._two_way is None else [*held, *self._two_way.end()])
        fresh, self._refused = self._refused, []
        self.retrying.try_again(fresh)

    def rejoin(self, table: str) -> None:
        """Write what parents of a table's rows have asked for while it was paused."""
        if self._router is not None:
            for part in self._router.rejoin(table):
                self._process(self._leaving.spared(part))
            self.finish()

    def forget(self) -> None:
        """The transaction was rolled back, and with it what was tried: all may be tried again."""
        self.held, self._refused = [], []
        if self._two_way is not None:
            self._two_way.forget()
        self._leaving.forget()
        self.retrying.forget()

    def discard(self, key: Key) -> None:
        """A key waits no more, and what waited is not written; the other side of one that goes both ways is told so."""
        if self._two_way is not None and key[0] in self._two_way.tables:
            self._two_way.reject(self._parked.events(key))
        self._parked.unpark(key)

    def _refuse(self, event: Event, sqlstate: str, reason: str) -> None:
        self._parked.refuse(event, sqlstate, reason)
        self._leaving.refused(event)
        if self._two_way is not None:
            self._two_way.refused(event, sqlstate, reason)

    # What has to be done one by one

    def _pass(self, events: Sequence[Event]) -> None:
        if self._two_way is not None:
            self._two_way.prepare(events)
        if self._router is None:
            self._process(self._leaving.spared(events))
            return
        for part in self._router.route(events):
            self._process(self._leaving.spared(part))

    def _process(self, events: Sequence[Event]) -> None:
        """Split events into runs that can be folded, and what stands between them."""
        run: list[Event] = []
        observes = self._two_way is not None and self._two_way.observes
        entries = self._parked.entries
        at = 0
        while at < len(events):
            event = events[at]
            change = event.change
            at += 1
            single: Callable[[], None] | None = None
            if observes and change.notice is not None and change.op != "t":
                run.append(event)  # whatever it is, it is to be known
                continue
            if change.op == "t":
                emptied = [event]
                while at < len(events) and events[at].change.op == "t":
                    emptied.append(events[at])
                    at += 1
                single = self._truncation(emptied)
            elif self._leaving.rejects(event):
                rejected = [event]
                while at < len(events) and self._leaving.rejects(events[at]):
                    rejected.append(events[at])
                    at += 1
                single = self._rejection(rejected)
            elif change.notice is not None:
                if change.oversize is None and not (entries and (event.table, event.key) in entries):
                    run.append(event)
                    continue
                single = self._alone(event)
            elif change.moved_to and at < len(events) and bytes(events[at].change.moved_from) == event.key:
                self._half = event  # its other half tells both keys
                continue
            elif (
                change.oversize is not None
                or change.moved_from
                or change.untold
                or (entries and (event.table, event.key) in entries)
            ):
                single = self._alone(event)
            else:
                run.append(event)
                continue
            self._run(run)
            run = []
            single()
        self._run(run)

    def _alone(self, event: Event) -> Callable[[], None]:
        def write() -> None:
            key = (event.table, event.key)
            if event.change.oversize is not None:
                reason = f"a row of {event.table} is too large to publish ({event.change.oversize} bytes)"
                self._parked.need(key, reason, OVERSIZE)
                self._note_need(event, reason)
            elif event.change.untold:
                for name in [event.key, *([bytes(event.change.moved_from)] if event.change.moved_from else [])]:
                    self._parked.need((event.table, name), _UNTOLD)
                self._note_need(event, _UNTOLD)
            elif event.change.moved_from and event.change.notice is None:
                self._move(event)
            elif entry := self._parked.entries.get(key):
                self._write_parked(event, key, entry)
            else:
                self._run([event])

        return write

    def _write_parked(self, event: Event, key: Key, entry: Entry) -> None:
        change = event.change
        if entry.kind == "refused" and (change.op != "r" or change.notice is not None):
            # What is queued is tried again as a whole: this event may be the correction, or the row's end.
            if change.notice is None and (change.after is None or change.complete):
                self._parked.replace(key, event.record)
            else:
                self._parked.queue(key, event.record)
            if entry.sqlstate != AMBIGUOUS and (self._parked.entries[key].grown or self._leaving.ends(event)):
                self._refused.append(key)
            if change.op != ANSWER:
                self._leaving.refused(event)
        elif self._two_way is not None and self._two_way.lacks_row(event):
            self._parked.queue(key, event.record)  # it waits with the others for the row that they are about
        elif change.after is None or change.complete:
            try:
                answers = self._parked.events(key) if change.notice is not None else []
                missing = self._effects.write([*answers, event])
            except Refused as error:
                self._refuse(event, error.sqlstate, error.reason)
                self._refused.append(key)
            else:
                self._leaving.count(self._writes, [event])
                if key in missing:
                    self._await_row(event)
                elif change.op != ANSWER or not self._effects.one_by_one:  # a mark at the hub tells no row
                    self._parked.unpark(key)
                self._answered([event])
        else:
            self._outcomes.note(event, QUEUED)

    def _note_need(self, event: Event, reason: str) -> None:
        halves = [self._half] if self._half is not None and event.change.moved_from else []
        for one in [*halves, event]:
            self._outcomes.note(one, PARKED, kind="needs_full_row", reason=reason)

    def _lack(self, missing: Sequence[Key], events: Sequence[Event]) -> None:
        """Parts of rows came, and the rows are not there; or answers without the rows that they are about."""
        for key in missing:
            self._parked.need(key, PARTIAL)
        for event in events if missing else ():
            if (event.table, event.key) in missing:
                self._note_need(event, PARTIAL)
                self._await_row(event)

    def _await_row(self, event: Event) -> None:
        """An answer waits with its key: what it has judged is not said again with the row."""
        if event.change.op == ANSWER:
            self._parked.queue((event.table, event.key), event.record)

    def _answered(self, events: Sequence[Event]) -> None:
        """A row that was read answers every parked key that is its own to PostgreSQL, as 1.00 answers 1.0."""
        entries = self._parked.entries
        rows: defaultdict[str, list[bytes]] = defaultdict(list)
        for event in events if entries else ():
            if event.change.op == "r" and event.change.after is not None:
                rows[event.table].append(event.key)
        for name, keys in rows.items():
            waiting = [key for table, key in entries if table == name]
            if waiting and (alike := self._writes.alike(name, keys, waiting)):
                self._parked.unpark(*((name, key) for key in alike))

    def _move(self, event: Event) -> None:
        """A primary-key change: one UPDATE, so that whatever refers to the row stays with it."""
        old, new = (event.table, bytes(event.change.moved_from)), (event.table, event.key)
        if old in self._parked.entries or new in self._parked.entries:
            self._need_both(event, old, new, "the row's key was changed while it was parked")
            return
        try:
            moved = self._writes.update_key(event, old[1])
        except Refused as error:
            self._need_both(event, old, new, f"its key could not be changed: {error.reason}")
            return
        if not moved:
            if event.change.complete:
                self._run([event])
            else:
                self._lack([new], [event])

    def _need_both(self, event: Event, old: Key, new: Key, reason: str) -> None:
        self._parked.need(old, reason)
        self._parked.need(new, reason)
        self._note_need(event, reason)

    def _rejection(self, events: Sequence[Event]) -> Callable[[], None]:
        def reject() -> None:
            assert self._two_way is not None, "only a hub answers deletes"
            for key in dict.fromkeys((event.table, event.key) for event in events):
                if key in self._parked.entries:  # what waits was said before it
                    self._outcomes.redriven(*key, self._parked.events(key), KEPT)
                    self.discard(key)
            for part in rounds_of(events):
                self._two_way.keep(part)
            for event in events:
                self._outcomes.note(event, KEPT)

        return reject

    def _truncation(self, events: Sequence[Event]) -> Callable[[], None]:
        def truncate() -> None:
            firsts: dict[str, Event] = {}  # each of a table's partitions tells it
            for event in events:
                firsts.setdefault(event.table, event)
            for event in firsts.values():
                if event.change.notice is not None and self._two_way is not None:
                    self._stop_at_truncate(event.table)
                    parked = [key for table, key in self._parked.entries if table == event.table]
                    for page in self._two_way.emptied(event, parked):
                        self._process(self._leaving.spared(page))
            if one_way := [event for event in events if event.change.notice is None]:
                self._empty(list(dict.fromkeys(one.table for one in one_way)), one_way[0])

        return truncate

    def _empty(self, tables: Sequence[str], event: Event) -> None:
        for name in tables:
            self._stop_at_truncate(name)
        self._parked.clear(tables)
        try:
            self._leaving.emptied(tables, event, self._writes.count)
            self._writes.truncate(tables)
        except Refused as error:
            raise TableUnfit(
                tables[0],
                f"Target {self._target} cannot empty {', '.join(tables)}: {error.reason}.",
                f"Remove the rows there that refer to it, or resume their table first;"
                f" then: placemat resume {self._target} {tables[0]}",
            ) from None

    def _stop_at_truncate(self, table: str) -> None:
        if self.catalogue.tables[table].routing.truncate == "stop":
            raise OperatorError(
                f"{table} was truncated in the source, and its route to target {self._target} stops at that.",
                f"To follow it set targets.{self._target}.tables.{table}.truncate to apply.",
            )

    # What can be done many at once

    def _run(self, events: Sequence[Event]) -> None:
        if not events:
            return
        if self._two_way is not None and self._two_way.observes:
            self._two_way.observe(events)
            return
        if self._effects.one_by_one and len(rounds := rounds_of(events)) > 1:
            for part in rounds:
                self._process(part)
            return
        try:
            missing = self._effects.write(events)
        except Refused as error:
            if len(events) == 1:
                self._refuse(events[0], error.sqlstate, error.reason)
                self._refused.append((events[0].table, events[0].key))
            elif error.sqlstate == FOREIGN_KEY:
                self._screen(events)
            else:
                self._halve(events)
            return
        except (CannotFold, ChangedMeanwhile) as error:
            self._halve(events, error)
            return
        self._leaving.count(self._writes, events)
        self._lack(missing, events)
        self._answered(events)

    def _screen(self, events: Sequence[Event]) -> None:
        """Write a set but for the rows whose parent is missing, which are parked; halve it if it is refused still."""
        try:
            missing, orphans = self._effects.write_screened(events)
        except (Refused, CannotFold, ChangedMeanwhile) as error:
            self._halve(events, error)
            return
        self._leaving.count(self._writes, events)
        self._lack(missing, events)
        self._answered([event for event in events if (event.table, event.key) not in orphans])
        for event in events:
            key = (event.table, event.key)
            if key not in orphans:
                continue
            if key in self._parked.entries:
                self._parked.queue(key, event.record)
            else:
                self._refuse(event, FOREIGN_KEY, orphans[key])
                self._refused.append(key)

    def _halve(self, events: Sequence[Event], error: Exception | None = None) -> None:
        if isinstance(error, ChangedMeanwhile) and len(events) == 1:
            raise error
        self._process(events[: len(events) // 2])
        self._process(events[len(events) // 2 :])
