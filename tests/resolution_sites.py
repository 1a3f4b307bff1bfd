"""The databases of a world in memory: what one stores, and how a spoke takes what the hub publishes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import TYPE_CHECKING

from daemon.resolve import outbound
from daemon.resolve.interval import at as moment
from daemon.resolve.outbound import Plan
from daemon.resolve.records import HubRecord, Mark, SpokeRecord
from daemon.resolve.state import NO_SIDE, Side
from daemon.resolve.values import Row, Value
from schemas.position import START, Position

if TYPE_CHECKING:
    from tests.resolution_world import World

SECOND = 1_000_000
Trigger = Callable[[Value], Value]


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
    """`lacks` are columns that it does not have."""

    lacks: frozenset[str] = frozenset()

    sides: dict[str, Side] = field(default_factory=dict)
    stream: list[tuple[str, SpokeRecord]] = field(default_factory=list)
    taken: int = 0
    """Hub records applied here."""
    received: int = 0
    """Own records that the hub has taken."""

    def part(self, row: Row) -> Row:
        """Of a hub's row, what it has."""
        return {name: value for name, value in row.items() if name not in self.lacks}

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
        plan = outbound.plan(
            self.name, outbound.fold(self.name, run), self.sides.get(key, NO_SIDE), current, world.rules
        )
        stored = self.carry_out(key, plan, current)
        mark = self.record(key, plan, stored)
        if mark is not None:
            row = None if stored is None else world.told(stored, current)
            row = {} if plan.action == "agree" and stored is not None else row
            self.append(key, SpokeRecord(START, row, moment(world.now + self.clock), mark))
        return True

    def run(self, world: World, most: int) -> tuple[str, list[HubRecord]]:
        """The next records that are of one key, whole transactions of them."""
        key, ahead = world.stream[self.taken][0], world.stream[self.taken :]
        run = [self._shown(record) for _, record in takewhile(lambda one: one[0] == key, ahead)]
        while most < len(run) and run[most].at[:2] == run[most - 1].at[:2]:
            most += 1
        return key, run[:most]

    def _shown(self, record: HubRecord) -> HubRecord:
        """Events come by the route; answers tell the whole row."""
        if record.row is None or record.answer:
            return record
        return replace(record, row=self.part(record.row))

    def carry_out(self, key: str, plan: Plan, current: Row | None) -> Row | None:
        if plan.action == "delete":
            del self.rows[key]
        elif plan.action in ("create", "update"):
            self.store(key, {**(current or {}), **self.part(plan.values)})
        return self.rows.get(key)

    def record(self, key: str, plan: Plan, stored: Row | None) -> Mark | None:
        side = self.sides.get(key, NO_SIDE)
        self.sides[key], mark = outbound.settle(plan, side, stored)
        for name, one in self.sides[key].fields.items():
            assert name not in side.fields or one.at >= side.fields[name].at, ("an older value over a newer", key, name)
        return mark


def _as_it_is(value: Value) -> Value:
    return value
