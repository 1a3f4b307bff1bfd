"""What a spoke's record leads to at the hub, before it is written and after."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from daemon.resolve.conflict import NO_CONFLICT, Conflict, OpenConflict
from daemon.resolve.interval import UNKNOWN, Interval
from daemon.resolve.records import Answer, Known
from daemon.resolve.state import FieldState, Link, Pending, RowState, latest
from daemon.resolve.values import Row, digest
from daemon.resolve.verdict import Verdict
from schemas.position import Position


@dataclass(frozen=True, slots=True)
class Hub:
    """The hub as it is read in the transaction that writes: the row FOR UPDATE, its state, and how far both are known.

    `row` None: there is no row. `observed`: through which position the observer has come. `end`: the end of the hub's
    log when the row was first found missing: somebody may have made and deleted it since what was observed. `late`:
    what is not observed yet was done after what the spoke says now, and nobody can wait for it.
    """

    row: Row | None
    state: RowState
    observed: Position
    end: Position
    conflict: OpenConflict = NO_CONFLICT
    late: bool = False


@dataclass(frozen=True, slots=True)
class Drop:
    """The record was taken before."""


@dataclass(frozen=True, slots=True)
class Wait:
    """The observer has to come further first; nothing was decided."""


@dataclass(frozen=True, slots=True)
class Decision:
    """To be done in one hub transaction: write `values` by `action`, then store what `settle` makes of it."""

    action: Literal["none", "create", "update", "delete"]
    values: Row
    verdicts: Mapping[str, Verdict]
    link: Link
    conflict: OpenConflict
    conflicts: tuple[Conflict, ...] = ()
    row_time: Interval | None = None
    """Of a creation or deletion that is written, or agreed."""
    agreed_row: bool = False
    answer: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """To be stored, and published, in the transaction that wrote."""

    state: RowState
    link: Link
    conflict: OpenConflict
    answer: Answer | None


@dataclass(frozen=True, slots=True)
class Written:
    """The hub row after the write, as the database returned it (None: no row), and the transaction's mark."""

    row: Row | None
    pending: Pending


def settle(spoke: str, decision: Decision, hub: Hub, written: Written) -> Outcome:
    """Step "inbound 6", once the hub has stored what was decided, with whatever its triggers made of it."""
    state = _row_state(decision, hub, written)
    link = _seen(decision, hub.state, written)
    answer = None
    if decision.answer:
        renewed = frozenset(name for name, one in decision.verdicts.items() if one.kind in ("taken", "merged"))
        answer = Answer(written.row, {spoke: known(link, decision.conflict, spoke)}, renewed, spoke)
    return Outcome(state, link, decision.conflict, answer)


def known(link: Link, conflict: OpenConflict, spoke: str, *, whole: bool = False) -> Known:
    """What the hub has judged of a spoke's row: all of it, but for fields that wait for a person, unless `whole`."""
    if link.shadow is None:
        return Known(dead=True)
    waiting = frozenset[str]() if whole else conflict.of(spoke).keys()
    return Known(fields={name: frozenset((value,)) for name, value in link.shadow.items() if name not in waiting})


def _row_state(decision: Decision, hub: Hub, written: Written) -> RowState:
    state, pending = hub.state, written.pending
    if decision.agreed_row and decision.row_time is not None:
        state = replace(state, time=decision.row_time.or_later(state.time))
    fields = dict(state.fields)
    for name, verdict in decision.verdicts.items():
        if (one := _field_state(verdict, fields.get(name), pending)) is not None:
            fields[name] = one
    if decision.action == "delete":
        return _tombstone(replace(state, fields=fields), hub.row or {}, decision, pending)
    if written.row is None or decision.action == "none":
        return replace(state, fields=fields)
    names = written.row.keys() if decision.action == "create" else decision.values.keys() & written.row.keys()
    fields = stored(fields, written, names, decision.row_time)
    if decision.action == "create":
        assert decision.row_time is not None, "a creation has a time"
        time = decision.row_time.or_later(state.time)
        return RowState(alive=True, rver=pending, time=time, fields=fields)
    return replace(state, fields=fields)


def _field_state(verdict: Verdict, known: FieldState | None, pending: Pending) -> FieldState | None:
    """None: nothing to be stored of the field."""
    match verdict.kind:
        case "taken" | "merged":
            return FieldState(digest(verdict.value), pending, pending, verdict.time)
        case "machine":
            assert known is not None, "machines change what was there"
            return replace(known, digest=digest(verdict.value), pos=pending, hops=verdict.hops)
        case "agreed" if known is not None:
            return replace(known, time=verdict.time)
        case _:
            return None


def stored(
    fields: Mapping[str, FieldState], written: Written, names: Iterable[str], row_time: Interval | None
) -> dict[str, FieldState]:
    """What the hub made of the values that were sent: a machine's change keeps version and time.

    What its triggers did to other fields is left to the observer, behind edits there that it has not seen yet.
    """
    row, pending, found = written.row or {}, written.pending, dict(fields)
    for name in names:
        one = fields.get(name)
        if one is None:
            found[name] = FieldState(digest(row[name]), pending, pending, row_time or UNKNOWN)
        elif one.digest != digest(row[name]):
            found[name] = replace(one, digest=digest(row[name]), pos=pending)
    return found


def _tombstone(state: RowState, row: Row, decision: Decision, pending: Pending) -> RowState:
    assert decision.row_time is not None, "a deletion has a time"
    time = latest(state, decision.row_time)
    return replace(state, alive=False, rver=pending, time=time, values=row)


def _seen(decision: Decision, state: RowState, written: Written) -> Link:
    """The spoke has seen the new version where what was sent is exactly its value, whatever a trigger made of that."""
    link, pending = decision.link, written.pending
    seen = dict(link.seen)
    if decision.action == "create":
        seen |= dict.fromkeys((written.row or {}).keys() - state.fields.keys(), pending)
    shadow = link.shadow or {}
    for name, verdict in decision.verdicts.items():
        known = state.fields.get(name)
        if verdict.kind == "taken" or (verdict.kind == "merged" and digest(verdict.value) == shadow.get(name)):
            seen[name] = pending
        elif verdict.kind == "agreed" and known is not None:
            seen[name] = known.ver
    row_seen = link.row_seen
    if decision.action in ("create", "delete"):
        row_seen = pending
    elif decision.agreed_row:
        row_seen = state.rver
    return replace(link, seen=seen, row_seen=row_seen)
