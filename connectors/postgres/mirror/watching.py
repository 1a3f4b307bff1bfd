"""Triggers of a mirror's tables, each a statement's: what changes a row tells what follows from that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg import sql

_EVENTS = {
    "INSERT": ("AFTER", "REFERENCING NEW TABLE AS new_rows"),
    "UPDATE": ("AFTER", "REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows"),
    "DELETE": ("AFTER", "REFERENCING OLD TABLE AS old_rows"),
    "TRUNCATE": ("BEFORE", ""),
}
EVENTS = tuple(_EVENTS)
_LIKE = """
SELECT tgname, nspname, relname FROM pg_trigger JOIN pg_class c ON c.oid = tgrelid
JOIN pg_namespace n ON n.oid = relnamespace WHERE tgname LIKE %s AND NOT tgisinternal
"""


def watch(
    mirror: psycopg.Connection[Any], table: str, event: str, name: str, function: str, arguments: Sequence[str]
) -> None:
    """Have a function of schema placemat be run for every such statement. Raises psycopg.Error."""
    when, referencing = _EVENTS[event]
    mirror.execute(
        sql.SQL(
            "CREATE OR REPLACE TRIGGER {} {} {} ON {} {} FOR EACH STATEMENT EXECUTE FUNCTION placemat.{}({})"
        ).format(
            sql.Identifier(name), sql.SQL(when), sql.SQL(event), sql.Identifier(*table.split(".", 1)),
            sql.SQL(referencing), sql.Identifier(function), sql.SQL(", ").join(map(sql.Literal, arguments)),
        )
    )  # fmt: skip


def unwatch(mirror: psycopg.Connection[Any], names: str) -> None:
    """Take triggers away whose names are like that (LIKE). Raises psycopg.Error."""
    for name, *table in mirror.execute(_LIKE, [names]).fetchall():
        mirror.execute(sql.SQL("DROP TRIGGER {} ON {}").format(sql.Identifier(name), sql.Identifier(*table)))
