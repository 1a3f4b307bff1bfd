"""Whether a target can take what its source sends: each fault is one sentence that names table and column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import psycopg
from psycopg import sql

from connectors.contract import Routing
from connectors.errors import OperatorError
from connectors.postgres import columns, conditions
from connectors.postgres.shape import Check, Column, Table, holds, read_table, read_types
from connectors.route.masks import Mask

SCAN_SECONDS = 120

_RIGHTS = """
SELECT has_schema_privilege(n.oid, 'USAGE'), row_security_active(c.oid),
       ARRAY(SELECT p FROM unnest(%s::text[]) AS p WHERE NOT has_table_privilege(c.oid, p))
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = %s AND relname = %s
"""
# A table without any identity is the source's own fault, and is told there.
_BY_DEFAULT = """
SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE nspname = %s AND relname = %s AND relreplident = 'd'
"""


@dataclass(frozen=True, slots=True)
class Routed:
    """One table as it is routed, and the names that it has on both sides."""

    table: str
    routing: Routing

    @property
    def ours(self) -> str:
        return self.routing.table or self.table


def check(
    source: psycopg.Connection[Any],
    target: psycopg.Connection[Any],
    name: str,
    routes: Mapping[str, Routing],
    masks: Mapping[str, Mapping[str, Mask]],
    *,
    may_be_empty: bool = False,
) -> Iterator[OperatorError]:
    """Compare every routed table on both sides; tables that the source lacks are the source's own fault.

    `masks` are the source's own, by table and column. `may_be_empty`: what must not be NULL in the target may be empty
    in the source all the same; such a row waits when it comes.
    """
    for table, routing in routes.items():
        route = Routed(table, routing)
        theirs = read_table(source, table)
        ours = read_table(target, route.ours)
        if theirs is None:
            continue
        if ours is None:
            yield OperatorError(
                f"Target {name} has no table {route.ours}.",
                f"Create it there, or take it out of targets.{name}.tables.",
            )
            continue
        sent = {**routing.masks, **masks.get(table, {})}
        yield from _rights(target, name, route)
        yield from _key(source, name, route, theirs, ours)
        yield from columns.check(target, name, route.table, routing, theirs, ours)
        seen = columns.arriving(theirs, read_types(source, table), routing, sent)
        if may_be_empty:
            seen = {column: replace(one, not_null=True) for column, one in seen.items()}
        yield from _columns(name, route, seen, ours.columns)
        yield from _checks(source, name, route, theirs, ours, sent)
    yield from conditions.check(source, target, name, routes)


def _rights(target: psycopg.Connection[Any], name: str, route: Routed) -> Iterator[OperatorError]:
    needed = ["SELECT", "INSERT", "UPDATE", "DELETE", *(["TRUNCATE"] if route.routing.truncate == "apply" else [])]
    schema, bare = route.ours.split(".", 1)
    row = target.execute(_RIGHTS, [needed, schema, bare]).fetchone()
    assert row is not None, "the table was found a moment ago"
    may_enter, hides_rows, missing = row
    role = target.info.user
    quoted = sql.Identifier(role).as_string()
    table = sql.Identifier(schema, bare).as_string()
    if not may_enter:
        yield OperatorError(
            f"Role {role} may not use schema {schema} of target {name}.",
            f"As its owner run: GRANT USAGE ON SCHEMA {sql.Identifier(schema).as_string()} TO {quoted}",
        )
    if missing:
        yield OperatorError(
            f"Role {role} lacks {', '.join(missing)} on {route.ours} of target {name}.",
            f"As its owner run: GRANT {', '.join(missing)} ON {table} TO {quoted}",
        )
    if hides_rows:
        yield OperatorError(
            f"Row-level security hides rows of {route.ours} in target {name} from role {role}.",
            f"As a superuser run: ALTER ROLE {quoted} BYPASSRLS",
        )


def _key(
    source: psycopg.Connection[Any], name: str, route: Routed, theirs: Table, ours: Table
) -> Iterator[OperatorError]:
    if not theirs.primary_key and not source.execute(_BY_DEFAULT, theirs.name.split(".", 1)).fetchone():
        yield OperatorError(
            f"{theirs.name} has no primary key in the source, and target {name} could not tell its rows apart.",
            "Give it one in the source, over the columns that tell its rows apart; or take it out of"
            f" targets.{name}.tables.",
        )
    routing = route.routing
    key = frozenset(map(routing.renamed, theirs.primary_key))
    if key and key not in ours.keys:
        listed = ", ".join(sorted(key))
        yield OperatorError(
            f"{ours.name} of target {name} has no unique key on ({listed}), the source's primary key.",
            f"Add it there: ALTER TABLE {_quoted(ours.name)} ADD PRIMARY KEY ({listed})",
        )
    for column in sorted(theirs.primary_key):
        if column in routing.masks or routing.withholds(column):
            yield OperatorError(
                f"Column {column} of {route.table} is in its primary key, and cannot be masked or left out.",
                f"Correct targets.{name}.tables.{route.table}.",
                exit_code=2,
            )


def _columns(
    name: str, route: Routed, arriving: Mapping[str, Column], ours: Mapping[str, Column]
) -> Iterator[OperatorError]:
    for column in arriving.values():
        fault = _column_fault(name, route, column, ours.get(column.name))
        if fault is not None:
            yield fault
    for column in ours.values():
        if column.name in arriving or column.name in route.routing.constants:
            continue
        if column.not_null and not column.filled:
            yield OperatorError(
                f"Column {column.name} of {route.ours} in target {name} must not be null, has no default,"
                " and the source does not send it.",
                f"There run: ALTER TABLE {_quoted(route.ours)} ALTER {_quoted(column.name)} DROP NOT NULL;"
                " or give it a default.",
            )


def _column_fault(name: str, route: Routed, source: Column, target: Column | None) -> OperatorError | None:
    """The first thing that keeps a column from being written as it comes."""
    table = route.ours
    alter = f"There run: ALTER TABLE {_quoted(table)}"
    or_local = f"or name it under targets.{name}.tables.{route.table}.local, to leave it out."
    column = _quoted(source.name)
    if target is None:
        return OperatorError(
            f"{table} of target {name} has no column {source.name}.",
            f"{alter} ADD {column} {source.type}; {or_local}",
        )
    if target.generated:
        return OperatorError(
            f"Column {source.name} of {table} in target {name} is generated and cannot be written.",
            f"{alter} ALTER {column} DROP EXPRESSION; {or_local}",
        )
    if not holds(target, source):
        return OperatorError(
            f"Column {source.name} of {table} is {_described(target, source)} in target {name},"
            f" which cannot hold the source's {source.type}.",
            _type_advice(alter, column, source, target, or_local),
        )
    if target.not_null and not source.not_null:
        return OperatorError(
            f"Column {source.name} of {table} must not be null in target {name}, and may be null in the source.",
            f"{alter} ALTER {column} DROP NOT NULL; or set it NOT NULL in the source too; {or_local}",
        )
    return None


def _described(target: Column, source: Column) -> str:
    missing = _missing_labels(target, source)
    return f"{target.type} without {', '.join(missing)}" if missing else target.type


def _type_advice(alter: str, column: str, source: Column, target: Column, or_local: str) -> str:
    missing = _missing_labels(target, source)
    if missing:
        return f"There run: ALTER TYPE {target.base or target.type} ADD VALUE '{missing[0]}'; {or_local}"
    return f"{alter} ALTER {column} TYPE {source.type}; {or_local}"


def _missing_labels(target: Column, source: Column) -> list[str]:
    if target.labels is None or target.type not in (source.type, source.base):
        return []
    return [label for label in source.labels or () if label not in target.labels]


def _checks(
    source: psycopg.Connection[Any],
    name: str,
    route: Routed,
    theirs: Table,
    ours: Table,
    masks: Mapping[str, Mask],
) -> Iterator[OperatorError]:
    """A CHECK that only the target has is tried on the rows that the source holds now, if they arrive as they are."""
    routing = route.routing
    known = {check.expression for check in theirs.checks}
    same = {
        column
        for column in theirs.columns
        if not routing.leaves_out(column) and column not in masks and routing.origin(column) == column
    }
    for constraint in ours.checks:
        comparable = set(constraint.columns) <= same and routing.where is None
        if constraint.expression in known or not constraint.portable or not comparable:
            continue
        if refused := _count_refused(source, route.table, constraint):
            yield OperatorError(
                f"Constraint {constraint.name} on {route.ours} of target {name}"
                f" refuses {refused} row{'s' if refused > 1 else ''} that the source holds.",
                f"There run: ALTER TABLE {_quoted(route.ours)} DROP CONSTRAINT {_quoted(constraint.name)};"
                " or correct those rows in the source.",
            )


def _count_refused(source: psycopg.Connection[Any], table: str, constraint: Check) -> int:
    """0 also where the source cannot evaluate it: then each row is judged when it comes."""
    statement = f"SELECT count(*) FROM {_quoted(table)} WHERE NOT ({constraint.expression})"
    try:
        with source.transaction():
            source.execute("SET TRANSACTION READ ONLY")
            source.execute(f"SET LOCAL statement_timeout = '{SCAN_SECONDS}s'")
            row = source.execute(statement.encode()).fetchone()
    except psycopg.Error:
        return 0
    return int(row[0]) if row else 0


def _quoted(name: str) -> str:
    return sql.Identifier(*name.split(".", 1)).as_string()
