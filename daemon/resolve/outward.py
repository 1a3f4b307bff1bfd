"""At a spoke: what the sink asks, in the texts that it stores and reads (`connectors.contract.Outward`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from daemon.resolve import outbound, wire
from daemon.resolve.outbound import Plan
from daemon.resolve.read import hub_record
from daemon.resolve.rules import Rules
from daemon.resolve.state import Side
from schemas.resolution import Fields, RowChange


@dataclass(frozen=True, slots=True)
class Planned:
    plan: Plan
    side: Side

    @property
    def action(self) -> Literal["none", "create", "update", "delete"]:
        match self.plan.action:
            case "create" | "update" | "delete" as action:
                return action
            case _:
                return "none"

    @property
    def values(self) -> Fields:
        return wire.texts(self.plan.values)

    @property
    def outcome(self) -> str:
        """For the audit."""
        if self.plan.held and self.plan.action != "hold":
            return "partly_held"
        return {"skip": "dropped", "hold": "held", "born": "agreed", "agree": "agreed"}.get(self.plan.action, "applied")


class SpokeResolver:
    """One spoke's. `rules` are by the hub's table."""

    def __init__(self, spoke: str, rules: Mapping[str, Rules]) -> None:
        self._spoke = spoke
        self._rules = rules

    def plan(self, table: str, changes: Sequence[RowChange], side: str | None, current: Fields | None) -> Planned:
        known = wire.read_side(side)
        record = outbound.fold(self._spoke, [hub_record(one) for one in changes])
        return Planned(outbound.plan(self._spoke, record, known, current, self._rules[table]), known)

    def repair(self, row: Fields | None, side: str | None, current: Fields | None) -> Planned:
        known = wire.read_side(side)
        return Planned(outbound.repair(row, known, current), known)

    def settle(self, table: str, key: str, planned: Planned, stored: Fields | None) -> tuple[str | None, str | None]:
        side, mark = outbound.settle(planned.plan, planned.side, stored)
        kept = None if side == planned.side else wire.write_side(side)
        return kept, None if mark is None else wire.write_mark(table, key, mark)
