"""What is to be remembered of which table, so that conditions over parents can be told. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import orjson

from connectors.contract import Parent, Routing
from connectors.errors import OperatorError
from connectors.postgres.related import SourceColumn
from connectors.route.condition import Column, ConditionError, columns
from connectors.route.kinds import Kind
from connectors.route.masks import TEXTS
from connectors.route.truth import Test, bind

WHOLE_NUMBERS = frozenset({"smallint", "integer", "bigint"})


class Key(NamedTuple):
    """The key column of a parent."""

    column: str
    whole_number: bool

    def record_key(self, text: str) -> str:
        """The record key of the row with this text for a key."""
        return orjson.dumps({self.column: int(text) if self.whole_number else text}).decode()


@dataclass(slots=True)
class Rule:
    """The condition of a route: the test, and what the names of its paths stand for."""

    test: Test
    own: frozenset[str]
    parents: Mapping[tuple[str, ...], Parent]


@dataclass(slots=True)
class Plan:
    """One table. `refers` says of its columns which table they refer to, and `keys` by which key.

    `children` says that rows of others refer to it.
    `fields` are the columns that are remembered; none where the condition asks for nothing but the row's own.
    """

    table: str
    routed: bool
    rule: Rule | None = None
    fields: set[str] = field(default_factory=set)
    refers: dict[str, str] = field(default_factory=dict)
    keys: dict[str, Key] = field(default_factory=dict)
    children: bool = False

    @property
    def remembered(self) -> bool:
        return bool(self.fields)


def alike(one: str, other: str) -> bool:
    """Whether values of two types, which are without length, compare in the same way."""
    return one == other or any({one, other} <= types for types in (TEXTS, WHOLE_NUMBERS))


def tables(routes: Mapping[str, Routing]) -> list[str]:
    """Every table whose changes a target needs: those that are routed, and those that conditions name."""
    named = (parent.table for routing in routes.values() for parent in routing.parents.values())
    return list(dict.fromkeys((*routes, *named)))


def above(named: Mapping[str, Collection[str]]) -> dict[str, frozenset[str]]:
    """Of the tables that a condition names, by its table, those that go first: of two that name each other neither."""

    def rests(table: str, on: str) -> bool:
        seen, ahead = set[str](), [table]
        while ahead:
            one = ahead.pop()
            ahead += set(named.get(one, ())) - seen
            seen.add(one)
        return on in seen

    return {table: frozenset(one for one in parents if not rests(one, table)) for table, parents in named.items()}


def asked(routes: Mapping[str, Routing]) -> dict[str, dict[str, str | None]]:
    """The columns that conditions need, by table; of those that refer to a parent, its table."""
    found: dict[str, dict[str, str | None]] = {}
    for table, routing in routes.items():
        for column in columns(routing.where) if routing.where is not None else ():
            found.setdefault(_holder(table, routing, column.path), {}).setdefault(column.name, None)
        for path, parent in routing.parents.items():
            found.setdefault(_holder(table, routing, path[:-1]), {})[parent.column] = parent.table
    return found


def remembered(routes: Mapping[str, Routing]) -> dict[str, set[str]]:
    """The columns that are remembered of every row, by table: of those that have parents or are some."""
    above = {parent.table for routing in routes.values() for parent in routing.parents.values()}
    return {table: set(names) for table, names in asked(routes).items() if table in above or any(names.values())}


def asking(routes: Mapping[str, Routing], table: str, column: str) -> list[tuple[str, str]]:
    """What asks for a column of a table: routed tables, each with the name of the setting in its route."""
    found = []
    for child, routing in routes.items():
        named = columns(routing.where) if routing.where is not None else ()
        if any(one.name == column and _holder(child, routing, one.path) == table for one in named):
            found.append((child, "where"))
        for path, parent in routing.parents.items():
            if parent.column == column and _holder(child, routing, path[:-1]) == table:
                found.append((child, f"parents.{'.'.join(path)}"))
    return found


def referring(routes: Mapping[str, Routing], table: str) -> list[tuple[str, str, tuple[str, str]]]:
    """What finds rows of a table by their key: routed tables, each with the name of the setting in its route, and with
    the table and column that refer."""
    return [
        (child, f"parents.{'.'.join(path)}", (_holder(child, routing, path[:-1]), parent.column))
        for child, routing in routes.items()
        for path, parent in routing.parents.items()
        if parent.table == table
    ]


def plans(target: str, routes: Mapping[str, Routing], known: Mapping[tuple[str, str], SourceColumn]) -> dict[str, Plan]:
    """Plans of the tables that have or concern a condition; `known` is by table and column.

    Raises OperatorError where a condition does not fit the columns that it names.
    """
    found: dict[str, Plan] = {}
    for table, routing in routes.items():
        if routing.where is not None:
            own = found.setdefault(table, Plan(table, routed=True))
            own.rule = _rule(target, table, routing, known)
    for table, routing in routes.items():
        for path, parent in routing.parents.items():
            holder = found.setdefault((name := _holder(table, routing, path[:-1])), Plan(name, name in routes))
            holder.refers[parent.column] = parent.table
            if (reference := known.get((name, parent.column))) is not None and reference.key_column is not None:
                holder.keys[parent.column] = Key(reference.key_column, reference.type in WHOLE_NUMBERS)
            found.setdefault(parent.table, Plan(parent.table, parent.table in routes)).children = True
    for table, names in remembered(routes).items():
        found[table].fields.update(names)
    return found


def _rule(target: str, table: str, routing: Routing, held: Mapping[tuple[str, str], SourceColumn]) -> Rule:
    assert routing.where is not None, "a rule is made of a condition"
    named = columns(routing.where)
    known: dict[Column, Kind] = {}
    for column in named:
        holder = _holder(table, routing, column.path)
        if (holder, column.name) in held:
            known[column] = held[holder, column.name].kind
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
