"""Whether tables can go both ways: rows are told apart and values written alike, and old rows stand in the log."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import psycopg
from psycopg import sql

from connectors.contract import Routing
from connectors.errors import OperatorError
from connectors.postgres.plan import alike
from connectors.postgres.shape import Table, read_table, read_types
from connectors.postgres.steps import TOLD_BY_TEXT
from connectors.postgres.two_way import cascades

_IDENTITY = """
SELECT relreplident FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = %s AND relname = %s
"""


def check(
    source: psycopg.Connection[Any], target: psycopg.Connection[Any], name: str, source_name: str,
    routes: Mapping[str, Routing], masks: Mapping[str, Collection[str]],
) -> Iterator[OperatorError]:  # fmt: skip
    """Compare both sides of every table that goes both ways; a table that is missing is told elsewhere."""
    for table, routing in routes.items():
        theirs, ours = read_table(source, table), read_table(target, routing.table or table)
        if theirs is None or ours is None:
            continue
        yield from _identity(source, f"source {source_name}", table)
        yield from _keys(source, name, table, theirs)
        yield from _types(source, target, name, table, routing)
        yield from cascades.check(target, name, routing.table or table)
        for column in sorted(masks.get(table, ())):
            yield OperatorError(
                f"Column {column} of {table} is masked at source {source_name}, and the table goes both ways.",
                f"Leave it out of the route: add it to targets.{name}.tables.{table}.exclude.",
                exit_code=2,
            )


def check_hub(
    hub: psycopg.Connection[Any], name: str, source_name: str, routes: Mapping[str, Routing]
) -> Iterator[OperatorError]:
    """The hub's own tables, as the role that is to write there sees them."""
    for table in routes:
        if read_table(hub, table) is None:
            yield OperatorError(
                f"Target {name} has no table {table}: its url is not of the database of source {source_name}.",
                f"Correct the url of the target that brings changes to {source_name}.",
            )
            continue
        yield from _identity(hub, f"source {source_name}", table)


def _identity(connection: psycopg.Connection[Any], where: str, table: str) -> Iterator[OperatorError]:
    found = connection.execute(_IDENTITY, table.split(".", 1)).fetchone()
    if found is not None and found[0] != "f":
        quoted = sql.Identifier(*table.split(".", 1)).as_string()
        yield OperatorError(
            f"{table} of {where} goes both ways, and its log does not hold rows as they were before a change.",
            f"As its owner run there: ALTER TABLE {quoted} REPLICA IDENTITY FULL",
        )


def _keys(source: psycopg.Connection[Any], name: str, table: str, theirs: Table) -> Iterator[OperatorError]:
    types = read_types(source, table)
    for column in sorted(theirs.primary_key):
        if types[column][0] not in TOLD_BY_TEXT and types[column][1] is None:
            yield OperatorError(
                f"The key of {table} is of type {types[column][0]}, of which one value may have several texts:"
                " its rows cannot go both ways.",
                f"Take both_ways out of the route of {table}, at target {name} or where it comes from.",
                exit_code=2,
            )


def _types(
    source: psycopg.Connection[Any], target: psycopg.Connection[Any], name: str, table: str, routing: Routing
) -> Iterator[OperatorError]:
    theirs, ours = read_types(source, table), read_types(target, routing.table or table)
    for column, (type_, _) in theirs.items():
        there = ours.get(routing.renamed(column))
        if routing.leaves_out(column) or there is None or type_ == there[0] or alike(type_, there[0]):
            continue
        yield OperatorError(
            f"Column {column} of {table} is {type_} on one side and {there[0]} in target {name}: the same value"
            " would be written in two ways, and never be equal.",
            f"Give it the same type on both sides, or add it to targets.{name}.tables.{table}.exclude.",
        )
