"""Conditions of routes, held against the catalogues of both sides; and the types that they are compared by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import psycopg

from connectors.contract import Routing
from connectors.errors import OperatorError
from connectors.postgres import plan
from connectors.postgres.columns import mask_faults
from connectors.postgres.parents import read_foreign_keys
from connectors.postgres.related import SourceColumn, remember_columns
from connectors.postgres.shape import Type, read_references, read_types

_KEYS = frozenset({"uuid", "smallint", "integer", "bigint", "text", "character varying"})
"""Types of keys of which the text alone tells the row."""
_OID = "SELECT to_regclass(quote_ident(%s) || '.' || quote_ident(%s))::oid::bigint"


def remember(
    source: psycopg.Connection[Any], target: psycopg.Connection[Any], name: str, routes: Mapping[str, Routing]
) -> None:
    """Store in the target what its worker has to know of the columns that conditions need; `name` is the source's."""
    found: dict[tuple[str, str], SourceColumn] = {}
    for table, asked in plan.asked(routes).items():
        types, references = read_types(source, table), read_references(source, table)
        for column, parent in asked.items():
            if column in types:
                key = references.get((column, parent)) if parent is not None else None
                found[table, column] = SourceColumn(*types[column], key)
    remember_columns(target, name, found)


def check(
    source: psycopg.Connection[Any], target: psycopg.Connection[Any], name: str, routes: Mapping[str, Routing]
) -> Iterator[OperatorError]:
    """Every fault of masks, parents and conditions of a target."""
    types = {table: read_types(source, table) for table in plan.tables(routes)}
    for table, routing in routes.items():
        yield from mask_faults(f"targets.{name}.tables.{table}.masks", routing.masks, types[table])
        yield from _parents(source, name, table, routing, types)
    held = {
        (table, name): SourceColumn(*one, None) for table, columns in types.items() for name, one in columns.items()
    }
    try:
        plan.plans(name, routes, held)
    except OperatorError as fault:
        yield fault
    yield from _orphaned(target, name, routes)


def _parents(
    source: psycopg.Connection[Any],
    name: str,
    table: str,
    routing: Routing,
    types: Mapping[str, Mapping[str, Type]],
) -> Iterator[OperatorError]:
    """Each parent has to be what a foreign key refers to, by its key."""
    for path, parent in routing.parents.items():
        holder = routing.parents[path[:-1]].table if path[:-1] else table
        place = f"targets.{name}.tables.{table}.parents.{'.'.join(path)}"
        key = read_references(source, holder).get((parent.column, parent.table))
        if key is None:
            yield OperatorError(
                f"{place} says that column {parent.column} of {holder} refers to {parent.table},"
                " and no foreign key of the source does.",
                f'Name the column: {{ table = "{parent.table}", column = "…" }}; or add the foreign key.',
                exit_code=2,
            )
        elif types[parent.table][key][0] not in _KEYS:
            yield OperatorError(
                f"{place} cannot be followed: the key of {parent.table} is of type {types[parent.table][key][0]}.",
                f"Conditions follow keys of these types: {', '.join(sorted(_KEYS))}.",
                exit_code=2,
            )


def _orphaned(target: psycopg.Connection[Any], name: str, routes: Mapping[str, Routing]) -> Iterator[OperatorError]:
    """Rows cannot stay where a row that they refer to may leave."""
    oids = {}
    for table, routing in routes.items():
        row = target.execute(_OID, (routing.table or table).split(".", 1)).fetchone()
        if row and row[0]:
            oids[table] = row[0]
    for child, keys in read_foreign_keys(target, oids, routes).items():
        named = {parent.table for parent in routes[child].parents.values()}
        for key in keys:
            if routes[key.parent].where is not None and key.parent not in named and key.parent != child:
                yield OperatorError(
                    f"Rows of {child} refer to {key.parent} in target {name}, which has a condition,"
                    " and their own condition does not name it: they could not stay when their parent leaves.",
                    f"Repeat the condition of {key.parent} in targets.{name}.tables.{child}.where, by a parent's name.",
                    exit_code=2,
                )
