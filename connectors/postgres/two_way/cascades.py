"""Rows that go with the row that they refer to. A deletion that came from elsewhere takes none of them along unseen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from connectors.errors import OperatorError

_CASCADES = """
SELECT conrelid, conrelid::regclass::text,
       (SELECT array_agg(attname::text ORDER BY place) FROM unnest(conkey) WITH ORDINALITY AS k (number, place)
        JOIN pg_attribute ON attrelid = conrelid AND attnum = number),
       (SELECT array_agg(attname::text ORDER BY place) FROM unnest(confkey) WITH ORDINALITY AS k (number, place)
        JOIN pg_attribute ON attrelid = confrelid AND attnum = number)
FROM pg_constraint JOIN pg_class p ON p.oid = confrelid JOIN pg_namespace n ON n.oid = p.relnamespace
WHERE contype = 'f' AND confdeltype = 'c' AND conparentid = 0 AND nspname = %s AND p.relname = %s
"""
_RIGHTS = """
SELECT has_schema_privilege(n.oid, 'USAGE'), row_security_active(c.oid), nspname, relname,
       ARRAY(SELECT one FROM unnest(%s::text[]) AS one WHERE NOT has_column_privilege(c.oid, one, 'SELECT'))
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE c.oid = %s
"""


@dataclass(frozen=True, slots=True)
class Cascade:
    """`relation` is quoted, and its columns `child` hold what the columns `parent` hold there."""

    oid: int
    relation: str
    child: tuple[str, ...]
    parent: tuple[str, ...]


def cascades(connection: psycopg.Connection[Any], table: str) -> list[Cascade]:
    """What goes with the rows of a table."""
    found = connection.execute(_CASCADES, table.split(".", 1))
    return [Cascade(oid, relation, tuple(child), tuple(parent)) for oid, relation, child, parent in found]


def check(connection: psycopg.Connection[Any], name: str, table: str) -> Iterator[OperatorError]:
    """Whether the role sees, in target `name`, which rows would go with one of a table."""
    role = connection.info.user
    for cascade in cascades(connection, table):
        row = connection.execute(_RIGHTS, [list(cascade.child), cascade.oid]).fetchone()
        assert row is not None, "its foreign key was found a moment ago"
        may_enter, hides_rows, schema, bare, unseen = row
        lacks = f"Role {role} does not see in target {name} which rows of {schema}.{bare} would go with one of {table}"
        if not may_enter:
            yield OperatorError(
                f"{lacks}: it may not use schema {schema}.",
                f"As its owner run: GRANT USAGE ON SCHEMA {_quoted(schema)} TO {_quoted(role)}",
            )
        if unseen:
            columns = ", ".join(map(_quoted, unseen))
            yield OperatorError(
                f"{lacks}: it may not read {', '.join(unseen)}.",
                f"As its owner run: GRANT SELECT ({columns}) ON {_quoted(schema, bare)} TO {_quoted(role)}",
            )
        if hides_rows:
            yield OperatorError(
                f"{lacks}: row-level security hides rows.",
                f"As a superuser run: ALTER ROLE {_quoted(role)} BYPASSRLS",
            )


def _quoted(*names: str) -> str:
    return sql.Identifier(*names).as_string()
