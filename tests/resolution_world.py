"""A hub and its spokes in memory, around the real resolver: rows, triggers, clocks, streams, and nothing that decides.

Every transaction is whole or not at all, as in PostgreSQL; streams are read as late as one likes, and again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile

from connectors.postgres.two_way.erasing import tombstone
from daemon.resolve import outbound, override, wire
from daemon.resolve.conflict import NO_CONFLICT, Conflict, OpenConflict, Shown, shown
from daemon.resolve.decision import Decision, Drop, Hub, Wait, Written, settle
from daemon.resolve.inbound import receive
from daemon.resolve.inbound_queue import Queue, receive_queue, settle_queue
from daemon.resolve.interval import Interval
from daemon.resolve.interval import at as moment
from daemon.resolve.observer import observe, settle_link
from daemon.resolve.outbound import Plan
from daemon.resolve.override import Choice, Ruling, Stale, decide, undo
from daemon.resolve.records import HUB, Answer, HubRecord, Mark, SpokeRecord
from daemon.resolve.rules import Rules
from daemon.resolve.state import NO_LINK, NO_ROW, NO_SIDE, Link, Pending, RowState, Side
from daemon.resolve.values import Row, Value
from schemas.position import START, Position

SECOND = 1_000_000
Trigger = Callable[[Value], Value]


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


@dataclass
class Site:
    """One database. `clock` is how far its clock is off, in microseconds; `triggers` normalise every write."""

    name: str
    clock: int = 0
    columns: tuple[str, ...] = ()
    triggers: dict[str, Trigger] = field(default_factory=dict)
    derived: dict[str, Callable[[Row], Value]] = field(default_factory=dict)
    """Columns that a trigger makes of the others."""
    rows: dict[str, Row] = field(default_factory=dict)

    def store(self, key: str, row: Row) -> Row:
        whole = {**dict.fromkeys(self.columns), **row}
        stored = {name: self.triggers.get(name, _as_it_is)(value) for name, value in whole.items()}
        self.rows[key] = stored | {name: function(stored) for name, function in self.derived.items()}
        return self.rows[key]


@dataclass
class SpokeSite(Site):
    sides: dict[str, Side] = field(default_factory=dict)
    stream: list[tuple[str, SpokeRecord]] = field(default_factory=list)
    taken: int = 0
    """Hub records applied here."""
    received: int = 0
    """Own records that the hub has taken."""

    def tell(self, world: World, key: str, row: Row | None, /) -> None:
        """A person has changed a row."""
        self.append(key, SpokeRecord(START, row, moment(world.now + self.clock)))

    def append(self, key: str, record: SpokeRecord) -> None:
        at = Position(1, len(self.stream) + 1, 1)
        self.stream.append((key, replace(record, at=at)))

    def work(self, _: World, /) -> bool:
        """What is done beside sending, when all comes to rest."""
        return False

    def send(self, world: World, most: int) -> bool:
        if self.taken == len(world.stream):
            return False
        key, run = self.run(world, most)
        self.taken += len(run)
        current = self.rows.get(key)
        plan = outbound.plan(self.name, outbound.fold(run), self.sides.get(key, NO_SIDE), current, world.rules)
        stored = self.carry_out(key, plan, current)
        mark = self.record(key, plan, stored)
        if mark is not None:
            row = None if stored is None else world.told(stored, current)
            row = {} if plan.action == "agree" and stored is not None else row
            self.append(key, SpokeRecord(START, row, moment(world.now + self.clock), mark))
        return True

    def run(self, world: World, most: int) -> tuple[str, list[HubRecord]]:
        """The next records that are of one key."""
        key = world.stream[self.taken][0]
        ahead = world.stream[self.taken : self.taken + most]
        return key, [record for _, record in takewhile(lambda one: one[0] == key, ahead)]

    def carry_out(self, key: str, plan: Plan, current: Row | None) -> Row | None:
        if plan.action == "delete":
            del self.rows[key]
        elif plan.action in ("create", "update"):
            self.store(key, {**(current or {}), **plan.values})
        return self.rows.get(key)

    def record(self, key: str, plan: Plan, stored: Row | None) -> Mark | None:
        side = self.sides.get(key, NO_SIDE)
        self.sides[key], mark = outbound.settle(plan, side, stored)
        for name, one in self.sides[key].fields.items():
            assert name not in side.fields or one.at >= side.fields[name].at, ("an older value over a newer", key, name)
        return mark


def _heard(answer: Answer, time: Interval, pending: Pending) -> HubRecord:
    return HubRecord(
        START, answer.row, time, pending, answer=True, known=answer.known, renewed=answer.renewed, origin=answer.origin
    )


def _as_it_is(value: Value) -> Value:
    return value


class World:
    def __init__(self, spokes: Sequence[str | SpokeSite], columns: Sequence[str], rules: Rules | None = None) -> None:
        self.rules = rules or Rules()
        self.now = 1_000 * SECOND
        self.hub = Site("hub", columns=tuple(columns))
        sites = [SpokeSite(one) if isinstance(one, str) else one for one in spokes]
        self.spokes = {one.name: one for one in sites}
        for one in sites:
            one.columns = tuple(columns)
        self.states: dict[str, RowState] = {}
        self.links: dict[tuple[str, str], Link] = {}
        self.conflicts: dict[str, OpenConflict] = {}
        self.stream: list[tuple[str, HubRecord]] = []
        self.told_before: list[dict[str, int]] = []
        """By record of the hub's stream, how many each spoke had told when it was made."""
        self.observed = 0
        self.transactions = 0
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
        self._publish(key, [HubRecord(START, row, time, created_by=creators, last=last if row is None else {})])

    # Streams

    def _publish(self, key: str, records: Sequence[HubRecord]) -> None:
        self.transactions += 1
        for ordinal, one in enumerate(records, 1):
            at = Position(1, self.transactions, ordinal)
            self.stream.append((key, replace(one, at=at)))
            self.told_before.append({name: len(spoke.stream) for name, spoke in self.spokes.items()})

    def _end(self) -> Position:
        return self.stream[-1][1].at if self.stream else START

    # What the daemon does

    def observe(self) -> bool:
        """The hub reads one record of its own stream."""
        if self.observed == len(self.stream):
            return False
        key, record = self.stream[self.observed]
        self.observed += 1
        self.states[key] = observe(record, self.states.get(key, NO_ROW))
        if record.pending is not None:
            for spoke in self.spokes:
                if link := self.links.get((spoke, key)):
                    self.links[spoke, key] = settle_link(link, record.pending, record.at)
        return True

    def hub_at(self, key: str) -> Hub:
        observed = self.stream[self.observed - 1][1].at if self.observed else START
        return Hub(
            self.hub.rows.get(key), self.states.get(key, NO_ROW), observed, self._end(),
            self.conflicts.get(key, NO_CONFLICT),
        )  # fmt: skip

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
        hub = self.hub_at(key)
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
            case Decision():
                had = self.links.get((name, key), NO_LINK)
                if decision.action == "create" and had.shadow is not None and record.read is None:
                    self.revived.append(Revived(key, hub.state.time, record.time, hub.state.erased))
                if hub.state.erased and any(one.kind == "update_deleted" for one in decision.conflicts):
                    self.too_late.append((key, record.row or {}))
                self._carry_out(name, key, hub, decision)
        spoke.received += 1
        return True

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
        hub, link = self.hub_at(key), self.links.get((name, key), NO_LINK)
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
            self._carry_out(name, key, hub, found)
        return True

    def _carry_out(self, name: str, key: str, hub: Hub, decision: Decision | Queue) -> None:
        pending = Pending(f"transaction {self.transactions + 1}")
        stored = self._write(key, decision.action, decision.values)
        written = Written(stored, pending)
        if isinstance(decision, Queue):
            outcome, listed = settle_queue(name, decision, written), [one for one, _ in decision.conflicts]
        else:
            outcome, listed = settle(name, decision, hub, written), list(decision.conflicts)
        self.states[key] = outcome.state
        self.links[name, key] = outcome.link
        self.conflicts[key] = outcome.conflict
        self.listed += [Listed(key, name, one) for one in listed]
        creators = frozenset((name,)) if decision.action == "create" else frozenset[str]()
        self._publish_write(key, decision.action != "none", stored, hub.row, creators, pending, outcome.answer, name)

    def _write(self, key: str, action: str, values: Row) -> Row | None:
        rows = self.hub.rows
        if action == "delete":
            del rows[key]
        elif action == "create":
            assert key not in rows
            self.hub.store(key, values)
        elif action == "update":
            self.hub.store(key, {**rows[key], **values})
        return rows.get(key)

    def _publish_write(
        self, key: str, wrote: bool, stored: Row | None, before: Row | None, creators: frozenset[str],
        pending: Pending, answer: Answer | None, origin: str,
    ) -> None:  # fmt: skip
        time = moment(self.now + self.hub.clock)
        records = []
        if wrote:
            row = None if stored is None else self.told(stored, None if creators else before)
            last = (before or {}) if stored is None else {}
            records.append(HubRecord(START, row, time, pending, creators, last, origin=origin))
        if answer is not None:
            records.append(_heard(answer, time, pending))
        if records:
            self._publish(key, records)

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
        left = tombstone(wire.write_state(replace(state, values={})))
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
        pending = Pending(f"transaction {self.transactions + 1}")
        stored = self._write(key, ruling.action, ruling.values)
        links = {name: link for (name, of), link in self.links.items() if of == key}
        self.states[key], self.conflicts[key], answer = override.settle(ruling, hub, links, Written(stored, pending))
        creators = frozenset((HUB,)) if ruling.action == "create" else frozenset[str]()
        self._publish_write(key, ruling.action != "none", stored, hub.row, creators, pending, answer, HUB)

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
