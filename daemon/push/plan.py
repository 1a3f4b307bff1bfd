"""What is to be asked of a service for one row, told by what is known of it. Pure.

Rows are in canonical form, as the service shows them: of what it cannot show, such as seconds of a moment, nothing is
compared, or every look would find a difference that no write takes away.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import cast

import msgspec

from connectors.pushing import Due, Intent, Linked, Operation
from daemon.resolve import outbound, wire
from daemon.resolve.backlog import read_backlog
from daemon.resolve.intent import Intent as Planned
from daemon.resolve.outbound import Plan
from daemon.resolve.rules import Rules
from daemon.resolve.values import Digest, digest
from schemas.position import Position
from schemas.resolution import Fields, IntentEntry

_intent = msgspec.json.Decoder(IntentEntry).decode


@dataclass(frozen=True, slots=True)
class Step:
    """`operation` None: nothing is to be asked for. `values` are by field what the service shows once it is done; what
    is sent are the wanted values of those fields. `two_way`: of a row that goes both ways."""

    operation: Operation | None
    values: Fields = field(default_factory=dict)
    two_way: Planned | None = None

    @property
    def content(self) -> str:
        """As it is kept while the request is open."""
        if self.two_way is None:
            return msgspec.json.encode(IntentEntry(dict(self.values))).decode()
        plan, before = self.two_way.plan, self.two_way.before
        at = plan.at.timeline, plan.at.commit_lsn, plan.at.ordinal
        entry = IntentEntry(
            dict(self.values), None if before is None else wire.texts(before), plan.action, at, dict(plan.agreed),
            sorted(plan.held), plan.told,
        )  # fmt: skip
        return msgspec.json.encode(entry).decode()


def read_step(intent: Intent) -> Step:
    """What somebody was about to do."""
    entry = _intent(intent.content)
    if not entry.action:
        return Step(intent.operation, entry.values)
    agreed = {name: Digest(one) for name, one in entry.agreed.items()}
    action = cast("Operation", entry.action)
    plan = Plan(action, Position(*entry.at), entry.values, agreed, frozenset(entry.held), entry.told)
    return Step(intent.operation, entry.values, Planned(plan, entry.before))


def outward(due: Due, shown: Fields | None) -> Step:
    """Of a row that goes one way: what differs from what was written last. `shown` is the row as the service will show
    it (None: it is to have none)."""
    if shown is None:
        return Step("delete" if due.linked.alive else None)
    if not due.linked.alive:
        return Step("create", shown)
    changed = {name: value for name, value in shown.items() if due.linked.sent.get(name) != _sent(value)}
    return Step("update", changed) if changed else Step(None)


def both_ways(spoke: str, due: Due, shown: Fields | None, current: Fields | None, rules: Rules) -> Step:
    """Of a row that goes both ways: steps "API" and "outbound" of the resolution protocol. `current` is the row as the
    service has it now."""
    backlog, side = read_backlog(due.backlog, spoke), wire.read_side(due.linked.side)
    if backlog is None:
        return Step(None)
    told = backlog.record.row
    row = None if told is None or shown is None else {name: value for name, value in shown.items() if name in told}
    if backlog.decided:
        plan = outbound.repair(shown, side, current)
    else:
        rules = replace(rules, polled=True)
        plan = outbound.plan(spoke, replace(backlog.record, row=row), side, current, rules)
    match plan.action:
        case "create" | "update" | "delete" as operation:
            return Step(operation, wire.texts(plan.values), Planned(plan, current))
        case _:
            return Step(None, {}, Planned(plan, current))


def written(linked: Linked, values: Fields, remote_id: str, version: str | None) -> Linked:
    """What is kept of a row that goes one way, once these fields were written."""
    sent = {**(linked.sent if linked.alive else {}), **{name: _sent(value) for name, value in values.items()}}
    return Linked(remote_id, version, sent, None, alive=True)


def found_as(linked: Linked, current: Fields, remote_id: str, version: str | None) -> Linked:
    """As if that had been written which a record was found to have."""
    return written(replace(linked, alive=False), current, remote_id, version)


def taken_away(linked: Linked) -> Linked:
    """Once its record is gone. Its id is kept: it may be taken back."""
    return Linked(linked.remote_id, None, {}, linked.side, alive=False)


def sends(row: Fields, names: Collection[str]) -> Mapping[str, str | None]:
    """The wanted values of some fields."""
    return {name: row[name] for name in names if name in row}


def _sent(value: str | None) -> str:
    return digest(value).hex()
