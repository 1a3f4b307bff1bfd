"""What may go wrong with reading one table: the fault of that table, or of the whole source."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg

from daemon.capture.slot import Server
from daemon.errors import OperatorError
from daemon.state.jobs import Job

_OF_THE_SERVER = ("08", "53", "57P", "58", "F0", "XX")
"""Classes of SQLSTATE that say nothing about a table: connection, resources, shutdown, system, internal errors."""


_MEND = """
SELECT concat_ws('; ',
    'GRANT USAGE ON SCHEMA ' || string_agg(DISTINCT quote_ident(n.nspname), ', ')
        FILTER (WHERE NOT has_schema_privilege(n.oid, 'USAGE')) || ' TO ' || quote_ident(current_user),
    'GRANT SELECT ON ' || string_agg(quote_ident(n.nspname) || '.' || quote_ident(c.relname), ', ')
        FILTER (WHERE NOT has_table_privilege(c.oid, 'SELECT')) || ' TO ' || quote_ident(current_user),
    CASE WHEN bool_or(c.relrowsecurity AND row_security_active(c.oid))
        THEN 'ALTER ROLE ' || quote_ident(current_user) || ' BYPASSRLS' END)
FROM unnest(%s::text[]) AS wanted
JOIN pg_namespace n ON n.nspname = split_part(wanted, '.', 1)
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = substr(wanted, strpos(wanted, '.') + 1)
"""


def right_missing(reader: Server, tables: Sequence[str]) -> str:
    """For the operator, of tables that the role may not read: with the statements that would let it."""
    statements = mending(reader, tables)
    return f"The right to read {', '.join(tables)} is missing." + (f" Try: {statements}" if statements else "")


def mending(reader: Server, tables: Sequence[str]) -> str:
    """The statements alone; none when nothing is missing by now."""
    row = reader.query(_MEND, [list(tables)])
    return row[0] if row else ""


def of_the_table(error: BaseException) -> bool:
    """Reading other tables may go well."""
    return (
        isinstance(error, psycopg.Error)
        and error.sqlstate is not None
        and not error.sqlstate.startswith(_OF_THE_SERVER)
    )


def not_captured(job: Job) -> str:
    """For the operator."""
    return (
        f"{job.table} is not captured. Put it into sources.{job.source}.tables and run placemat init,"
        f" then: placemat snapshot {job.table}"
    )


def sentence(job: Job, error: BaseException) -> str:
    """For the operator, without values of rows."""
    if isinstance(error, OperatorError):
        return f"{error} {error.try_}" + (" After that it is copied by itself." if job.lasting else "")
    assert isinstance(error, psycopg.Error)
    then = "and it is copied by itself" if job.lasting else f"then: placemat snapshot {job.table}"
    return f"{job.table} cannot be read ({type(error).__name__}). Put that right, {then}"
