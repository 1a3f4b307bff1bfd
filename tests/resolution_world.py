"""A hub and its spokes in memory, around the real resolver: rows, triggers, clocks, streams, and nothing that decides.

Every transaction is whole or not at all, as in PostgreSQL; streams are read as late as one likes, and again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from operator import itemgetter

from connectors.postgres.two_way.erasing import tombstone
from daemon.resolve import override, wire
from daemon.resolve.conflict import NO_CONFLICT, Conflict, OpenConflict, Shown, shown
from daemon.resolve.decision import Decision, Drop, Hub, Wait, Written, settle
from daemon.resolve.inbound import receive
from daemon.resolve.inbound_queue import Queue, receive_queue, settle_queue
from daemon.resolve.interval import Interval
from daemon.resolve.interval import at as moment
from daemon.resolve.inward import without
from daemon.resolve.observer import observe, settle_link
from daemon.resolve.override import Choice, Ruling, Stale, decide, undo
from daemon.resolve.records import HUB, Answer, HubRecord, SpokeRecord
from daemon.resolve.rules import Rules
from daemon.resolve.side_effects import absorbed, unseen
from daemon.resolve.state import NO_LINK, NO_ROW, Link, Pending, RowState
from daemon.resolve.values import Row, Value
from schemas.position import START, Position
from tests.resolution_sites import SECOND, Site, SpokeSite


@dataclass(frozen=True, slots=True)
class Listed:
    key: str
    spoke: str
    conflict: Conflict


@dataclass(frozen=True, slots=True)
class Revived:
    """A row that the hub had deleted, and that an update in a spoke, which still had it, has brought back."""

    key: str
    deleted: Interval
    updated: Interval
    erased: bool


@dataclass(frozen=True, slots=True)
class Transaction:
    """An open one of ours at the hub: its mark, whose edits it holds, and what it will have published."""

    pending: Pending
    by: str
    said: list[tuple[str, HubRecord]] = field(default_factory=list)


def _heard(answer: Answer, time: Interval, pending: Pending) -> HubRecord:
    return HubRecord(
        START, answer.row, time, pending, answer=True, known=answer.known, renewed=answer.renewed, origin=answer.origin
    )


class World:
    def __init__(self, spokes: Sequence[str | SpokeSite], columns: Sequence[str], rules: Rules | None = None) -> None:
        self.rules = rules or Rules()
        self.now = 1_000 * SECOND
        self.hub = Site("hub", columns=tuple(columns))
        sites = [SpokeSite(one) if isinstance(one, str) else one for one in spokes]
        self.spokes = {one.name: one for one in sites}
        for one in sites:
            one.columns = tuple(name for name in columns if name not in one.lacks)
        self.states: dict[str, RowState] = {}
        self.links: dict[tuple[str, str], Link] = {}
        self.conflicts: dict[str, OpenConflict] = {}
        self.stream: list[tuple[str, HubRecord]] = []
        self.told_before: list[dict[str, int]] = []
        """By record of the hub's stream, how many each spoke had told when it was made."""
        self.observed = 0
        self.transactions = 0
        self.open: Transaction | None = None
        self.side_effects: list[Callable[[], None]] = []
        """What triggers of the hub do beside the next rows that are written there for a spoke."""
        self.listed: list[Listed] = []
        self.revived: list[Revived] = []
        self.too_late: list[tuple[str, Row]] = []
        """Rows of spokes that were edited in a life that the hub has erased."""
        self.apart: frozenset[str] = frozenset()
        """Columns whose values are stored apart, and are sent only when they change."""
        self.unwelcome: frozenset[Value] = frozenset()
        """Names that a constraint of the hub refuses."""
        self.parked: dict[tuple[str, str], list[SpokeRecord]] = {}
        """By spoke and key: records that wait at the hub, the first of which it has refused."""
        self.refused: set[str] = set()
        """Keys of which the hub has refused something."""
        self.untried: set[tuple[str, str]] = set()
        """Of these the last was not tried yet."""

    # What people do

    def site(self, name: str) -> Site:
        return self.hub if name == "hub" else self.spokes[name]

    def pass_time(self, seconds: float) -> None:
        self.now += int(seconds * SECOND)

    def edit(self, site: str, key: str, **values: Value) -> None:
        """A person updates or inserts a row."""
        there = self.site(site)
        before = there.rows.get(key)
        row = there.store(key, {**(before or {}), **values})
        self._tell(site, key, self.told(row, before), created=before is None, last=before or {})

    def told(self, row: Row, before: Row | None) -> Row:
        """What an event tells of a row: not what is stored apart and has not changed."""
        if before is None:
            return row
        return {name: value for name, value in row.items() if name not in self.apart or before.get(name) != value}

    def delete(self, site: str, key: str) -> None:
        last = self.site(site).rows.pop(key)
        self._tell(site, key, None, created=False, last=last)

    def _tell(self, site: str, key: str, row: Row | None, *, created: bool, last: Row) -> None:
        if site != "hub":
            self.spokes[site].tell(self, key, row)
            return
        creators = frozenset((HUB,)) if created else frozenset[str]()
        time = moment(self.now + self.hub.clock)
        record = HubRecord(START, row, time, created_by=creators, last=last if row is None else {})
        if self.open is None:
            self._publish([(key, record)])
        else:  # a trigger, beside what is written for a spoke
            whole = created or row is None
            origin = HUB if whole else self.open.by
            self.open.said.append((key, replace(record, pending=self.open.pending, origin=origin, by_trigger=whole)))

    # Streams

    def _publish(self, records: Sequence[tuple[str, HubRecord]]) -> None:
        """By key, as they are taken: of a row, all of a transaction at once."""
        self.transactions += 1
        for ordinal, (key, one) in enumerate(sorted(records, key=itemgetter(0)), 1):
            at = Position(1, self.transactions, ordinal)
            self.stream.append((key, replace(one, at=at)))
            self.told_before.append({name: len(spoke.stream) for name, spoke in self.spokes.items()})

    def _end(self) -> Position:
        return self.stream[-1][1].at if self.stream else START

    # What the daemon does

    def observe(self) -> bool:
        """The hub reads one transaction of its own stream."""
        if self.observed == len(self.stream):
            return False
        place = self.stream[self.observed][1].at[:2]
        while self.observed < len(self.stream) and self.stream[self.observed][1].at[:2] == place:
            self._observe(*self.stream[self.observed])
            self.observed += 1
        for key, state in self.states.items():
            assert not (state.erased and (state.values or state.fields)), ("what was erased is back", key, state)
        return True

    def _observe(self, key: str, record: HubRecord) -> None:
        self.states[key] = observe(record, self.states.get(key, NO_ROW))
        if record.pending is not None:
            for spoke in self.spokes:
                if link := self.links.get((spoke, key)):
                    self.links[spoke, key] = settle_link(link, record.pending, record.at)

    def hub_at(self, key: str, spoke: str = HUB) -> Hub:
        """What is known of a row at the hub, for a spoke without what that does not have."""
        observed = self.stream[self.observed - 1][1].at if self.observed else START
        lacks = self.spokes[spoke].lacks if spoke else frozenset[str]()
        state = without(self.states.get(key, NO_ROW), lacks.__contains__)
        conflict = self.conflicts.get(key, NO_CONFLICT)
        return Hub(self._part(self.hub.rows.get(key), spoke), state, observed, self._end(), conflict)

    def _part(self, row: Row | None, spoke: str) -> Row | None:
        return self.spokes[spoke].part(row) if row is not None and spoke else row

    def receive(self, name: str, *, queued: bool = False, late: bool = False) -> bool:
        """The hub takes one record of a spoke's stream; False: there is none, or it has to wait. `queued`: behind a key
        that waits it is not tried yet, as its transaction goes on or the queue is long. `late`: it does not wait for
        what people have done at the hub after it."""
        spoke = self.spokes[name]
        if spoke.received == len(spoke.stream):
            return False
        key, record = spoke.stream[spoke.received]
        if (name, key) in self.parked:
            return self._receive_behind(name, key, record, queued)
        hub = self.hub_at(key, name)
        if late and self._all_observed_before(name, spoke.received):
            hub = replace(hub, late=True, end=hub.observed)
        decision = receive(name, record, hub, self.links.get((name, key), NO_LINK), self.rules)
        match decision:
            case Wait():
                return False
            case Drop():
                pass
            case Decision() if self._refuses(decision.values):
                self.parked[name, key] = [record]
                self.refused.add(key)
            case Decision():
                with self._transaction(name):
                    self._take(name, key, hub, record, decision)
        spoke.received += 1
        return True

    def receive_together(self, name: str, most: int) -> None:
        """The hub takes several records of a spoke's stream in one transaction, in which its triggers do what they do.
        Nobody waits for what that transaction has made itself."""
        spoke, observed, before = self.spokes[name], self.observed == len(self.stream), dict(self.hub.rows)
        with self._transaction(name) as ours:
            for key, record in spoke.stream[spoke.received : spoke.received + most]:
                hub, link = self.hub_at(key, name), self.links.get((name, key), NO_LINK)
                if (name, key) in self.parked:
                    return
                decision = receive(name, record, hub, link, self.rules)
                if isinstance(decision, Wait):
                    own, hub = hub, absorbed(hub, self._part(before.get(key), name), ours.pending, record.time)
                    link = unseen(link, own, hub, ours.pending)
                    decision = receive(name, record, hub, link, self.rules)
                match decision:
                    case Wait():
                        assert not observed, ("waits for what it has made itself", name, key, record, hub)
                        return
                    case Decision() if self._refuses(decision.values):
                        return
                    case Decision():
                        self._take(name, key, hub, record, decision)
                spoke.received += 1

    def _take(self, name: str, key: str, hub: Hub, record: SpokeRecord, decision: Decision) -> None:
        had = self.links.get((name, key), NO_LINK)
        if decision.action == "create" and had.shadow is not None and record.read is None:
            self.revived.append(Revived(key, hub.state.time, record.time, hub.state.erased))
        if hub.state.erased and any(one.kind == "update_deleted" for one in decision.conflicts):
            self.too_late.append((key, record.row or {}))
        self._carry_out(name, key, hub, decision)

    def _all_observed_before(self, name: str, number: int) -> bool:
        """Whether all was observed that was done at the hub before a spoke's record."""
        return self.observed == len(self.stream) or self.told_before[self.observed][name] > number

    def _refuses(self, values: Row) -> bool:
        name = values.get("name")
        return isinstance(name, str) and name.lower() in self.unwelcome

    def _receive_behind(self, name: str, key: str, record: SpokeRecord, queued: bool) -> bool:
        """A record of a key that waits: all that waits is tried again with it, or is to be."""
        waiting = self.parked[name, key]
        if record.at > waiting[-1].at:
            if queued:
                self.untried.add((name, key))
                waiting.append(record)
            elif not self._try_again(name, key, [*waiting, record]):
                return False
        self.spokes[name].received += 1
        return True

    def try_again(self, name: str) -> bool:
        """What was queued and not tried; False: there is nothing, or it has to wait."""
        tried = [self._try_again(*of, self.parked[of]) for of in sorted(self.untried) if of[0] == name]
        return any(tried)

    def _try_again(self, name: str, key: str, records: list[SpokeRecord]) -> bool:
        hub, link = self.hub_at(key, name), self.links.get((name, key), NO_LINK)
        pending = Pending(f"transaction {self.transactions + 1}")
        found = receive_queue(name, records, hub, link, self.rules, pending)
        if isinstance(found, Wait):
            return False
        self.untried.discard((name, key))
        if isinstance(found, Queue) and self._refuses(found.values):
            self.parked[name, key] = records
            return True
        del self.parked[name, key]
        if isinstance(found, Queue):
            with self._transaction(name):
                self._carry_out(name, key, hub, found)
        return True

    @contextmanager
    def _transaction(self, by: str) -> Iterator[Transaction]:
        self.open = Transaction(Pending(f"transaction {self.transactions + 1}"), by)
        yield self.open
        if self.open.said:
            self._publish(self.open.said)
        self.open = None

    def _carry_out(self, name: str, key: str, hub: Hub, decision: Decision | Queue) -> None:
        assert self.open is not None, "in a transaction"
        creators = frozenset((name,)) if decision.action == "create" else frozenset[str]()
        values = self.spokes[name].part(decision.values)
        self._write(key, decision.action, values, self.hub.rows.get(key), creators)
        written = Written(self._part(self.hub.rows.get(key), name), self.open.pending)
        if isinstance(decision, Queue):
            outcome, listed = settle_queue(name, decision, written), [one for one, _ in decision.conflicts]
        else:
            outcome, listed = settle(name, decision, hub, written), list(decision.conflicts)
        known = self.states.get(key, NO_ROW).fields
        self.states[key] = replace(outcome.state, fields={**known, **outcome.state.fields})
        self.links[name, key] = outcome.link
        self.conflicts[key] = outcome.conflict
        self.listed += [Listed(key, name, one) for one in listed]
        self._answer(key, outcome.answer)

    def _write(self, key: str, action: str, values: Row, before: Row | None, creators: frozenset[str]) -> None:
        """Write a row, and what its triggers do besides."""
        assert self.open is not None, "in a transaction"
        rows = self.hub.rows
        if action == "delete":
            del rows[key]
        elif action == "create":
            assert key not in rows
            self.hub.store(key, values)
        elif action == "update":
            self.hub.store(key, {**rows[key], **values})
        else:
            return
        stored = rows.get(key)
        row = None if stored is None else self.told(stored, None if creators else before)
        last = (before or {}) if stored is None else {}
        time = moment(self.now + self.hub.clock)
        record = HubRecord(START, row, time, self.open.pending, creators, last, origin=self.open.by)
        self.open.said.append((key, record))
        if self.side_effects:
            self.side_effects.pop(0)()

    def _answer(self, key: str, answer: Answer | None) -> None:
        assert self.open is not None, "in a transaction"
        if answer is not None:
            time = moment(self.now + self.hub.clock)
            self.open.said.append((key, _heard(answer, time, self.open.pending)))

    def send(self, name: str, most: int = 1) -> bool:
        """A spoke applies the next record of the hub's stream, folded with as many of its key as follow at once."""
        return self.spokes[name].send(self, most)

    # What an operator does

    def shown(self, key: str) -> Shown:
        hub = self.hub_at(key)
        return shown(hub.conflict, hub.state)

    def erase(self, key: str) -> bool:
        """What is kept of a row that is gone, once that is known and nothing waits; whether there was something."""
        state = self.states.get(key, NO_ROW)
        if key in self.hub.rows or self.conflicts.get(key) or any(of == key for _, of in self.parked):
            return False
        texts: Row = {name: str(value) for name, value in state.values.items()}
        left = tombstone(wire.write_state(replace(state, values=texts)))
        if left is not None:
            self.states[key] = wire.read_state(left)
        return left is not None

    def decide(self, key: str, choice: Choice, over: Shown | None = None) -> Ruling | Stale:
        hub = self.hub_at(key)
        ruling = decide(over or self.shown(key), choice, hub, moment(self.now + self.hub.clock))
        if isinstance(ruling, Ruling):
            self._rule(key, hub, ruling)
        return ruling

    def undo(
        self, key: str, ruling: Ruling, versions: Mapping[str, Position | Pending],
        rver: Position | Pending | None = None,
    ) -> Ruling | Stale:  # fmt: skip
        hub = self.hub_at(key)
        back = undo(ruling, versions, hub, moment(self.now + self.hub.clock), rver)
        if isinstance(back, Ruling):
            self._rule(key, hub, back)
        return back

    def _rule(self, key: str, hub: Hub, ruling: Ruling) -> None:
        creators = frozenset((HUB,)) if ruling.action == "create" else frozenset[str]()
        links = {name: link for (name, of), link in self.links.items() if of == key}
        with self._transaction(HUB) as ours:
            self._write(key, ruling.action, ruling.values, hub.row, creators)
            written = Written(self.hub.rows.get(key), ours.pending)
            self.states[key], self.conflicts[key], answer = override.settle(ruling, hub, links, written)
            self._answer(key, answer)

    # Until nothing is left to do

    def settle(self, most: int = 400) -> None:
        """Everything that is under way arrives; fails when it never ends."""
        for _ in range(most):
            moved = [self.observe()]
            for name in self.spokes:
                moved += [self.receive(name), self.try_again(name), self.send(name), self.spokes[name].work(self)]
            if not any(moved):
                return
        raise AssertionError("what is under way never ends")

    def open_conflicts(self) -> dict[str, OpenConflict]:
        return {key: one for key, one in self.conflicts.items() if one}

    def rows(self, key: str) -> dict[str, Row | None]:
        """By site."""
        return {"hub": self.hub.rows.get(key)} | {name: one.rows.get(key) for name, one in self.spokes.items()}
