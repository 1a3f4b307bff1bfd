"""Into the hub: what a spoke's people did is judged against the hub's rows as they are, and as they are known to be.

Rows are locked first, so that nothing is added to them that the hub's own stream would have to show; then, for a
moment, that stream is waited for. What is kept of rows is held last, when nothing is waited for any more.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import psycopg

from connectors.contract import Inward, PlannedOfSpoke, TryAgain
from connectors.postgres.rows import Event
from connectors.postgres.two_way.canonical import Canonical
from connectors.postgres.two_way.changes import Changes, Key
from connectors.postgres.two_way.hub import HubStore, Known
from connectors.postgres.two_way.judgement import Judgement
from connectors.postgres.two_way.outside import Outside
from connectors.postgres.two_way.outward import Work, net_of, tell, together
from connectors.postgres.two_way.refusals import kind_of, note_discarded, note_listed
from schemas.position import START, Position
from schemas.resolution import (
    ANSWERS_PREFIX,
    FORETOLD_PREFIX,
    AtHub,
    Fields,
    ForetoldEntry,
    Kept,
    Listed,
    Others,
    Place,
    RowChange,
    RowEntry,
)

PATIENCE_SECONDS = 0.3
"""How long people's edits of the locked rows may wait with us."""
CALM_SECONDS = 2.0
"""How long we wait for what we know of beforehand, while no row is locked."""
LOOK_SECONDS = 0.005


class _At(msgspec.Struct):
    at: Place


_at = msgspec.json.Decoder(_At).decode
_state = msgspec.json.Decoder(RowEntry).decode


class Behind(TryAgain):
    """The hub's own stream has not been observed as far as it has to be."""


@dataclass(slots=True)
class Awaited:
    """How far the hub's own stream has to be observed. It outlives sessions: what is found again in each attempt is
    further each time, and would never be reached."""

    ends: dict[tuple[int, int], Position] = field(default_factory=dict)
    """By transaction of the spoke, its timeline and commit LSN: where the end was when the first row of it was found
    missing, or other than it was known to be. One for all of its rows: what somebody does here after that is concurrent
    with it."""
    missed: Position = START
    """Where its end was when an attempt had to be given up."""


class HubRows:
    """One per session. Every method needs an open transaction, and raises psycopg.Error."""

    def __init__(
        self, connection: psycopg.Connection[Any], url: str, hub: str, spoke: str, tables: Mapping[str, Canonical],
        inward: Inward, awaited: Awaited,
    ) -> None:  # fmt: skip
        self._connection = connection
        self._spoke = spoke
        self._tables = tables
        self._inward = inward
        self._changes = Changes(connection, tables)
        self._store = HubStore(connection, hub)
        self._held = False
        self._taken: set[tuple[int, int]] = set()
        """Transactions of the spoke of which the open one has written a row: one that is refused is tried again."""
        self._awaited = awaited
        self._outside = Outside(connection, url, tables)
        self.mark = ""
        """The open transaction's."""

    def begin(self, mark: str) -> None:
        """A transaction begins, and says so by this mark."""
        self.mark = mark
        self.forget()

    def forget(self) -> None:
        """The transaction was rolled back."""
        self._held = False
        self._taken = set()

    def committed(self) -> None:
        """The transaction was committed: if one of the spoke's comes again, all is to be found out anew."""
        for transaction in self._taken:
            self._awaited.ends.pop(transaction, None)
        self.forget()

    def close(self) -> None:
        self._outside.close()

    def lock(self, events: Sequence[Event]) -> None:
        """Lock all rows of a batch, before any of them is written."""
        self._changes.lock(events)

    def await_observer(self, events: Sequence[Event]) -> None:
        """Before the first row of a transaction is locked: that the hub's own stream is observed as far as marks refer
        to it, and as it was when the attempt before had to be given up. Where that takes too long, `plan` says so."""
        if self._held:
            return
        notices = [event.change.notice for event in events]
        marked = [one for one in notices if one is not None and bytes(one.origin) and bytes(one.note)]
        places = [_at(bytes(one.note)).at for one in marked]
        last = max([self._awaited.missed, *(Position(*place) for place in places)])
        until = time.monotonic() + CALM_SECONDS
        while last > self._store.observed() and time.monotonic() < until:
            time.sleep(LOOK_SECONDS)

    def plan(self, events: Sequence[Event], *, rejected: bool = False) -> Work:
        """Lock the rows and decide; several events of a key come to one effect. `rejected`: what the hub has stands; of
        one event each. Raises Behind."""
        changes = self._changes.read(events)
        current = self._changes.present(sorted(changes), locked=True)
        work = Work()
        for (name, text), (hub, planned) in self._judged(changes, current, rejected=rejected).items():
            table, key = self._tables[name], (name, text)
            told = {name for one in changes[key] for name in one.row or ()} | planned.values.keys()
            if planned.action == "create" and not told >= set(table.fields.values()):
                work.partial.append(key)
                continue
            work.planned[key], work.each[key] = planned, planned.each
            work.rows[key] = hub.row
            if (net := net_of(table, planned)) is not None:
                work.nets.setdefault(name, {})[table.record_key(text)] = net
        return work

    def foretold(self, work: Work) -> list[tuple[str, str]]:
        """Which rows are made and deleted for the spoke: others that come or go with them, triggers make and delete."""
        whole = [key for key, one in work.planned.items() if one.action in ("create", "delete")]
        notes = [msgspec.json.encode(ForetoldEntry(*self._hub_name(key))).decode() for key in whole]
        return [(FORETOLD_PREFIX, one) for one in together(notes)]

    def settle(
        self, work: Work, events: Iterable[Event], left_out: Collection[tuple[str, bytes]] = ()
    ) -> dict[tuple[str, bytes], Judgement]:
        """Store what is known of the rows now, tell the spokes, and list the conflicts."""
        events = list(events)
        planned = {
            key: one
            for key, one in work.planned.items()
            if not left_out or (key[0], self._tables[key[0]].record_key(key[1])) not in left_out
        }
        # Triggers and foreign keys may have changed any of them: an answer comes behind that in the stream.
        present = self._changes.present(list(planned), locked=False) if work.nets or work.beside else work.rows
        kept: dict[Key, Kept] = {}
        answers: list[str] = []
        for key, one in planned.items():
            stored = present.get(key)
            hub = self._hub_name(key)
            kept[hub] = self._inward.settle(*hub, one, stored, self.mark)
            if (answer := kept[hub].answer) is not None:
                answers.append(answer)
        self._store.store(self._spoke, kept)
        found: dict[tuple[str, bytes], Judgement] = {}
        by_key: defaultdict[Key, list[Event]] = defaultdict(list)
        for event in events:
            by_key[self._changes.name(event)].append(event)
        for name, one in planned.items():
            each = self._listed(name, by_key[name], work.each[name], kept[self._hub_name(name)].listed)
            details = next((told for _, told in each if told), {})
            record_key = self._tables[name[0]].record_key(name[1])
            found[name[0], record_key] = Judgement(one.outcome, one.action != "none", details, each)
        tell(self._connection, ANSWERS_PREFIX, answers)
        self._taken |= {_came_with(event) for event in events if self._changes.name(event) in planned}
        return found

    def _listed(
        self, name: Key, events: Sequence[Event], each: Sequence[tuple[str, int]], listed: Sequence[Listed]
    ) -> list[tuple[str, Mapping[str, object]]]:
        """List the conflicts of a key's events; what is told of each of these."""
        found: list[tuple[str, Mapping[str, object]]] = []
        rest = list(listed)
        for event, (outcome, many) in zip(events, each, strict=True):
            own, rest = rest[:many], rest[many:]
            numbers = self._store.list_conflicts(self._spoke, self._hub_name(name), own, event.record)
            details = {"conflict": numbers[0], "rule": own[0].rule, "resolution": own[0].resolution} if own else {}
            found.append((outcome, details))
        return found

    def refused(self, event: Event, sqlstate: str, reason: str) -> None:
        """List what the hub's own constraints keep out: it waits for a person, or for what it lacks."""
        kind = kind_of(sqlstate, event.change.op if event.change.after is not None else "d")
        listed = Listed(None, kind, "manual", "manual", None, None, None, reason, None, None)
        name = self._hub_name(self._changes.name(event))
        [number] = self._store.list_conflicts(self._spoke, name, [listed], event.record)
        note_listed(self._connection, number, self._spoke, event.table, event.key)

    def discarded(self, event: Event) -> None:
        """What was kept out is not to come in any more."""
        note_discarded(self._connection, self._spoke, event.table, event.key)

    def alive(self, table: str, after: str, most: int) -> list[str]:
        """Keys of rows that the spoke has shown, a page of them: what else the hub has, nobody there can empty away."""
        return self._store.shown(self._spoke, self._tables[table].hub, after, most)

    # Until everything is known that has to be

    def _judged(
        self, changes: Mapping[Key, Sequence[RowChange]], current: Mapping[Key, Fields], *, rejected: bool
    ) -> dict[Key, tuple[AtHub, PlannedOfSpoke]]:
        self._look_for_ends(changes, current)
        until = time.monotonic() + (0 if self._held else PATIENCE_SECONDS)
        names = [self._hub_name(key) for key in changes]
        seen: Position | None = None
        known = Known()
        others: Mapping[Key, Others] | None = None
        found: dict[Key, tuple[AtHub, PlannedOfSpoke]] | None = None
        while True:
            # In this order: what is observed after this was read is no harm.
            observed = self._store.observed()
            if found is not None or observed != seen:
                before, seen, known = known, observed, self._store.read(names)
                if found is None or known != before:
                    found = self._judge(changes, current, observed, known, others, rejected=rejected)
                if found is None and others is None:
                    self._look_for_unknown(changes, current, known)
                    others = self._others(changes, current)
                    found = self._judge(changes, current, observed, known, others, rejected=rejected)
            if found is not None and self._held:
                return found
            if found is not None:
                self._store.hold()
                self._held = True
            elif time.monotonic() >= until:
                end = self._awaited.missed = self._end()
                for some in changes.values():
                    self._awaited.ends.setdefault(_transaction(some[-1]), end)
                raise Behind(f"what {self._spoke} says has to wait until the hub's own changes are observed")
            else:
                time.sleep(LOOK_SECONDS)

    def _judge(
        self,
        changes: Mapping[Key, Sequence[RowChange]],
        current: Mapping[Key, Fields],
        observed: Position,
        known: Known,
        others: Mapping[Key, Others] | None,
        *,
        rejected: bool,
    ) -> dict[Key, tuple[AtHub, PlannedOfSpoke]] | None:
        """None: one of them has to wait."""
        found = {}
        for key, some in changes.items():
            name = self._hub_name(key)
            link, end = known.links.get(name, {}).get(self._spoke), self._awaited.ends.get(_transaction(some[-1]))
            # Once we hold what is kept, the observer waits for us: it was there before, or it is never.
            late = others is not None and self._held and end is not None and observed >= end
            state, conflict = known.states.get(name), known.conflicts.get(name)
            theirs = None if others is None else others.get(key)
            hub = AtHub(current.get(key), state, link, conflict, observed, end or START, theirs, late)
            planned = self._inward.judge(name[0], some, hub, self.mark, rejected=rejected)
            if planned is None:
                return None
            found[key] = hub, planned
        return found

    def _others(self, changes: Collection[Key], current: Collection[Key]) -> Mapping[Key, Others]:
        """What others see of the rows that we have locked. Of one that is gone, and that they see, nobody but us has
        taken it away; where somebody may have made it anew meanwhile, nothing is said."""
        others = self._outside.rows(changes)
        if gone := [key for key, one in others.items() if one.row is not None and key not in current]:
            again, after = self._changes.present(gone, locked=True), self._outside.rows(gone)
            others = {key: one for key, one in others.items() if key not in again and after.get(key, one) == one}
        return others

    def _look_for_ends(self, changes: Mapping[Key, Sequence[RowChange]], current: Collection[Key]) -> None:
        """The end of the hub's log when a row was first found missing: somebody may have made and deleted it, and that
        has to be observed before it is made again."""
        missing = (
            some for key, some in changes.items() if key not in current and any(one.row is not None for one in some)
        )
        if new := {_transaction(some[-1]) for some in missing} - self._awaited.ends.keys():
            self._awaited.ends |= dict.fromkeys(new, self._end())

    def _look_for_unknown(
        self, changes: Mapping[Key, Sequence[RowChange]], current: Mapping[Key, Fields], known: Known
    ) -> None:
        """The same of a row with a column of which nothing is kept: somebody may have changed that."""
        for key, some in changes.items():
            state = known.states.get(self._hub_name(key))
            if key not in current or state is None or _transaction(some[-1]) in self._awaited.ends:
                continue
            if not current[key].keys() <= _state(state).fields.keys():
                self._awaited.ends[_transaction(some[-1])] = self._end()

    def _end(self) -> Position:
        return Position(self._store.observed().timeline, self._outside.end(), 0)

    def _hub_name(self, key: Key) -> Key:
        return self._tables[key[0]].hub, key[1]


def _came_with(event: Event) -> tuple[int, int]:
    """The spoke's transaction."""
    assert event.change.notice is not None, "an event of a table that goes both ways says where it stands"
    timeline, commit_lsn, _ = event.change.notice.at
    return timeline, commit_lsn


def _transaction(change: RowChange) -> tuple[int, int]:
    return change.position.timeline, change.position.commit_lsn
