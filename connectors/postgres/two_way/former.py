"""Databases that may have been a hub: the tables of one stand there, whatever the configuration says by now."""

from __future__ import annotations

from typing import Any, NamedTuple

import psycopg

_DATABASE = """
SELECT extract(epoch FROM pg_postmaster_start_time())::text || ' ' || oid FROM pg_database
WHERE datname = current_database()
"""
# By number, as a name is refused where the schema may not be used. Sizes are told to everybody.
_TABLES = """
SELECT coalesce(sum(pg_relation_size(c.oid)), 0) > 0, coalesce(bool_and(has_schema_privilege(n.oid, 'USAGE')
    AND has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT')
    AND has_table_privilege(c.oid, 'UPDATE')), true)
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = 'placemat' AND c.relname = ANY (ARRAY['hub_rows', 'links', 'conflicts', 'conflict_log', 'decisions'])
"""
_KEEPS = """
SELECT EXISTS (SELECT FROM placemat.hub_rows) OR EXISTS (SELECT FROM placemat.links)
    OR EXISTS (SELECT FROM placemat.conflict_log) OR EXISTS (SELECT FROM placemat.decisions)
"""


class Kept(NamedTuple):
    """Of one database, as a role sees it. `database` tells databases apart, by whatever name they are reached."""

    database: str
    something: bool
    """Whether a hub's tables hold anything; where the role may not look: whether they ever have."""
    allowed: bool


def kept(connection: psycopg.Connection[Any]) -> Kept:
    """What stands there. Raises psycopg.Error."""
    (database,) = connection.execute(_DATABASE).fetchone() or ("",)
    used, allowed = connection.execute(_TABLES).fetchone() or (False, True)
    if not used or not allowed:
        return Kept(database, used, allowed)
    (something,) = connection.execute(_KEEPS).fetchone() or (False,)
    return Kept(database, something, allowed)
