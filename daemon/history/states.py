"""What is told of one key at a moment. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import msgspec

from daemon.history.events import JSON_NULL, Envelope, Values


@dataclass(frozen=True, slots=True)
class Known:
    """A row of the moment: what is told of its values. `unknown` are columns whose value is not; `large` is the size of
    one that was too large to publish; of those in `json_text` the value is JSON within a string. `lsn` is the commit of
    its last change, 0 where that is not told.

    With `since_ms` nothing is told of the row before that time (milliseconds since 1970), when it was there: what is
    known of it is what its next event tells of the old row, in which a NULL of a column of JSON may be JSON's null, and
    columns may be missing that are not named.
    """

    key: bytes
    values: Values
    unknown: tuple[str, ...] = ()
    ts_ms: int | None = None
    lsn: int = 0
    json_text: tuple[str, ...] = ()
    large: int | None = None
    since_ms: int | None = None


class Absent(NamedTuple):
    """The key had no row then."""

    key: bytes


class Untold(NamedTuple):
    """Nothing is told of the key before this time (milliseconds since 1970)."""

    key: bytes
    since_ms: int


State = Known | Absent | Untold


class Entry(NamedTuple):
    """A key. `inside`: it was changed after the moment and within the window that was asked for; `beyond`: later than
    that. `moved` is the key that its row was given after the moment; `came`: the key was given to a row then."""

    id: int
    state: State
    moved: bytes | None
    came: bool
    inside: bool
    beyond: bool


def entry_of(row: Sequence[Any], covered: Collection[int]) -> Entry:
    """From a row of the store. `covered` are partitions that hold every change since the moment."""
    id_, key, partition, told, content, ts_ms, lsn, next_op, next_, next_ts, moved, came, inside, beyond = row
    state: State
    if told:
        state = Absent(key) if content is None else _known(key, content, ts_ms, lsn)
    elif next_op == "c":
        state = Absent(key)
    elif next_op == "gap" or (next_op == "r" and partition not in covered):
        state = Untold(key, next_ts)
    elif next_op == "r":
        state = Absent(key) if next_ is None else _known(key, next_, None, 0)
    else:
        state = replace(_known(key, next_, None, 0), since_ms=next_ts)
    return Entry(id_, state, moved, bool(came), bool(inside), bool(beyond))


class _Content(msgspec.Struct):
    after: dict[str, msgspec.Raw]
    unchanged: list[str] | None = None
    json_null: list[str] | None = None
    json_text: list[str] | None = None
    oversize: int | None = None


_decode_key = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_content = msgspec.json.Decoder(_Content).decode


def _known(key: bytes, content: bytes, ts_ms: int | None, lsn: int) -> Known:
    read = _decode_content(content)
    values = {**read.after, **dict.fromkeys(read.json_null or (), JSON_NULL)}
    unknown, texts = tuple(read.unchanged or ()), tuple(read.json_text or ())
    return Known(key, values, unknown, ts_ms, lsn, texts, read.oversize)


def row_before(key: bytes, envelope: Envelope) -> bytes:
    """What a later event tells of the row before it: all of it under REPLICA IDENTITY FULL, else its key."""
    before = {**_decode_key(key), **(envelope.before or {})}
    names = {*(envelope.after or {}), *(envelope.unchanged or ())} - before.keys()
    return msgspec.json.encode({"op": "u", "after": before, "unchanged": sorted(names)})
