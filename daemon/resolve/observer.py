"""The hub reads its own stream: who changed what, at which position, when."""

from __future__ import annotations

from dataclasses import replace

from daemon.resolve.interval import Interval
from daemon.resolve.records import HubRecord
from daemon.resolve.state import FieldState, Link, Pending, RowState, Version, latest
from daemon.resolve.values import Row, Value, digest
from schemas.position import START, Position


def observe(record: HubRecord, state: RowState) -> RowState:
    """Step "observer": the row's state after one record of the hub's stream.

    A transaction of ours has set its part when it wrote; here it gets its position. What is pending for another one
    lies behind this record in the stream, and is left alone.
    """
    if record.pending is not None:
        return _ours(record, _settle(state, record.pending, record.at))
    if record.answer or _ahead(state.rver, record.at):
        return state
    if record.row is None:
        return _deleted(record, state)
    if record.created_by or not state.alive:
        return _created(record, record.row, state)
    return replace(state, fields={**state.fields, **_changed(record, record.row, state)})


def settle_link(link: Link, pending: Pending, at: Position) -> Link:
    """Step "stored": the same for what a spoke has seen."""
    seen = {name: _placed(version, pending, at) for name, version in link.seen.items()}
    return replace(link, seen=seen, row_seen=_placed(link.row_seen, pending, at))


def _placed(version: Version, pending: Pending, at: Position) -> Version:
    return at if version == pending else version


def _settle(state: RowState, pending: Pending, at: Position) -> RowState:
    fields = {
        name: replace(one, ver=_placed(one.ver, pending, at), pos=_placed(one.pos, pending, at))
        for name, one in state.fields.items()
    }
    return replace(state, rver=_placed(state.rver, pending, at), fields=fields)


def _ahead(version: Version, at: Position) -> bool:
    """Whether what is stored is of a later record, or this one was observed already."""
    return isinstance(version, Pending) or version >= at


def _ours(record: HubRecord, state: RowState) -> RowState:
    """What a transaction of ours did beside what it has stored: a trigger of the hub did it, or a foreign key."""
    if record.answer or (_ahead(state.rver, record.at) and state.rver != record.at):
        return state
    if state.erased and _in_one(state.rver, record.at):
        return state  # it was erased since that
    own = not record.by_trigger and _in_one(state.rver, record.at)
    if record.row is None:
        if state.alive:
            return _taken_away(record, state, own)
        # What the spoke does not have, too; a large row is not told.
        return replace(state, values={**state.values, **record.last}) if own else state
    if not state.alive and not own:
        return _created(record, record.row, state)
    return replace(state, alive=True, values={}, fields={**state.fields, **_triggers(record, record.row, state)})


def _in_one(version: Version, at: Position) -> bool:
    """Whether both are of one transaction."""
    return isinstance(version, Position) and version[:2] == at[:2]


def _taken_away(record: HubRecord, state: RowState, own: bool) -> RowState:
    """What we make and delete in one transaction has, to the spoke that did so, one version."""
    if own:
        return replace(state, alive=False, values=record.last, erased=False)
    return _deleted(record, state)


def _triggers(record: HubRecord, row: Row, state: RowState) -> dict[str, FieldState]:
    """What a trigger changed after our write had returned its row: a machine's change keeps version and time. And what
    the side that we have followed does not have."""
    changed = {}
    for name, value in row.items():
        known = state.fields.get(name)
        if known is None:
            changed[name] = _made_with_row(value, record, state)
        elif digest(value) != known.digest and not isinstance(known.pos, Pending):
            changed[name] = replace(known, digest=digest(value), pos=record.at)
    return changed


def _changed(record: HubRecord, row: Row, state: RowState) -> dict[str, FieldState]:
    changed = {}
    for name, value in row.items():
        known = state.fields.get(name)
        if known is None and value is None:  # a column that is new: empty, nobody has edited it
            changed[name] = _made_with_row(value, record, state)
        elif known is None or (not _ahead(known.pos, record.at) and digest(value) != known.digest):
            changed[name] = _by_person(value, record.at, record.time if known is None else _later(record, known))
    return changed


def _made_with_row(value: Value, record: HubRecord, state: RowState) -> FieldState:
    """Of a field that nobody has edited since the row is there; where it is empty, no side lacks anything of it."""
    return FieldState(digest(value), START if value is None else state.rver, record.at, state.time)


def _later(record: HubRecord, known: FieldState) -> Interval:
    return record.time.or_later(known.time)


def _by_person(value: Value, at: Position, time: Interval) -> FieldState:
    return FieldState(digest(value), ver=at, pos=at, time=time)


def _created(record: HubRecord, row: Row, state: RowState) -> RowState:
    """A creation renews every field."""
    time = record.time.or_later(state.time)
    fields = {name: _by_person(value, record.at, time) for name, value in row.items()}
    return RowState(alive=True, rver=record.at, time=time, fields=fields)


def _deleted(record: HubRecord, state: RowState) -> RowState:
    """A tombstone keeps fields, versions, times and values."""
    time = latest(state, record.time)
    return replace(state, alive=False, rver=record.at, time=time, values=record.last, erased=False)
