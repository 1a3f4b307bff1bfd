"""What must become of a row that people have changed on both sides. Pure, and written from section 7 of the design
alone: nothing here is taken from the code that resolves.

Only fields that both sides have changed, to different values, conflict. Of those `latest` takes the later change, where
it is later by more than the skew, else the hub's; `hub` and `target` take their side's whatever the time; `merge` takes
both sides' additions and removals; `manual` leaves each side as it is until a person decides. A row that one side has
deleted and the other changed goes by the time as well, but for a manual field. All of them are listed with their kind.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Rule = Literal["latest", "hub", "target", "manual", "merge"]
Side = Literal["hub", "spoke"]
Winner = Literal["ours", "theirs"]
"""The hub's is ours, the spoke's is theirs."""
Row = Mapping[str, Any]
"""Values by field, as the database driver gives them."""


@dataclass(frozen=True, slots=True)
class Change:
    """What one transaction of one side did to the row; `at` is its commit time in milliseconds."""

    side: Side
    at: int
    op: Literal["insert", "update", "delete"]
    values: Row


@dataclass(frozen=True, slots=True)
class Listed:
    """A conflict: `field` None is the row, deleted on one side. `won` None: neither, or a person decides."""

    field: str | None
    kind: str
    rule: Rule
    won: Winner | None


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits for a person: both sides' values of a field, None where the row is gone; `field` None is the row."""

    field: str | None
    ours: Any
    theirs: Any


@dataclass(frozen=True, slots=True)
class Prediction:
    """The row in the end on both sides, None where there is none, and what is said of it."""

    hub: Row | None
    spoke: Row | None
    listed: tuple[Listed, ...] = ()
    waiting: tuple[Waiting, ...] = ()


def decide(prediction: Prediction, choice: Side | Row) -> Row | None:
    """The row on both sides once a person has taken one side of what waits, or given values of their own."""
    row = prediction.hub
    for one in prediction.waiting:
        if isinstance(choice, Mapping):
            row = {**(row or {}), **choice}
        elif choice == "spoke":
            row = None if one.field is None else {**(row or {}), one.field: one.theirs}
    return row


@dataclass(frozen=True, slots=True)
class _Done:
    """What one side did in all: the row as it left it, and by field when it was changed last."""

    row: Row | None
    times: Mapping[str, int]
    at: int


def predict(base: Row | None, changes: Sequence[Change], rules: Mapping[str, Rule], skew: int) -> Prediction:
    """`base` is the row that both sides had; `changes` are in the order of their commits; `skew` in milliseconds."""
    hub, spoke = (_done(base, [one for one in changes if one.side == side]) for side in ("hub", "spoke"))
    if base is not None and hub.row is not None and spoke.row is None:
        return _spoke_deleted(hub, spoke, rules, skew)
    if base is not None and hub.row is None and spoke.row is not None:
        return _hub_deleted(base, hub, spoke, skew)
    if hub.row is None or spoke.row is None:
        row = hub.row or spoke.row
        return Prediction(row, row)
    return _both(base, hub, spoke, rules, skew)


def _done(base: Row | None, changes: Collection[Change]) -> _Done:
    row, times, at = base, dict[str, int](), 0
    for one in changes:
        at = one.at
        row = None if one.op == "delete" else {**(row or {}), **one.values}
        times |= dict.fromkeys(one.values, one.at)
    return _Done(row, times, at)


def _both(base: Row | None, hub: _Done, spoke: _Done, rules: Mapping[str, Rule], skew: int) -> Prediction:
    assert hub.row is not None
    assert spoke.row is not None
    ours, theirs = dict(hub.row), dict(spoke.row)
    listed: list[Listed] = []
    waiting: list[Waiting] = []
    for field in sorted(hub.times.keys() | spoke.times.keys()):
        if field not in spoke.times:
            theirs[field] = ours[field]
        elif field not in hub.times:
            ours[field] = theirs[field]
        elif ours[field] != theirs[field]:
            rule = rules.get(field, "latest")
            kind = "update_origin_differs" if base is not None else "insert_exists"
            value, won = _decided(rule, (base or {}).get(field), ours[field], theirs[field], _later(
                spoke.times[field], hub.times[field], skew))  # fmt: skip
            listed.append(Listed(field, kind, rule, won))
            if rule == "manual":
                waiting.append(Waiting(field, ours[field], theirs[field]))
            else:
                ours[field] = theirs[field] = value
    return Prediction(ours, theirs, tuple(listed), tuple(waiting))


def _later(theirs: int, ours: int, skew: int) -> Winner:
    """A tie goes to the hub."""
    return "theirs" if theirs > ours + skew else "ours"


def _decided(rule: Rule, base: Any, ours: Any, theirs: Any, later: Winner) -> tuple[Any, Winner | None]:
    match rule:
        case "latest":
            return (theirs if later == "theirs" else ours), later
        case "hub":
            return ours, "ours"
        case "target":
            return theirs, "theirs"
        case "manual":
            return None, None
        case "merge":
            before, one, other = frozenset(base or ()), frozenset(ours or ()), frozenset(theirs or ())
            return (one | (other - before)) - (before - other), None


def _spoke_deleted(hub: _Done, spoke: _Done, rules: Mapping[str, Rule], skew: int) -> Prediction:
    kind = "delete_origin_differs"
    if not hub.times:
        return Prediction(None, None)
    if any(rules.get(field) == "manual" for field in hub.times):
        listed = Listed(None, kind, "latest", None)
        return Prediction(hub.row, None, (listed,), (Waiting(None, hub.row, None),))
    won = _later(spoke.at, max(hub.times.values()), skew)
    row = None if won == "theirs" else hub.row
    return Prediction(row, row, (Listed(None, kind, "latest", won),))


def _hub_deleted(base: Row, hub: _Done, spoke: _Done, skew: int) -> Prediction:
    if not spoke.times:
        return Prediction(None, None)
    won = _later(spoke.at, hub.at, skew)
    row = {**base, **(spoke.row or {})} if won == "theirs" else None
    return Prediction(row, row, (Listed(None, "update_deleted", "latest", won),))
