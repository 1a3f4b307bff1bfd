"""What of an event enters the audit log: which columns changed, and their values before and after. Pure.

What was there before is taken from the event, else from what earlier entries of the same key tell, else it is left out:
never guessed, and never null for unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from connectors.contract import Routing
from schemas.outbox import ASKED, DELETED, DROPPED, FILTERED, REMEMBERED

Row = Mapping[str, bytes]
"""Column to raw JSON; of a column that is not in it nothing is known."""
UNTOLD = frozenset({ASKED, DROPPED, FILTERED, REMEMBERED})
"""Outcomes of events whose values are none of the target's."""
BEGINNINGS = frozenset({"c", "d"})
"""Nothing of before such an event is in the row after it."""


class _Source(msgspec.Struct):
    ts_ms: int


class Envelope(msgspec.Struct):
    """The part of a change event that is asked for here."""

    op: str
    source: _Source
    before: dict[str, msgspec.Raw] | None = None
    after: dict[str, msgspec.Raw] | None = None
    unchanged: list[str] | None = None
    moved_from: msgspec.Raw = msgspec.Raw()
    moved_to: msgspec.Raw = msgspec.Raw()
    oversize: int | None = None


@dataclass(frozen=True, slots=True)
class Hidden:
    """Columns of a table whose values never enter: `masked` ones are named, `local` ones are the target's own."""

    masked: frozenset[str] = frozenset()
    local: frozenset[str] = frozenset()
    only: frozenset[str] | None = None
    """None: all the others."""

    @classmethod
    def by(cls, routing: Routing) -> Hidden:
        """What a route leaves out or masks."""
        return cls(frozenset({*routing.exclude, *routing.masks}), routing.local, routing.only)

    def show(self, row: Mapping[str, msgspec.Raw] | None) -> dict[str, bytes]:
        return {name: bytes(raw) for name, raw in (row or {}).items() if self._shows(name)}

    def _shows(self, name: str) -> bool:
        return name not in self.masked | self.local and (self.only is None or name in self.only)


class Told(NamedTuple):
    """What an entry says of an event. `content` is JSON; None: it has no values."""

    fields: list[str]
    masked: list[str]
    content: str | None


decode = msgspec.json.Decoder(Envelope).decode
_encode = msgspec.json.Encoder().encode


class _Content(msgspec.Struct):
    before: dict[str, msgspec.Raw]
    after: dict[str, msgspec.Raw] | None


_decode_content = msgspec.json.Decoder(_Content).decode


def tell(event: Envelope, outcome: str, hidden: Hidden, earlier: Row | None) -> Told:
    """`earlier`: the row as it was before, as far as earlier entries tell; None: they don't."""
    masked = _masked(event, hidden)
    if outcome in UNTOLD or event.op == "t" or event.oversize is not None or _answers_absent(event):
        return Told([], masked, None)
    known = {**(earlier or {}), **hidden.show(event.before)}
    if event.after is None or outcome == DELETED:
        return Told(sorted(known), masked, _content(known, None))
    after = hidden.show(event.after)
    if event.op == "c" and not event.moved_from:
        return Told(list(after), masked, _content({}, after))
    changed = [name for name, raw in after.items() if known.get(name) != raw]
    return Told(changed, masked, _content({name: known[name] for name in changed if name in known}, after))


def follow(event: Envelope, outcome: str, hidden: Hidden, earlier: Row | None) -> Row | None:
    """The row after an event, as far as it is known; None: nothing is. An event that came again says nothing new."""
    if outcome == DROPPED:
        return earlier
    if outcome in UNTOLD or outcome == DELETED or event.oversize is not None or _answers_absent(event):
        return None
    if event.after is None:
        return {} if event.op == "d" else None
    before: Row = {} if event.op == "c" and not event.moved_from else {**(earlier or {}), **hidden.show(event.before)}
    kept = {name: before[name] for name in event.unchanged or () if name in before}
    return {**kept, **hidden.show(event.after)}


def recalled(entries: Iterable[tuple[str, str, str | None]]) -> Row | None:
    """The row as the entries of its key leave it, newest first: op, outcome and content of each."""
    found: dict[str, bytes] = {}
    known = False
    for op, outcome, content in entries:
        if content is None or outcome == DELETED:
            break  # what it has done to the row is not told
        known = True
        told = _decode_content(content.encode())
        for name, raw in (told.after or {}).items():
            found.setdefault(name, bytes(raw))
        if op in BEGINNINGS:
            break
    return found if known else None


def _answers_absent(event: Envelope) -> bool:
    return event.op == "r" and event.after is None


def _masked(event: Envelope, hidden: Hidden) -> list[str]:
    """Those that are in the event, and not known to be as they were."""
    before, after = event.before or {}, event.after or {}
    names = {*after, *(before if event.after is None else ())} & hidden.masked
    return sorted(
        name for name in names if name not in before or name not in after or bytes(before[name]) != bytes(after[name])
    )


def _content(before: Row, after: Row | None) -> str:
    def raw(row: Row) -> dict[str, msgspec.Raw]:
        return {name: msgspec.Raw(value) for name, value in row.items()}

    return _encode({"before": raw(before), "after": None if after is None else raw(after)}).decode()
