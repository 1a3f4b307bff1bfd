"""What a service has yet to be told of a row: all that the hub has said since, as one record. A database of ours, the
mirror, keeps it beside the row as the hub has it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from daemon.resolve import outbound, wire
from daemon.resolve.interval import UNKNOWN
from daemon.resolve.read import hub_record
from daemon.resolve.records import HubRecord, Known
from daemon.resolve.values import Row, digest
from schemas.position import START, Position
from schemas.resolution import BacklogEntry, Fields, MirroredEntry, RowChange

_entry = msgspec.json.Decoder(MirroredEntry).decode


@dataclass(frozen=True, slots=True)
class Backlog:
    """`decided`: somebody wants the row as the hub has it, whatever it holds there."""

    record: HubRecord
    decided: bool = False


@dataclass(frozen=True, slots=True)
class Planned:
    """To be done in the mirror: see `connectors.contract.Planned`."""

    action: Literal["none", "create", "update", "delete"]
    backlog: Backlog
    values: Fields = field(default_factory=dict)
    outcome: str = "applied"


class MirrorResolver:
    """For the mirror of one service (`connectors.contract.Outward`): the row there is the hub's, and what is said of it
    is kept until the service was told."""

    def __init__(self, spoke: str) -> None:
        self._spoke = spoke

    def plan(self, _table: str, changes: Sequence[RowChange], side: str | None, current: Fields | None) -> Planned:
        before, news = read_backlog(side, self._spoke), [hub_record(one) for one in changes]
        last = outbound.fold(self._spoke, news)
        record = last if before is None else outbound.fold(self._spoke, [before.record, *news])
        return _planned(last.row, current, Backlog(record, before is not None and before.decided))

    def repair(self, row: Fields | None, side: str | None, current: Fields | None) -> Planned:
        before = read_backlog(side, self._spoke)
        record = HubRecord(START, row, UNKNOWN) if before is None else before.record
        return _planned(row, current, Backlog(record, decided=True))

    def settle(self, _table: str, _key: str, planned: Planned, stored: Fields | None) -> tuple[str | None, str | None]:
        return write_backlog(self._spoke, planned.backlog, alive=stored is not None), None


def _planned(row: Row | None, current: Row | None, backlog: Backlog) -> Planned:
    if row is None:
        return Planned("none" if current is None else "delete", backlog)
    if current is None:
        return Planned("create", backlog, wire.texts(row))
    values = {name: value for name, value in row.items() if digest(current.get(name)) != digest(value)}
    return Planned("update" if values else "none", backlog, wire.texts(values))


def write_backlog(spoke: str, backlog: Backlog | None, *, alive: bool) -> str:
    """What the mirror keeps of a row. None: the service was told everything."""
    if backlog is None:
        return wire.encode(MirroredEntry(alive))
    one = backlog.record
    known = one.known.get(spoke)
    entry = BacklogEntry(
        (one.at.timeline, one.at.commit_lsn, one.at.ordinal),
        None if one.row is None else wire.texts(one.row),
        None if known is None else wire.known_entry(known),
        sorted(one.created_by),
        sorted(one.renewed),
        one.origin,
        one.copied,
        one.folded,
        backlog.decided,
    )
    return wire.encode(MirroredEntry(alive, entry))


def read_backlog(text: str | None, spoke: str) -> Backlog | None:
    """What `write_backlog` wrote."""
    entry = None if text is None else _entry(text).backlog
    if entry is None:
        return None
    known: Mapping[str, Known] = {} if entry.known is None else {spoke: wire.read_known(entry.known)}
    record = HubRecord(
        Position(*entry.at), entry.row, UNKNOWN, None, frozenset(entry.created_by), known=known,
        renewed=frozenset(entry.renewed), origin=entry.origin, copied=entry.copied, folded=entry.folded,
    )  # fmt: skip
    return Backlog(record, entry.decided)
