"""The versions of one row, from the events of its keys. Pure.

A key's events fall into *lives*, from a creation to a deletion. A changed key ends a life under the old key and begins
one under the new key, with the next ordinal: that ties them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import msgspec

from daemon.history.events import Envelope, Seen, Values, decode, same
from schemas.position import Position


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field: None is what is not told, or what a row that is not there has not got."""

    name: str
    before: msgspec.Raw | None
    after: msgspec.Raw | None


@dataclass(frozen=True, slots=True)
class Version:
    """One event of the row.

    `unchanged` are stored values that it did not touch and the source did not send; of those in `unknown` no version
    tells the value. `row` is all that is known of the row after it, `key` the one that it has there.
    """

    key: bytes
    seen: Seen
    op: str
    ts_ms: int
    fields: tuple[FieldChange, ...]
    unchanged: tuple[str, ...]
    unknown: tuple[str, ...]
    row: Values
    moved_from: bytes | None = None
    moved_to: bytes | None = None
    oversize: int | None = None
    since: bool = False
    """It is the first one that is told, and the row was there before it."""

    @property
    def position(self) -> Position:
        return self.seen.position


@dataclass(slots=True)
class _Life:
    key: bytes
    known: Values = field(default_factory=dict)
    versions: list[Version] = field(default_factory=list)
    before: _Life | None = None
    after: _Life | None = None


def versions(events: Iterable[Seen], key: bytes) -> list[Version]:
    """Every version of every row that had this key, also under the keys that they had before or later.

    `events` are those of the key and of all keys that `others` names, and truncates, whatever their order; repeats are
    left out.
    """
    open_: dict[bytes, _Life] = {}
    lives: list[_Life] = []
    places: dict[bytes, int] = {}
    moved: dict[tuple[Position, bytes], _Life] = {}
    for event in _in_order(events):
        if event.key:
            places[event.key] = event.partition
        envelope = decode(event.value)
        touched = [event.key] if event.key else [one for one in open_ if places[one] == event.partition]
        for one in touched:
            life = open_.get(one)
            if life is None or envelope.op == "c":
                if envelope.op == "r" and envelope.after is None:
                    continue  # an answer to a question about a row that there was not
                life = _begin(one, event, envelope, moved)
                lives.append(life)
            life.versions.append(_version(life, event, envelope))
            if envelope.after is None:
                open_.pop(one, None)
                if envelope.moved_to:
                    moved[event.position, bytes(envelope.moved_to)] = life
            else:
                open_[one] = life
    return _of(key, lives)


def others(events: Iterable[Seen]) -> set[bytes]:
    """Keys from which, or to which, rows of these events were moved."""
    found = set()
    for event in events:
        envelope = decode(event.value)
        found |= {bytes(raw) for raw in (envelope.moved_from, envelope.moved_to) if raw}
    return found


def _in_order(events: Iterable[Seen]) -> list[Seen]:
    unique = {(event.position, event.partition, event.key): event for event in sorted(events, key=lambda one: one[:2])}
    return sorted(unique.values(), key=lambda event: (event.position, event.partition))


def _begin(key: bytes, event: Seen, envelope: Envelope, moved: dict[tuple[Position, bytes], _Life]) -> _Life:
    life = _Life(key)
    if envelope.moved_from:
        timeline, commit_lsn, ordinal = event.position
        before = moved.get((Position(timeline, commit_lsn, ordinal - 1), key))
        if before is not None and before.key == bytes(envelope.moved_from):
            life.before, before.after = before, life
            life.known = before.known
    return life


def _version(life: _Life, event: Seen, envelope: Envelope) -> Version:
    first = not life.versions and envelope.op != "c"
    old = envelope.old(life.known)
    told = envelope.told()
    unchanged = tuple(envelope.unchanged or ())
    new: Values = {}
    if envelope.after is not None:
        new = {**{name: old[name] for name in unchanged if name in old}, **told}
        life.known = new
    elif envelope.moved_to:
        life.known = old
    names = () if envelope.moved_to else dict.fromkeys((*old, *new) if envelope.after is None else new)
    fields = tuple(
        FieldChange(name, old.get(name), new.get(name)) for name in names if not same(old.get(name), new.get(name))
    )
    if envelope.oversize is not None:
        fields = ()
    return Version(
        life.key,
        event,
        envelope.op,
        envelope.source.ts_ms,
        fields,
        unchanged,
        tuple(name for name in unchanged if name not in new),
        new,
        bytes(envelope.moved_from) or None,
        bytes(envelope.moved_to) or None,
        envelope.oversize,
        since=first and envelope.op != "r",
    )


def _of(key: bytes, lives: Sequence[_Life]) -> list[Version]:
    chosen: dict[int, _Life] = {}
    waiting = [life for life in lives if life.key == key]
    while waiting:
        life = waiting.pop()
        if id(life) not in chosen:
            chosen[id(life)] = life
            waiting += [one for one in (life.before, life.after) if one is not None]
    found = [version for life in chosen.values() for version in life.versions]
    return sorted(found, key=lambda version: version.position)
