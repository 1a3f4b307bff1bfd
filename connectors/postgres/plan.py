"""What is to be remembered of which table, so that conditions over parents can be told. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from connectors.contract import Parent, Routing
from connectors.errors import OperatorError
from connectors.route.condition import Column, ConditionError, columns
from connectors.route.kinds import Kind
from connectors.route.truth import Test, bind


@dataclass(slots=True)
class Rule:
    """The condition of a route: the test, and what the names of its paths stand for."""

    test: Test
    own: frozenset[str]
    parents: Mapping[tuple[str, ...], Parent]


@dataclass(slots=True)
class Plan:
    """One table. `refers` says of its columns which table they refer to; `children` that rows of others refer to it.

    `fields` are the columns that are remembered; none where the condition asks for nothing but the row's own.
    """

    table: str
    routed: bool
    rule: Rule | None = None
    fields: set[str] = field(default_factory=set)
    refers: dict[str, str] = field(default_factory=dict)
    children: bool = False

    @property
    def remembered(self) -> bool:
        return bool(self.fields)


def tables(routes: Mapping[str, Routing]) -> list[str]:
    """Every table whose changes a target needs: those that are routed, and those that conditions name."""
    named = (parent.table for routing in routes.values() for parent in routing.parents.values())
    return list(dict.fromkeys((*routes, *named)))


def asked(routes: Mapping[str, Routing]) -> dict[str, set[str]]:
    """The columns that conditions need, by table, those that refer to parents among them."""
    found: dict[str, set[str]] = {}
    for table, routing in routes.items():
        for column in columns(routing.where) if routing.where is not None else ():
            found.setdefault(_holder(table, routing, column.path), set()).add(column.name)
        for path, parent in routing.parents.items():
            found.setdefault(_holder(table, routing, path[:-1]), set()).add(parent.column)
    return found


def plans(target: str, routes: Mapping[str, Routing], kinds: Mapping[tuple[str, str], Kind]) -> dict[str, Plan]:
    """Plans of the tables that have or concern a condition; `kinds` are by table and column.

    Raises OperatorError where a condition does not fit the columns that it names.
    """
    found: dict[str, Plan] = {}
    for table, routing in routes.items():
        if routing.where is not None:
            own = found.setdefault(table, Plan(table, routed=True))
            own.rule = _rule(target, table, routing, kinds)
    for table, routing in routes.items():
        for path, parent in routing.parents.items():
            holder = found.setdefault((name := _holder(table, routing, path[:-1])), Plan(name, name in routes))
            holder.refers[parent.column] = parent.table
            found.setdefault(parent.table, Plan(parent.table, parent.table in routes)).children = True
    for table, names in asked(routes).items():
        if found[table].children or found[table].refers:
            found[table].fields |= names
    return found


def _rule(target: str, table: str, routing: Routing, kinds: Mapping[tuple[str, str], Kind]) -> Rule:
    assert routing.where is not None, "a rule is made of a condition"
    named = columns(routing.where)
    known: dict[Column, Kind] = {}
    for column in named:
        holder = _holder(table, routing, column.path)
        if (holder, column.name) in kinds:
            known[column] = kinds[holder, column.name]
    try:
        test = bind(routing.where, known)
    except ConditionError as error:
        raise OperatorError(
            f"The condition of targets.{target}.tables.{table}.where cannot be applied: {error}.",
            "Correct it, then run: placemat init",
            exit_code=2,
        ) from None
    return Rule(test, frozenset(column.name for column in named if not column.path), routing.parents)


def _holder(table: str, routing: Routing, path: tuple[str, ...]) -> str:
    return routing.parents[path].table if path else table
