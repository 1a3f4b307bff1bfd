"""A spoke that is a service: no stream, no transactions, times by row and minute; versions to compare and set."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

from daemon.resolve import outbound
from daemon.resolve.intent import Intent, recover, told
from daemon.resolve.interval import Interval
from daemon.resolve.interval import at as moment
from daemon.resolve.records import SpokeRecord
from daemon.resolve.state import NO_SIDE
from daemon.resolve.values import Row
from schemas.position import START
from tests.resolution_sites import SECOND, SpokeSite
from tests.resolution_world import World

MINUTE = 60 * SECOND


@dataclass(frozen=True, slots=True)
class Open:
    """What is stored before a request: for which version of the row, and which hub records it covers."""

    key: str
    intent: Intent
    version: int
    resumes: int


@dataclass
class ServiceSite(SpokeSite):
    """Sides, `seqs` and the open intent outlive a crash of the daemon; what was read and answered does not."""

    versions: Counter[str] = field(default_factory=Counter)
    changed: dict[str, int] = field(default_factory=dict)
    dirty: set[str] = field(default_factory=set)
    seqs: Counter[str] = field(default_factory=Counter)
    opened: Open | None = None
    reads: list[tuple[str, SpokeRecord]] = field(default_factory=list)
    requested: bool | None = None
    """Whether the request was made; None: nobody knows."""
    answered: Row | None = None
    unsure: frozenset[str] = frozenset()
    published: bool = False
    uncertain: set[str] = field(default_factory=set)
    """Keys whose intent was open in a crash."""

    def tell(self, world: World, key: str, _: Row | None, /) -> None:
        self._touch(world, key)

    def _touch(self, world: World, key: str) -> None:
        self.versions[key] += 1
        self.changed[key] = (world.now + self.clock) // MINUTE * MINUTE
        self.dirty.add(key)

    def crash(self) -> None:
        self.dirty |= {key for key, _ in self.reads}
        self.reads = []
        if self.opened is not None:
            self.uncertain.add(self.opened.key)
            self.requested, self.answered, self.unsure, self.published = None, None, frozenset(), False

    # Reading

    def work(self, world: World, /) -> bool:
        return any([self.fetch(world), self.deliver()])

    def fetch(self, world: World) -> bool:
        """Read a row that has changed; it is published later. None while an intent for it is open."""
        due = sorted(key for key in self.dirty if self.opened is None or self.opened.key != key)
        for key in due[:1]:
            self.dirty.discard(key)
            self.reads.append((key, self._read(world, key)))
        return bool(due)

    def deliver(self) -> bool:
        """Publish what was read first."""
        if not self.reads:
            return False
        self.append(*self.reads.pop(0))
        return True

    def _read(self, world: World, key: str) -> SpokeRecord:
        row, latest = self.rows.get(key), world.now
        self.seqs[key] += 1
        if row is not None:
            latest = min(latest, self.changed[key] + MINUTE)
        return SpokeRecord(START, row, Interval(latest, latest), read=world.now, seq=self.seqs[key])

    # Writing, one step at a time

    def send(self, world: World, most: int) -> bool:
        if self.opened is None:
            return self.taken < len(world.stream) and self._intend(world, most)
        if self.requested is None:
            self._recover(world, self.opened)
        elif not self.requested:
            self._request(world, self.opened)
        elif not self.published:
            self._publish(world, self.opened)
        else:
            self._record(self.opened)
        return True

    def _intend(self, world: World, most: int) -> bool:
        key, run = self.run(world, most)
        current, rules = self.rows.get(key), replace(world.rules, polled=True)
        plan = outbound.plan(self.name, outbound.fold(self.name, run), self.sides.get(key, NO_SIDE), current, rules)
        if plan.held or plan.action in ("hold", "born"):
            self.append(key, replace(self._read(world, key), report=plan.held))
        opened = Open(key, Intent(plan, current), self.versions[key], self.taken + len(run))
        if plan.action in ("create", "update", "delete"):
            self.opened, self.requested = opened, False
            return True
        mark = self.record(key, plan, current)
        if mark is not None:
            self.seqs[key] += 1
            self.dirty.add(key)
            row = told(opened.intent, current)
            self.append(key, SpokeRecord(START, row, moment(world.now), mark, seq=self.seqs[key]))
        self.taken = opened.resumes
        return True

    def _request(self, world: World, opened: Open) -> None:
        if self.versions[opened.key] != opened.version:
            self.opened = None
            return
        self.answered = self.carry_out(opened.key, opened.intent.plan, opened.intent.before)
        self._touch(world, opened.key)
        self.requested = True

    def _publish(self, world: World, opened: Open) -> None:
        _, mark = outbound.settle(opened.intent.plan, self.sides.get(opened.key, NO_SIDE), self.answered)
        self.seqs[opened.key] += 1
        row, seq = told(opened.intent, self.answered), self.seqs[opened.key]
        self.append(opened.key, SpokeRecord(START, row, moment(world.now), mark, seq=seq, unsure=self.unsure))
        self.published = True

    def _record(self, opened: Open) -> None:
        self.record(opened.key, opened.intent.plan, self.answered)
        self.dirty.add(opened.key)
        self.taken = opened.resumes
        self.opened, self.answered, self.unsure, self.published = None, None, frozenset(), False

    def _recover(self, world: World, opened: Open) -> None:
        """A version that has not moved tells that nothing was done."""
        found = recover(opened.intent, self.rows.get(opened.key))
        if self.versions[opened.key] == opened.version or found.kind == "undone":
            self.opened = None
        elif found.kind == "unsure":
            self.append(opened.key, replace(self._read(world, opened.key), report=found.unsure, unsure=found.unsure))
            self.opened = None
        else:
            self.requested, self.answered, self.unsure = True, found.response, found.unsure
