"""At the hub: what the sink asks of a spoke's changes, in the texts that it stores and reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import orjson

from daemon.resolve import decision, wire
from daemon.resolve.conflict import Conflict
from daemon.resolve.decision import Decision, Drop, Hub, Wait, Written
from daemon.resolve.inbound import receive, reject
from daemon.resolve.interval import UNKNOWN
from daemon.resolve.read import spoke_record
from daemon.resolve.rules import Rules
from daemon.resolve.state import Link, Pending, RowState
from daemon.resolve.values import Value
from schemas.resolution import AtHub, Fields, Kept, Listed, RowChange


@dataclass(frozen=True, slots=True)
class Planned:
    """`decision` None: it was taken before. `state` is that of all fields, also those that the spoke does not have."""

    decision: Decision | None
    hub: Hub
    state: RowState
    link: Link

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
        kinds = {one.kind for one in self.decision.verdicts.values()}
        if any(one.resolution == "manual" for one in self.decision.conflicts):
            return "waits_for_a_person"
        if self.decision.conflicts:
            return "conflict"
        if self.decision.action != "none":
            return "applied"
        return "echo" if not kinds else "agreed" if kinds == {"agreed"} else "kept"


class HubResolver:
    """For one spoke. `rules` are by the hub's table, as are `hidden`, the fields that the spoke does not have."""

    def __init__(
        self, spoke: str, rules: Mapping[str, Rules], hidden: Mapping[str, frozenset[str]] | None = None
    ) -> None:
        self._spoke = spoke
        self._rules = rules
        self._hidden = hidden or {}

    def judge(self, table: str, change: RowChange, hub: AtHub, *, rejected: bool = False) -> Planned | None:
        hidden = self._hidden.get(table, frozenset())
        whole = read_hub(hub)
        facts = replace(whole, state=_without(whole.state, hidden))
        link = wire.read_link(hub.link)
        record, rules = spoke_record(change), self._rules[table]
        found = reject(record, facts, link, rules) if rejected else receive(self._spoke, record, facts, link, rules)
        match found:
            case Wait():
                return None
            case Drop():
                return Planned(None, facts, whole.state, link)
            case Decision():
                return Planned(found, facts, whole.state, link)

    def settle(self, table: str, key: str, planned: Planned, stored: Fields | None, mark: str) -> Kept:
        made = planned.decision
        if made is None:
            return Kept(None, None, None, None)
        outcome = decision.settle(self._spoke, made, planned.hub, Written(stored, Pending(mark)))
        state = replace(outcome.state, fields={**planned.state.fields, **outcome.state.fields})
        return Kept(
            None if state == planned.state else wire.write_state(state),
            None if outcome.link == planned.link else wire.write_link(outcome.link),
            None if outcome.conflict == planned.hub.conflict else wire.write_conflict(outcome.conflict),
            None if outcome.answer is None else wire.write_answer(table, key, outcome.answer),
            [_listed(one, planned.link) for one in made.conflicts],
            bool(outcome.conflict),
        )


def read_hub(hub: AtHub) -> Hub:
    """What is stored, as the resolver reads it."""
    return Hub(hub.row, wire.read_state(hub.state), hub.observed, hub.end, wire.read_conflict(hub.conflict))


def _without(state: RowState, hidden: frozenset[str]) -> RowState:
    """Nobody there could have seen these, and so they are no reason to keep a row that is deleted there."""
    if hidden.isdisjoint(state.fields):
        return state
    return replace(state, fields={name: one for name, one in state.fields.items() if name not in hidden})


def _listed(one: Conflict, link: Link) -> Listed:
    base = link.kept.get(one.field) if one.field is not None else None
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
