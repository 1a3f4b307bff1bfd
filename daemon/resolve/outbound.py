"""A hub record at a spoke: what of it is written, and what has to wait for the hub to judge an edit there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from daemon.resolve.records import UNJUDGED, HubRecord, Known, Mark
from daemon.resolve.rules import Rules
from daemon.resolve.state import Settled, Side
from daemon.resolve.values import Digest, Row, digest
from schemas.position import Position


@dataclass(frozen=True, slots=True)
class Plan:
    """To be done in one transaction of the spoke, which has the row locked: write `values` by `action`, then store what
    `settle` makes of it.

    `hold`: nothing is written or stored; what a person did here is on its way to the hub, and will be answered. `born`:
    the row that is missing was made here, and has been deleted since.
    """

    action: Literal["skip", "hold", "born", "agree", "create", "update", "delete"]
    at: Position
    values: Row = field(default_factory=dict)
    agreed: Mapping[str, Digest] = field(default_factory=dict)
    held: frozenset[str] = frozenset()
    told: bool = False
    """Whether the hub has to be told that the row was agreed, as no record of the spoke will say so."""


def fold(spoke: str, records: Sequence[HubRecord]) -> HubRecord:
    """Step "outbound": the last row of several records of one key, with the union of what is known and renewed.

    What was folded before may be the first of them: that comes to the same as all of them at once.
    """
    last = records[-1]
    row: Row | None = None
    for one in records:
        row = None if one.row is None else {**(row or {}), **one.row}
    creators = frozenset[str]().union(*(one.created_by for one in records))
    names = {name for one in records for name in one.known}
    known = {name: _union([one.known[name] for one in records if name in one.known]) for name in names}
    renewed = frozenset[str]().union(*(one.renewed for one in records))
    own = all(one.origin == spoke and one.at[:2] == last.at[:2] for one in records)
    folded = any(one.folded for one in records) or (len(records) > 1 and not own)
    return replace(last, row=row, created_by=creators, known=known, renewed=renewed, folded=folded)


def _union(several: Sequence[Known]) -> Known:
    names = {name for one in several for name in one.fields}
    fields = {name: frozenset[Digest]().union(*(one.fields.get(name, ()) for one in several)) for name in names}
    return Known(any(one.dead for one in several), fields)


def plan(spoke: str, record: HubRecord, side: Side, current: Row | None, rules: Rules) -> Plan:
    """Step "outbound". `current` is the spoke's row, None where it has none."""
    known = record.known.get(spoke, UNJUDGED)
    if record.at <= side.rver:
        return Plan("skip", record.at)
    if (record.row is None or current is None) and any(record.at <= one.at for one in side.fields.values()):
        return Plan("skip", record.at)  # a replay: the row was there after this
    if record.row is None and current is None:
        return Plan("agree", record.at, told=record.folded or (side.alive and record.origin != spoke))
    if record.row is None:
        return _delete(record, side, current or {}, known, rules)
    if current is None:
        return _create(spoke, record, side, record.row, known)
    found = _update(record, side, record.row, current, known, rules)
    return replace(found, told=record.folded or _news(spoke, record, side, found.agreed, rules))


def _news(spoke: str, record: HubRecord, side: Side, agreed: Mapping[str, Digest], rules: Rules) -> bool:
    """Whether the hub does not know that these fields have come to be equal."""
    if not record.created_by <= {spoke}:
        return True
    if spoke in record.known and any(name not in record.known[spoke].fields for name in agreed):
        return True  # the hub takes it for waiting
    if record.origin != spoke and record.renewed & agreed.keys():
        return True
    # Of its own edit the hub knows; and of the first copy of a row it hears by the spoke's own copy.
    known = record.origin == spoke or (record.copied and not side.alive)
    return (rules.polled or not known) and any(not _untouched(name, own, side) for name, own in agreed.items())


def repair(row: Row | None, side: Side, current: Row | None) -> Plan:
    """A row that is to be as the hub has given it, whatever it holds now: somebody has decided so.

    No edit of a person is lost by that: the hub hears of it first, and of this write behind it. The hub position is the
    last that the row has contained.
    """
    at = max((side.rver, *(one.at for one in side.fields.values())))
    if row is None:
        return Plan("skip" if current is None else "delete", at)
    if current is None:
        return Plan("create", at, row)
    values = {name: value for name, value in row.items() if digest(current.get(name)) != digest(value)}
    return Plan("update" if values else "skip", at, values)


def _delete(record: HubRecord, side: Side, current: Row, known: Known, rules: Rules) -> Plan:
    own = {name: digest(value) for name, value in current.items() if not rules.of(name).outward}
    held = frozenset(name for name, one in own.items() if not (known.covers(name, one) or _untouched(name, one, side)))
    if held:
        return Plan("hold", record.at, held=held)
    return Plan("delete", record.at)


def _create(spoke: str, record: HubRecord, side: Side, row: Row, known: Known) -> Plan:
    if known.dead or not (side.alive or spoke in record.created_by):
        return Plan("create", record.at, row)
    return Plan("hold" if side.alive else "born", record.at)


def _update(record: HubRecord, side: Side, row: Row, current: Row, known: Known, rules: Rules) -> Plan:
    values, agreed, held = {}, {}, set()
    for name, value in row.items():
        settled = side.fields.get(name)
        if name not in current or (settled is not None and record.at <= settled.at):
            continue  # an answer tells the whole row, also what this spoke does not have
        own = digest(current.get(name))
        if own == digest(value):
            agreed[name] = own
        elif rules.of(name).outward or _untouched(name, own, side) or known.covers(name, own):
            values[name] = value
        elif settled is None and side.alive and own == digest(None):
            values[name] = value  # a column that is new; what a person has emptied here, the hub hears of before
        else:
            held.add(name)
    if not values and not agreed:
        return Plan("hold" if held else "skip", record.at, held=frozenset(held))
    return Plan("update" if values else "agree", record.at, values, agreed, frozenset(held))


def _untouched(name: str, own: Digest, side: Side) -> bool:
    settled = side.fields.get(name)
    return settled is not None and settled.digest == own


def settle(plan: Plan, side: Side, stored: Row | None) -> tuple[Side, Mark | None]:
    """Step "outbound", once it is written: `stored` is the row as the spoke returned it, None where it has none.

    The mark is published in the spoke's own stream; None: nothing is to be told.
    """
    at = plan.at
    if plan.action in ("skip", "hold"):
        return side, None
    if plan.action == "born":
        return Side(True, at), None
    if plan.action == "delete":
        return Side(False, at), Mark(at, row=True)
    if stored is None:
        return Side(False, at), Mark(at, row=True) if plan.told and plan.action == "agree" else None
    written = {name: Settled(digest(stored[name]), at) for name in plan.values if name in stored}
    agreed = {name: Settled(one, at) for name, one in plan.agreed.items()}
    sent = {name: digest(value) for name, value in plan.values.items() if name in written}
    made = {name: stored[name] for name, one in written.items() if one.digest != sent[name]}
    if plan.action == "create":
        return Side(True, at, written), Mark(at, sent, made=made, row=True)
    after = Side(True, side.rver if side.alive else at, {**side.fields, **written, **agreed})
    return after, Mark(at, sent, plan.agreed, made) if sent or plan.told else None
