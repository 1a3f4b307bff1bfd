"""At the hub: what the sink asks of a spoke's changes, in the texts that it stores and reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import orjson

from daemon.resolve import decision, wire
from daemon.resolve.conflict import Conflict
from daemon.resolve.decision import Decision, Drop, Hub, Wait, Written
from daemon.resolve.inbound import receive, reject
from daemon.resolve.inbound_queue import Queue, receive_queue, settle_queue
from daemon.resolve.interval import UNKNOWN
from daemon.resolve.read import spoke_record
from daemon.resolve.records import SpokeRecord
from daemon.resolve.rules import Rules
from daemon.resolve.side_effects import absorbed, unseen
from daemon.resolve.state import Link, Pending, RowState
from daemon.resolve.values import Value
from schemas.resolution import AtHub, Fields, Kept, Listed, RowChange


@dataclass(frozen=True, slots=True)
class Planned:
    """`decision` None: it was taken before; several changes come to a queue. `state` is that of all fields, also those
    that the spoke does not have."""

    decision: Decision | Queue | None
    hub: Hub
    state: RowState
    link: Link
    changes: int = 1
    """How many there were."""

    @property
    def action(self) -> Literal["none", "create", "update", "delete"]:
        return "none" if self.decision is None else self.decision.action

    @property
    def values(self) -> Fields:
        return {} if self.decision is None else wire.texts(self.decision.values)

    @property
    def outcome(self) -> str:
        """For the audit."""
        if self.decision is None:
            return "dropped"
        listed = [one for one, _ in self.conflicts]
        return _outcome(self.decision.action != "none", listed, self._decisions)

    @property
    def each(self) -> list[tuple[str, int]]:
        """By change, in their order, its outcome, and how many of `conflicts` are its own."""
        if not isinstance(self.decision, Queue):
            return [(self.outcome, len(self.conflicts))] * self.changes  # several: all were taken before
        return [
            ("dropped", 0)
            if one is None
            else (_outcome(one.action != "none", one.conflicts, [one]), len(one.conflicts))
            for one in self.decision.each
        ]

    @property
    def conflicts(self) -> list[tuple[Conflict, Link]]:
        """Each with what was known of the spoke's row before it."""
        if isinstance(self.decision, Queue):
            return self.decision.conflicts
        return [(one, self.link) for made in self._decisions for one in made.conflicts]

    @property
    def _decisions(self) -> list[Decision]:
        if isinstance(self.decision, Queue):
            return [one for one, _ in self.decision.decisions]
        return [] if self.decision is None else [self.decision]


class HubResolver:
    """For one spoke. `rules` are by the hub's table; `lacks` tells of a table's field whether the spoke has none."""

    def __init__(
        self, spoke: str, rules: Mapping[str, Rules], lacks: Callable[[str, str], bool] = lambda _table, _name: False
    ) -> None:
        self._spoke = spoke
        self._rules = rules
        self._lacks = lacks

    def judge(
        self, table: str, changes: Sequence[RowChange], hub: AtHub, mark: str, *, rejected: bool = False
    ) -> Planned | None:
        whole = read_hub(hub)
        facts = replace(whole, state=without(whole.state, lambda name: self._lacks(table, name)))
        records = [spoke_record(one) for one in changes]
        link = known = wire.read_link(hub.link)
        if hub.others is not None:
            before, facts = facts, absorbed(facts, hub.others.row, Pending(mark), records[0].time)
            link = unseen(known, before, facts, Pending(mark))
        match self._found(records, facts, link, self._rules[table], mark, rejected):
            case Wait():
                return None
            case Drop():
                return Planned(None, facts, whole.state, known, len(changes))
            case found:
                return Planned(found, facts, whole.state, known)

    def _found(
        self, records: Sequence[SpokeRecord], hub: Hub, link: Link, rules: Rules, mark: str, rejected: bool
    ) -> Drop | Wait | Decision | Queue:
        if len(records) > 1:
            assert not rejected, "events are rejected one by one"
            return receive_queue(self._spoke, records, hub, link, rules, Pending(mark))
        if rejected:
            return reject(records[0], hub, link, rules)
        return receive(self._spoke, records[0], hub, link, rules)

    def settle(self, table: str, key: str, planned: Planned, stored: Fields | None, mark: str) -> Kept:
        made, written = planned.decision, Written(stored, Pending(mark))
        match made:
            case None:
                return Kept(None, None, None, None)
            case Queue():
                outcome = settle_queue(self._spoke, made, written)
            case Decision():
                outcome = decision.settle(self._spoke, made, planned.hub, written)
        state = replace(outcome.state, fields={**planned.state.fields, **outcome.state.fields})
        return Kept(
            None if state == planned.state else wire.write_state(state),
            None if outcome.link == planned.link else wire.write_link(outcome.link),
            None if outcome.conflict == planned.hub.conflict else wire.write_conflict(outcome.conflict),
            None if outcome.answer is None else wire.write_answer(table, key, outcome.answer),
            [_listed(one, link) for one, link in planned.conflicts],
            bool(outcome.conflict),
        )


def _outcome(writes: bool, conflicts: Sequence[Conflict], decisions: Sequence[Decision]) -> str:
    if any(one.resolution == "manual" for one in conflicts):
        return "waits_for_a_person"
    if any(one.resolution != "agreed" for one in conflicts):
        return "conflict"
    if writes:
        return "applied"
    kinds = {one.kind for made in decisions for one in made.verdicts.values()}
    return "echo" if not kinds else "agreed" if kinds == {"agreed"} else "kept"


def read_hub(hub: AtHub) -> Hub:
    """What is stored, as the resolver reads it."""
    return Hub(hub.row, wire.read_state(hub.state), hub.observed, hub.end, wire.read_conflict(hub.conflict), hub.late)


def without(state: RowState, lacks: Callable[[str], bool]) -> RowState:
    """Nobody there could have seen these, and so they are no reason to keep a row that is deleted there."""
    shown = {name: one for name, one in state.fields.items() if not lacks(name)}
    return state if len(shown) == len(state.fields) else replace(state, fields=shown)


def _listed(one: Conflict, link: Link) -> Listed:
    base = link.kept.get(one.field) if one.field is not None and one.resolution != "agreed" else None
    return Listed(
        one.field, one.kind, one.rule, one.resolution, one.won, _text(base), _text(one.ours), _text(one.theirs),
        None if one.ours_time == UNKNOWN else one.ours_time.hi,
        None if one.theirs_time == UNKNOWN else one.theirs_time.hi,
    )  # fmt: skip


def _text(value: Value) -> str | None:
    """A whole row becomes one JSON text."""
    if isinstance(value, dict):
        return orjson.dumps(value).decode()
    return wire.text(value)
