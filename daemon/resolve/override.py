"""A person's decision on what waits, and taking it back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from daemon.resolve.conflict import NO_CONFLICT, OpenConflict, Shown, shown
from daemon.resolve.decision import Hub, Written, known
from daemon.resolve.interval import Interval
from daemon.resolve.records import Answer
from daemon.resolve.state import FieldState, Link, RowState, Version, contains, latest
from daemon.resolve.values import Row, digest


@dataclass(frozen=True, slots=True)
class Choice:
    """What shall stand: a value by field, and whether the row shall be there. Other fields stay as they are."""

    fields: Row
    row: bool = True


@dataclass(frozen=True, slots=True)
class Ruling:
    """To be done in one hub transaction, as a person's change: write `values` by `action`, then store what `settle`
    makes of it. `fields` are those that were decided, also where the hub has that value already.
    """

    action: Literal["none", "create", "update", "delete"]
    values: Row
    fields: Row
    before: Row
    """What the hub had in those fields, for `undo`; empty where it had no row."""
    row: bool
    time: Interval
    tells: frozenset[str]


@dataclass(frozen=True, slots=True)
class Stale:
    """What was decided over has changed since, or is not all known yet: it has to be shown again."""


def decide(over: Shown, choice: Choice, hub: Hub, time: Interval) -> Ruling | Stale:
    """Step "manual": `over` is what the person was shown, `time` when they decided."""
    if over != shown(hub.conflict, hub.state) or not observed(hub):
        return Stale()
    spokes, row = hub.conflict.spokes, hub.row
    before = {name: row[name] for name in choice.fields if name in row} if row is not None else {}
    if not choice.row:
        return Ruling("none" if row is None else "delete", {}, {}, dict(row or {}), False, time, spokes)
    if row is None:
        return Ruling("create", {**hub.state.values, **choice.fields}, choice.fields, {}, True, time, spokes)
    values = {name: value for name, value in choice.fields.items() if digest(value) != digest(row.get(name))}
    return Ruling("update" if values else "none", values, choice.fields, before, True, time, spokes)


def undo(
    ruling: Ruling, versions: Mapping[str, Version], hub: Hub, time: Interval, rver: Version | None = None
) -> Ruling | Stale:
    """Step "undo": an ordinary change back to what was there before.

    `versions` are those that the ruling gave the fields, `rver` is that of a row which it made or deleted; one that is
    another by now refuses all.
    """
    fields = hub.state.fields
    if not observed(hub) or (ruling.action in ("create", "delete") and hub.state.rver != rver):
        return Stale()
    if ruling.action == "delete":
        return Ruling("create", ruling.before, ruling.before, {}, True, time, frozenset())
    if hub.row is None or not ruling.row:
        return Stale()
    if ruling.action == "create":
        unchanged = rver is not None and all(contains(rver, one.ver) for one in fields.values())
        return Ruling("delete", {}, {}, dict(hub.row), False, time, frozenset()) if unchanged else Stale()
    if any(name not in fields or fields[name].ver != versions[name] for name in ruling.fields):
        return Stale()
    return Ruling("update", ruling.before, ruling.before, {}, True, time, frozenset())


def settle(
    ruling: Ruling, hub: Hub, links: Mapping[str, Link], written: Written
) -> tuple[RowState, OpenConflict, Answer]:
    """Step "manual", once it is written: `links` are those of all spokes that have candidates.

    Their links stay as they are: only a spoke's own stream says what it has seen.
    """
    told = {spoke: known(links[spoke], hub.conflict, spoke, whole=True) for spoke in ruling.tells if spoke in links}
    conflict = hub.conflict if not ruling.tells else replace(NO_CONFLICT, revision=hub.conflict.revision + 1)
    return _state(ruling, hub, written), conflict, Answer(written.row, told, frozenset(ruling.fields))


def _state(ruling: Ruling, hub: Hub, written: Written) -> RowState:
    state, pending = hub.state, written.pending
    if not ruling.row:
        values = state.values if hub.row is None else hub.row
        return replace(state, alive=False, rver=pending, time=latest(state, ruling.time), values=values)
    fields = dict(state.fields)
    for name, value in (written.row or {}).items():
        old = fields.get(name)
        if name in ruling.fields or old is None:
            time = ruling.time.or_later(old.time) if old else ruling.time
            fields[name] = FieldState(digest(value), pending, pending, time)
        elif ruling.action == "create" and old.digest != digest(value):
            fields[name] = replace(old, digest=digest(value), pos=pending)
    if ruling.action == "create":
        return RowState(True, pending, ruling.time.or_later(state.time), fields)
    return replace(state, fields=fields)


def observed(hub: Hub) -> bool:
    """Whether all of the row as it is has been seen in the hub's own stream."""
    row, state = hub.row, hub.state
    if row is None or not state.alive:
        return row is None and not state.alive
    return all(name in state.fields and state.fields[name].digest == digest(value) for name, value in row.items())
