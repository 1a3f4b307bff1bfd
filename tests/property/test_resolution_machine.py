"""Whatever people do on all sides, whenever it arrives: the sides end equal, and nobody's edit is lost unseen."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from daemon.resolve.conflict import OpenConflict, Shown
from daemon.resolve.override import Choice, Stale
from daemon.resolve.rules import FieldRule, Rule, Rules
from daemon.resolve.values import Row, Value
from tests.resolution_ledger import Ledger
from tests.resolution_service import ServiceSite
from tests.resolution_sites import SECOND, SpokeSite
from tests.resolution_world import World

SPOKES = ("ledger", "archive")
SITES = ("hub", *SPOKES)
KEYS = ("1", "2")
NOWHERE = "none"
UNWELCOME = "unwelcome"
COLUMNS = ("name", "note", "tags", "shown", "made", "slug", "trace")
SKEW = 2 * SECOND
Machines = tuple[str, str, str]
"""Where a trigger normalises names, sorts tags, makes the slug."""

sites = st.sampled_from(SITES)
spokes = st.sampled_from(SPOKES)
keys = st.sampled_from(("1", "1", "2"))
clocks = st.sampled_from((-SECOND, 0, SECOND))
triggers = st.sampled_from((NOWHERE, NOWHERE, "hub", *SPOKES))


def upper(value: Value) -> Value:
    return value.upper() if isinstance(value, str) else value


def in_order(value: Value) -> Value:
    return sorted(value, key=str) if isinstance(value, list) else value


def slug(row: Row) -> Value:
    return f"slug of {row['name']}".lower()


class Resolution(RuleBasedStateMachine):
    """`made` is given when a row is made, and never again; `tags` is a set; `shown` is the hub's alone; `slug` is what
    a trigger makes of the name, on one side; `trace` is what a trigger of the hub writes into rows beside others.
    """

    world: World
    ledger: Ledger
    given = 0
    polled = False
    """Whether the archive is a service without a stream."""

    @initialize(
        name=st.sampled_from(("latest", "latest", "hub", "target")),
        note=st.sampled_from(("latest", "manual")),
        machines=st.tuples(triggers, triggers, triggers),
        offsets=st.tuples(clocks, clocks, clocks),
        apart=st.sampled_from((frozenset[str](), frozenset({"note", "slug"}))),
        lacks=st.sampled_from((frozenset[str](), frozenset({"note", "trace"}))),
    )
    def begin(
        self, name: Rule, note: Rule, machines: Machines, offsets: tuple[int, ...], apart: frozenset[str],
        lacks: frozenset[str],
    ) -> None:  # fmt: skip
        rules = {
            "name": FieldRule(name),
            "note": FieldRule(note),
            "tags": FieldRule("merge"),
            "shown": FieldRule(outward=True),
        }
        ledger, archive = SPOKES
        other = ServiceSite(archive) if self.polled else SpokeSite(archive, lacks=lacks)
        self.world = World([ledger, other], COLUMNS, Rules(rules, SKEW))
        self.ledger = Ledger(self.world)
        for site, clock in zip(SITES, offsets, strict=True):
            self.world.site(site).clock = clock
        normaliser, sorter, deriver = machines
        self._trigger(normaliser, "name", upper)
        self._trigger(sorter, "tags", in_order)
        if deriver != NOWHERE:
            self.world.site(deriver).derived["slug"] = slug
        self.looked: dict[str, tuple[Shown, set[str], OpenConflict]] = {}
        self.world.apart = apart
        self.world.unwelcome = frozenset({UNWELCOME})
        self._make("hub", "1")
        self.world.settle()

    def _trigger(self, site: str, column: str, function: Callable[[Value], Value]) -> None:
        if site != NOWHERE:
            self.world.site(site).triggers[column] = function

    def _value(self) -> str:
        self.given += 1
        return f"v{self.given}"

    def _make(self, site: str, key: str) -> None:
        self.ledger.edit(
            site, key, name=self._value(), note=self._value(), tags=[self._value()], shown=self._value(),
            made=self._value(),
        )  # fmt: skip

    # What people do

    @rule(site=sites, key=keys, column=st.sampled_from(("name", "name", "note", "shown")), again=st.integers(0, 5))
    def edit(self, site: str, key: str, column: str, again: int) -> None:
        if key not in self.world.site(site).rows:
            self._make(site, key)
            return
        self.ledger.edit(site, key, **{column: "same" if again == 0 else self._value()})

    @rule(one=sites, other=sites, key=keys, column=st.sampled_from(("name", "note", "shown")), alike=st.booleans())
    def edit_twice(self, one: str, other: str, key: str, column: str, alike: bool) -> None:
        """Two people at about the same time."""
        value = self._value()
        for site in (one, other):
            if key in self.world.site(site).rows:
                self.ledger.edit(site, key, **{column: value if alike else self._value()})

    @rule(site=spokes, key=keys)
    def edit_unwelcome(self, site: str, key: str) -> None:
        """A constraint of the hub keeps it out, and what comes behind it waits until somebody has corrected it."""
        row = self.world.site(site).rows.get(key)
        if row is not None and upper(row["name"]) != UNWELCOME.upper():
            self.ledger.edit(site, key, name=UNWELCOME)

    @rule(site=sites, other=sites, key=keys, column=st.sampled_from(("name", "note", "note")))
    def say_the_same(self, site: str, other: str, key: str, column: str) -> None:
        """Somebody types what stands elsewhere."""
        row, there = self.world.site(site).rows.get(key), self.world.site(other).rows.get(key)
        if row is not None and there is not None and column in there:
            self.ledger.edit(site, key, **{column: there[column]})

    @rule(site=sites, key=keys)
    def edit_several(self, site: str, key: str) -> None:
        if key in self.world.site(site).rows:
            self.ledger.edit(site, key, name=self._value(), note=self._value(), shown=self._value())

    @rule(site=sites, key=keys, remove=st.booleans())
    def tag(self, site: str, key: str, remove: bool) -> None:
        row = self.world.site(site).rows.get(key)
        if row is None:
            return
        tags = row["tags"]
        assert isinstance(tags, list)
        self.ledger.edit(site, key, tags=tags[1:] if remove else [*tags, self._value()])

    @rule(site=sites, key=keys)
    def delete(self, site: str, key: str) -> None:
        if key in self.world.site(site).rows:
            self.ledger.delete(site, key)

    @rule(one=sites, other=sites, key=keys, seconds=st.sampled_from((0, 1, 10)), first=st.booleans())
    def edit_and_delete(self, one: str, other: str, key: str, seconds: float, first: bool) -> None:
        """Somebody edits a row, and somebody else deletes it, not long before or after."""
        if any(key not in self.world.site(site).rows for site in (one, other)):
            return
        if first:
            self.ledger.edit(one, key, name=self._value())
        if one != other or first:
            self.world.pass_time(seconds)
            self.ledger.delete(other, key)
        if not first:
            self.world.pass_time(seconds)
            if key in self.world.site(one).rows:
                self.ledger.edit(one, key, name=self._value())

    @rule(seconds=st.sampled_from((0.5, 1.5, 3, 10)))
    def pass_time(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    # What the daemon does, early or late, once or again

    @rule(records=st.integers(1, 4))
    def observe(self, records: int) -> None:
        for _ in range(records):
            self.world.observe()

    @rule(spoke=spokes, records=st.integers(1, 3), queued=st.booleans(), late=st.booleans())
    def receive(self, spoke: str, records: int, queued: bool, late: bool) -> None:
        for _ in range(records):
            self._listed(lambda: self.world.receive(spoke, queued=queued, late=late))

    @rule(
        spoke=spokes, records=st.integers(1, 5),
        effects=st.lists(st.tuples(st.sampled_from(("none", "trace", "empty", "remove", "make")), keys), max_size=3),
    )  # fmt: skip
    def receive_together(self, spoke: str, records: int, effects: list[tuple[str, str]]) -> None:
        self.world.side_effects = [partial(self._trigger_beside, *one) for one in effects]
        self._listed(lambda: self.world.receive_together(spoke, records))
        self.world.side_effects = []

    def _trigger_beside(self, effect: str, key: str) -> None:
        there = key in self.world.hub.rows
        if effect == "trace" and there:
            self.world.edit("hub", key, trace=self._value())
        elif effect == "empty" and there:
            self.ledger.triggers_empty(key, "note")
        elif effect == "remove" and there:
            self.ledger.triggers_remove(key)
        elif effect == "make" and not there:
            names = ("name", "note", "shown", "made")
            self.ledger.triggers_make(key, {name: self._value() for name in names} | {"tags": [self._value()]})

    @rule(spoke=spokes, records=st.integers(1, 4), folded=st.booleans())
    def send(self, spoke: str, records: int, folded: bool) -> None:
        for _ in range(1 if folded else records):
            self.world.send(spoke, records if folded else 1)

    @rule(spoke=spokes, back=st.integers(1, 3))
    def deliver_again(self, spoke: str, back: int) -> None:
        site = self.world.spokes[spoke]
        site.received = max(0, site.received - back)

    @rule(spoke=spokes, back=st.integers(1, 3))
    def replay(self, spoke: str, back: int) -> None:
        site = self.world.spokes[spoke]
        site.taken = max(0, site.taken - back)

    @rule()
    def come_to_rest(self) -> None:
        self._listed(self.world.settle)
        self._check_waiting()

    @rule(key=keys)
    def erase(self, key: str) -> None:
        self.world.erase(key)

    @rule(spoke=spokes, key=keys, seconds=st.sampled_from((1, 10)))
    def edit_what_is_erased(self, spoke: str, key: str, seconds: float) -> None:
        """Somebody deletes a row at the hub, it is erased, and a spoke that has not heard of it changes it."""
        if key in self.world.hub.rows:
            self.ledger.delete("hub", key)
        while self.world.observe():
            pass
        self.world.erase(key)
        self.world.pass_time(seconds)
        if key in self.world.site(spoke).rows:
            self.ledger.edit(spoke, key, name=self._value())

    @precondition(lambda self: self.world.open_conflicts())
    @rule(data=st.data())
    def look(self, data: st.DataObject) -> None:
        """Somebody opens a conflict, and decides later."""
        self._look(data.draw(st.sampled_from(sorted(self.world.open_conflicts()))))

    @precondition(lambda self: self.world.open_conflicts())
    @rule(data=st.data(), at_hub=st.booleans())
    def give_in(self, data: st.DataObject, at_hub: bool) -> None:
        """Somebody makes one side what the other is, and does not ask us."""
        self._give_in(data.draw(st.sampled_from(sorted(self.world.open_conflicts()))), at_hub)

    def _give_in(self, key: str, at_hub: bool) -> None:
        conflict, row = self.world.conflicts[key], self.world.hub.rows.get(key)
        spoke = min(conflict.spokes)
        site = "hub" if at_hub else spoke
        there = self.world.site(site).rows.get(key)
        if there is not None and (row is None or (at_hub and spoke in conflict.deletions)):
            self.ledger.delete(site, key)
        elif there is not None and row is not None:
            values = {name: one.value if at_hub else row[name] for name, one in conflict.of(spoke).items()}
            self.ledger.edit(site, key, **values)

    @precondition(lambda self: self.looked)
    @rule(data=st.data(), pick=st.sampled_from(("hub", "spoke", "another", "delete")))
    def decide(self, data: st.DataObject, pick: str) -> None:
        self._decide(data.draw(st.sampled_from(sorted(self.looked))), pick)

    def _look(self, key: str) -> None:
        self.looked[key] = self.world.shown(key), self.ledger.seen(key), self.world.conflicts[key]

    def _decide(self, key: str, pick: str) -> bool:
        over, seen, conflict = self.looked.pop(key)
        values = self._choice(key, pick, conflict) if pick != "delete" else {}
        if isinstance(self.world.decide(key, Choice(values, row=pick != "delete"), over), Stale):
            return False
        self.ledger.rule(key, seen, values)
        assert not self.world.conflicts[key]
        return True

    def _choice(self, key: str, pick: str, conflict: OpenConflict) -> Row:
        row = self.world.hub.rows.get(key)
        values: dict[str, Value] = {}
        for own in conflict.fields.values():
            for name, candidate in own.items():
                if pick == "spoke":
                    values[name] = candidate.value
                elif pick == "another" and name != "slug":  # what a trigger derives is not typed
                    values[name] = self._value()
                elif pick == "hub" and row is not None:
                    values[name] = row[name]
        return values

    def _listed(self, act: Callable[[], object]) -> None:
        known, revived = len(self.world.listed), len(self.world.revived)
        act()
        for back in self.world.revived[revived:]:
            assert back.updated.after(back.deleted, SKEW), ("an older update has brought back a deleted row", back)
            assert not back.erased, ("an edit of its former life has brought back a row that was erased", back)
        for one in self.world.listed[known:]:
            self.ledger.check_listed(one, SKEW)

    # In the end

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        self._rest()
        self.ledger.check_end(SKEW)
        self._probe()

    def _rest(self) -> None:
        """Everything arrives, and people decide what waits for them; that may lead to more."""
        for picks in range(20):
            self._listed(self.world.settle)
            self._check_waiting()
            waiting = sorted(self.world.open_conflicts())
            for spoke, key in self.world.parked:
                self.ledger.edit(spoke, key, name=self._value())
            if not waiting and not self.world.parked:
                return
            for key in waiting:
                if (how := (self.given + picks) % 5) > 2:
                    self._give_in(key, how == 3)
                    continue
                self._look(key)
                assert self._decide(key, ("hub", "spoke", "another")[how]), "nothing is under way"
        raise AssertionError("people decide for ever")

    def _check_waiting(self) -> None:
        """At rest, what waits in a spoke is what it has, and the hub has something else; but where the hub has refused
        what the spoke did since."""
        for key, conflict in self.world.open_conflicts().items():
            hub = self.world.hub.rows.get(key)
            assert not conflict.deletions or hub is not None, ("both have deleted a row that waits", key, conflict)
            for spoke, own in conflict.fields.items():
                if (spoke, key) in self.world.parked:
                    continue
                row = self.world.spokes[spoke].rows.get(key)
                assert row is not None, ("what waits is not there any more", key, conflict)
                for name, one in own.items():
                    assert row[name] == one.value, ("another value waits", key, name, one, row)
                    assert hub is None or hub[name] != one.value, ("both have what waits", key, name, one)
            made = [one for one in conflict.deletions if key in self.world.spokes[one].rows]
            assert all((one, key) in self.world.parked for one in made), ("made again", key)

    def _probe(self) -> None:
        """Every side is believed to have what it has: a change of any row, anywhere, meets no conflict, at any time."""
        first, second = SPOKES
        for site, column in ((first, "name"), (second, "note"), ("hub", "name"), (first, "note"), (second, "name")):
            listed = len(self.world.listed)
            for key in sorted(self.world.hub.rows):
                self.ledger.edit(site, key, **{column: self._value()})
            self._no_conflict(listed)
        listed = len(self.world.listed)
        for site, key in ((first, "1"), (second, "2")):
            if key in self.world.hub.rows:
                self.ledger.delete(site, key)
        self._no_conflict(listed)
        assert not any(site.rows for site in (self.world.hub, *self.world.spokes.values()))

    def _no_conflict(self, listed: int) -> None:
        self._listed(self.world.settle)
        found = [one for one in self.world.listed[listed:] if one.conflict.resolution != "skip"]
        assert not found, ("a conflict where there is none", found)
        for key in KEYS:
            self.ledger.check_equal(key)


class ServiceResolution(Resolution):
    """The archive is polled, and the daemon may die between any two steps of a request."""

    polled = True

    @property
    def service(self) -> ServiceSite:
        site = self.world.spokes[SPOKES[1]]
        assert isinstance(site, ServiceSite)
        return site

    @rule()
    def fetch(self) -> None:
        self.service.fetch(self.world)

    @rule(reads=st.integers(1, 2))
    def deliver(self, reads: int) -> None:
        for _ in range(reads):
            self.service.deliver()

    @rule(steps=st.integers(1, 3))
    def request(self, steps: int) -> None:
        for _ in range(steps):
            self.service.send(self.world, 1)

    @rule()
    def crash(self) -> None:
        self.service.crash()


# A fault is shown as it was found, in seconds; the long runs shorten it, which may take minutes.
QUICK = settings(
    max_examples=300, stateful_step_count=30, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck),
    report_multiple_bugs=False, phases=(Phase.explicit, Phase.generate),
)  # fmt: skip
LONG = settings(QUICK, max_examples=1_500, stateful_step_count=60, derandomize=False, phases=tuple(Phase))


def test_whatever_people_do_all_sides_end_equal_and_no_edit_is_lost_unseen() -> None:
    run_state_machine_as_test(Resolution, settings=QUICK)


def test_a_service_that_is_polled_ends_equal_too_wherever_the_daemon_dies() -> None:
    run_state_machine_as_test(ServiceResolution, settings=settings(QUICK, max_examples=50))


@pytest.mark.long
@pytest.mark.timeout(7_200)
@pytest.mark.parametrize("machine", [Resolution, ServiceResolution])
def test_all_sides_end_equal_for_as_long_as_one_has_time(machine: type[Resolution]) -> None:
    run_state_machine_as_test(machine, settings=LONG)
