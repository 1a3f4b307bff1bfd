"""The resolver of a target, as its tables that go both ways ask for it."""

from __future__ import annotations

from connectors.contract import BothWays
from daemon.config.route import Route
from daemon.config.settings import Settings
from daemon.resolve.backlog import MirrorResolver
from daemon.resolve.inward import HubResolver
from daemon.resolve.merge import merged_texts
from daemon.resolve.outward import SpokeResolver
from daemon.resolve.rules import FieldRule, Rules
from daemon.resolve.watching import HubObserver


def two_way(settings: Settings, target: str) -> BothWays | None:
    """How the tables of a target that go both ways are treated there; None: it has none."""
    role = settings.role(target)
    if role is None:
        return None
    tables = {table: route for table, route in settings.targets[target].tables.items() if route.both_ways}
    times = {table: route.updated_at for table, route in tables.items() if route.updated_at is not None}
    if role.kind == "observer":
        return BothWays(frozenset(tables), role.hub, times, observing=HubObserver())
    outward, rules = settings.targets[role.spoke], rules_of(settings, role.spoke)
    if target in settings.services:
        return BothWays(frozenset(tables), role.hub, times, outward=MirrorResolver(target))
    if role.kind == "spoke":
        return BothWays(frozenset(tables), role.hub, times, outward=SpokeResolver(role.spoke, rules))

    def lacks(table: str, column: str) -> bool:
        return outward.tables[table].leaves_out(column)

    return BothWays(frozenset(tables), role.hub, times, inward=HubResolver(role.spoke, rules, lacks))


def rules_of(settings: Settings, spoke: str) -> dict[str, Rules]:
    """Of a spoke's tables that go both ways, by the hub's names."""
    target = settings.targets[spoke]
    return {table: _rules(route, target.skew_seconds) for table, route in target.tables.items() if route.both_ways}


def _rules(route: Route, skew_seconds: float) -> Rules:
    fields = {name: FieldRule(rule) for name, rule in route.rules.items()}
    fields |= {name: FieldRule(outward=True) for name in route.outward}
    return Rules(fields, round(skew_seconds * 1_000_000), merge=merged_texts, rule=route.rule)
