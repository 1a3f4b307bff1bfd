"""Whether a role may do to a table of a source what is asked for, and sees all of its rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg import sql

from connectors.errors import OperatorError

_RIGHTS = """
SELECT current_user::text, (SELECT array_agg(one) FROM unnest(%s::text[]) one
       WHERE NOT has_table_privilege(c.oid, one)), row_security_active(c.oid)
FROM pg_class c WHERE c.oid = to_regclass(%s)
"""


def check_rights(connection: psycopg.Connection[Any], source: str, table: str, rights: Sequence[str]) -> None:
    """Raises OperatorError, with the statement that helps, unless the connection's role has these rights."""
    quoted = sql.Identifier(*table.split(".", 1)).as_string()
    row = connection.execute(_RIGHTS, [list(rights), quoted]).fetchone()
    if row is None:
        raise OperatorError(f"The source {source} has no table {table}.", "Correct its name.")
    role, lacking, guarded = row
    if lacking:
        raise OperatorError(
            f"Role {role} may not {' and '.join(lacking)} in {table} of the source {source}.",
            f"As its owner run: GRANT {', '.join(lacking)} ON {quoted} TO {role};"
            f" or set sources.{source}.restore_url to another role's URL.",
        )
    if guarded:
        raise OperatorError(
            f"Row-level security of {table} may hide rows from role {role}.",
            f"Run: ALTER ROLE {role} BYPASSRLS; or set sources.{source}.restore_url to another role's URL.",
        )
