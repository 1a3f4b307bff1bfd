"""Where a person looks at what waits at a hub, decides it, and takes a decision back."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from connectors.conflicts import Decision, Done, Key, Order, Refusal, Rulings, Waiting, Waitlist
from daemon.config.route import Route
from daemon.config.settings import Settings
from daemon.conflicts.decided_over import closed, newest_decision, nothing_to_undo
from daemon.conflicts.titles import refused_id, title, title_columns
from daemon.errors import OperatorError
from daemon.resolve.override import Choice
from daemon.resolve.ruling import Case, Decided, Resolving, Undoing, read_case
from schemas.resolution import Fields

LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Shown:
    """One conflict as a person sees it; `sides` are all spokes that have such rows, `rules` are by spoke and field."""

    waiting: Waiting
    case: Case
    title: str | None
    sides: Sequence[str]
    rules: Mapping[str, Mapping[str, str]]

    @property
    def key(self) -> Key:
        return self.waiting.table_name, self.waiting.key


@dataclass(frozen=True, slots=True)
class Before:
    """A decision that can be taken back, and the row as it is."""

    decision: Decision
    decided: Decided
    case: Case


@dataclass(frozen=True, slots=True)
class Refused:
    """What the hub does not take: the newest of what waits, None where that deletes the row, and the hub's own row,
    None where it has none."""

    refusal: Refusal
    title: str | None
    queued: Fields | None
    row: Fields | None


class Desk:
    """At one hub. Every method raises Unavailable when the hub does not answer."""

    def __init__(self, settings: Settings, hub: str, rulings: Rulings, waitlist: Waitlist) -> None:
        self.settings = settings
        self.hub = hub
        self.rulings = rulings
        self.waitlist = waitlist
        self._titles = title_columns(settings, hub)

    def titles(self, some: Sequence[Waiting | Refusal], *, of_routes: bool = False) -> dict[Key, str | None]:
        """What rows are called; of one that is gone, what it was called, and of one that never came, what its spoke
        calls it. `of_routes`: only where the route says what names a row, and no value of another field."""
        told = {
            (one.table_name, one.key): one.row if isinstance(one, Refusal) else None
            for one in some
            if not of_routes or one.table_name in self._titles
        }
        rows = self.rulings.rows(list(told))
        return {key: self._title(key, rows.get(key) or self._case(key).known or own or {}) for key, own in told.items()}

    def refused(self, number: int) -> Refused:
        """By the number of `placemat dlq`. Raises OperatorError when the hub refuses nothing under it."""
        one = self.waitlist.refusals.find(number)
        if one is None:
            raise OperatorError(
                f"The hub refuses nothing under {refused_id(number)}: it was taken since, or discarded.",
                "placemat conflicts list shows what waits.",
            )
        key = one.table_name, one.key
        queued = None if one.row is None else self.rulings.as_here(one.table_name, one.row)
        return Refused(one, self.titles([one])[key], queued, self.rulings.rows([key]).get(key))

    def show(self, conflict_id: int) -> Shown:
        """Raises OperatorError when there is none."""
        found = self.waitlist.find(conflict_id)
        if found is None:
            raise OperatorError(f"There is no conflict {conflict_id}.", "placemat conflicts list shows those that are.")
        return self._shown(found)

    def look(self, conflict_id: int, seconds: float) -> Shown:
        """As `show`, of one that waits, once all of its row is known; that is waited for so long.

        Raises OperatorError when it does not wait, or is not known in time.
        """
        deadline = time.monotonic() + seconds
        while True:
            shown = self.show(conflict_id)
            if not shown.waiting.waits:
                raise closed(shown.waiting, self.waitlist.decisions(conflict_id))
            if not self.rulings.fields(shown.key[0]):
                raise OperatorError(
                    f"{shown.key[0]} does not go both ways any more: its conflicts cannot be decided.",
                    "Route it both ways again, or leave them.",
                )
            if shown.case.observed:
                return shown
            self._until(deadline, conflict_id)

    def resolve(self, shown: Shown, choice: Choice, order: Order) -> Done | None:
        """None: it has changed since it was shown. Raises OperatorError where the hub refuses the row."""
        return self.rulings.rule(order, Resolving(choice, shown.case.seen))

    def decided(self, conflict_id: int, seconds: float) -> Before:
        """The newest decision that was not taken back. Raises OperatorError where there is none to take back."""
        deadline = time.monotonic() + seconds
        key = self.show(conflict_id).key
        while True:
            case = self._case(key)  # before the decisions: one that is taken back meanwhile is told as that
            newest = newest_decision(conflict_id, self.waitlist.decisions(conflict_id))
            decided = read_decided(newest)
            if not decided.changed:
                raise nothing_to_undo(newest)
            if case.observed:
                return Before(newest, decided, case)
            self._until(deadline, conflict_id)

    def undo(self, before: Before, order: Order) -> Done | None:
        """None: what was decided has changed since."""
        return self.rulings.rule(order, Undoing(before.decided))

    def _shown(self, found: Waiting) -> Shown:
        key = found.table_name, found.key
        case = self._case(key)
        row: Fields = {**case.known, **self._candidates(case)} if case.row is None else case.known
        routed = {one for one in self.settings.spokes(self.hub) if self._route(one, key[0]) is not None}
        sides = sorted(routed | case.conflict.spokes)
        return Shown(found, case, self._title(key, row), sides, self._rules(key[0], case))

    def _case(self, key: Key) -> Case:
        known = self.rulings.known(key)
        return read_case(known.at, known.links)

    def _route(self, spoke: str, table: str) -> Route | None:
        target = self.settings.targets.get(spoke)
        route = target.tables.get(table) if target is not None else None
        return route if route is not None and route.both_ways else None

    def _candidates(self, case: Case) -> dict[str, str | None]:
        return {name: case.value(spoke, name) for spoke, own in case.conflict.fields.items() for name in own}

    def _rules(self, table: str, case: Case) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = {}
        for spoke, own in case.conflict.fields.items():
            if (route := self._route(spoke, table)) is not None:
                found[spoke] = {name: route.rules.get(name, route.rule) for name in own}
        return found

    def _title(self, key: Key, row: Fields) -> str | None:
        return title(row, self._titles.get(key[0]))

    def _until(self, deadline: float, conflict_id: int) -> None:
        if time.monotonic() > deadline:
            raise OperatorError(
                f"The hub's own changes are not all known yet: the row of conflict {conflict_id} was changed just now.",
                f"See that apply:{self.settings.hubs[self.hub]} runs (placemat status), then try again.",
            )
        time.sleep(LOOK_SECONDS)


def read_decided(decision: Decision) -> Decided:
    return Decided(
        decision.action, decision.keeps_row, json.loads(decision.fields), json.loads(decision.before), decision.version
    )
