"""From what stands in a stream to the records that are judged."""

from __future__ import annotations

import msgspec

from daemon.resolve import wire
from daemon.resolve.interval import UNKNOWN, Interval, at
from daemon.resolve.records import HUB, HubRecord, Mark, SpokeRecord
from daemon.resolve.state import Pending
from schemas.position import START
from schemas.resolution import Origin, ReadEntry, RowChange

_origin = msgspec.json.Decoder(Origin).decode
_read = msgspec.json.Decoder(ReadEntry).decode
TRIGGERS = Mark(START)
"""Of a row that a transaction of ours has changed, and says nothing of: a trigger did, or a foreign key."""


def hub_record(change: RowChange) -> HubRecord:
    """A row event of the hub, or an answer."""
    origin = _origin(change.origin) if change.origin else None
    pending = Pending(origin.mark) if origin is not None and origin.mark else None
    if change.op == "n":
        answer = wire.read_answer(change.note)
        return HubRecord(
            change.position, answer.row, _time(change), pending, answer=True, known=answer.known,
            renewed=answer.renewed, origin=answer.origin,
        )  # fmt: skip
    made_by = HUB if origin is None else origin.origin
    creators = frozenset((made_by,)) if change.op == "c" else frozenset[str]()
    return HubRecord(
        change.position, change.row, _time(change), pending, creators, change.last,
        origin=made_by, by_trigger=origin is not None and origin.tells and made_by == HUB, copied=change.op == "r",
    )  # fmt: skip


def spoke_record(change: RowChange) -> SpokeRecord:
    """A spoke's row event, with the mark where it is ours; of a service also what a read of it says."""
    if change.note and not change.origin:
        return _what_was_read(change, _read(change.note))
    mark, row, unsure = None, change.row, frozenset[str]()
    if change.origin:
        mark, unsure = wire.read_mark(change.note) if change.note else (TRIGGERS, unsure)
        if change.op == "n" and mark.row and not mark.sent:
            row = None  # that it is gone was only compared
    return SpokeRecord(change.position, row, _time(change), mark, unsure=unsure)


def _what_was_read(change: RowChange, entry: ReadEntry) -> SpokeRecord:
    report = None if entry.report is None else frozenset(entry.report)
    return SpokeRecord(
        change.position, None if entry.gone else change.row, at(entry.latest), read=entry.read, since=entry.since,
        report=report, unsure=frozenset(entry.unsure),
    )  # fmt: skip


def _time(change: RowChange) -> Interval:
    return UNKNOWN if change.ts_us is None else at(change.ts_us)
