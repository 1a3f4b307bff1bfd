"""For a person at the hub: what waits, as they are shown it, and what they decide, in the texts that are stored."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from daemon.resolve import override, wire
from daemon.resolve.conflict import OpenConflict, Shown, shown
from daemon.resolve.decision import Hub, Written
from daemon.resolve.interval import at
from daemon.resolve.inward import read_hub
from daemon.resolve.override import Choice, Ruling, Stale
from daemon.resolve.state import Link, Pending, RowState, contains
from schemas.resolution import AtHub, Fields, Kept


@dataclass(frozen=True, slots=True)
class Case:
    """One key at the hub, with what waits there, and what is known of it in each spoke."""

    hub: Hub
    links: Mapping[str, Link]

    @property
    def conflict(self) -> OpenConflict:
        return self.hub.conflict

    @property
    def row(self) -> Fields | None:
        """The hub's."""
        return None if self.hub.row is None else wire.texts(self.hub.row)

    @property
    def known(self) -> Fields:
        """The hub's row, or what it held last."""
        return wire.texts(self.hub.state.values) if self.hub.row is None else wire.texts(self.hub.row)

    @property
    def fields(self) -> list[str]:
        """Those that wait, in the order of the row."""
        waiting = {name for own in self.conflict.fields.values() for name in own}
        return sorted(waiting, key=lambda name: (list(self.known).index(name) if name in self.known else 0, name))

    def value(self, side: str, name: str) -> str | None:
        """What a side has there: a spoke without a candidate has what the hub has."""
        candidate = self.conflict.of(side).get(name)
        return self.known.get(name) if candidate is None else wire.text(candidate.value)

    def has_row(self, side: str) -> bool:
        """Whether a side has the row: a spoke that says nothing else has what the hub has."""
        if side in self.conflict.deletions:
            return False
        return bool(self.conflict.of(side)) or self.hub.row is not None

    @property
    def observed(self) -> bool:
        """Whether the hub's own stream has shown the row as it is, and where each of its versions stands there."""
        state = self.hub.state
        versions = [state.rver, *(each for one in state.fields.values() for each in (one.ver, one.pos))]
        return override.observed(self.hub) and not any(isinstance(one, Pending) for one in versions)

    @property
    def seen(self) -> str:
        """Stands for all that a decision rests on: one over anything else is refused."""
        return seen(shown(self.conflict, self.hub.state))


def read_case(hub: AtHub, links: Mapping[str, str]) -> Case:
    return Case(read_hub(hub), {spoke: wire.read_link(link) for spoke, link in links.items()})


def seen(over: Shown) -> str:
    parts = [str(over.revision), repr(over.rver), *(f"{name} {one!r}" for name, one in sorted(over.versions.items()))]
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=6).hexdigest()


@dataclass(frozen=True, slots=True)
class Ruled:
    """See `connectors.conflicts.Ruled`."""

    ruling: Ruling
    hub: Hub

    @property
    def action(self) -> Literal["none", "create", "update", "delete"]:
        return self.ruling.action

    @property
    def values(self) -> Fields:
        return wire.texts(self.ruling.values)

    @property
    def outcome(self) -> str:
        """For the audit."""
        return "decided" if self.ruling.tells else "undone"

    @property
    def fields(self) -> Fields:
        return wire.texts(self.ruling.fields)

    @property
    def keeps_row(self) -> bool:
        return self.ruling.row

    @property
    def before(self) -> Fields:
        return wire.texts(self.ruling.before)


class _Settling:
    def settle(
        self, table: str, key: str, ruled: Ruled, links: Mapping[str, str], stored: Fields | None, mark: str
    ) -> Kept:
        known = {spoke: wire.read_link(link) for spoke, link in links.items()}
        written = Written(stored, Pending(mark))
        state, conflict, answer = override.settle(ruled.ruling, ruled.hub, known, written)
        return Kept(
            wire.write_state(state), None, None if conflict == ruled.hub.conflict else wire.write_conflict(conflict),
            wire.write_answer(table, key, answer), waits=bool(conflict),
        )  # fmt: skip


class Resolving(_Settling):
    """Decides what waits. `over` is `Case.seen` as the person was shown it."""

    def __init__(self, choice: Choice, over: str) -> None:
        self._choice = choice
        self._over = over

    def decide(self, hub: AtHub, now: int) -> Ruled | None:
        found = read_hub(hub)
        over = shown(found.conflict, found.state)
        if not found.conflict or seen(over) != self._over:
            return None
        ruling = override.decide(over, self._choice, found, at(now))
        return None if isinstance(ruling, Stale) else Ruled(ruling, found)


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision as `placemat.decisions` has it. `version` is that of what it has changed, as JSON."""

    action: Literal["none", "create", "update", "delete"]
    keeps_row: bool
    fields: Fields
    before: Fields
    version: str

    @property
    def changed(self) -> bool:
        """Whether it has changed anything at the hub."""
        return self.action != "none"


class Undoing(_Settling):
    """Takes a decision back."""

    def __init__(self, decided: Decided) -> None:
        self._decided = decided

    def decide(self, hub: AtHub, now: int) -> Ruled | None:
        one, found = self._decided, read_hub(hub)
        version = wire.read_version(one.version)
        made = Ruling(one.action, {}, one.fields, one.before, one.keeps_row, at(now), frozenset())
        ruling = override.undo(made, dict.fromkeys(one.fields, version), found, at(now), version)
        return None if isinstance(ruling, Stale) else Ruled(ruling, found)


def changed_since(decided: Decided, state: RowState) -> list[str]:
    """Fields that somebody has changed since a decision was made; all of them for one about the row."""
    version = wire.read_version(decided.version)
    if decided.action in ("create", "delete"):
        return [name for name, one in state.fields.items() if not contains(version, one.ver)]
    return [name for name in decided.fields if name in state.fields and state.fields[name].ver != version]
