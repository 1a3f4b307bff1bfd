"""One of the two databases that are compared: a connection whose texts are the same on every server."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import psycopg
from psycopg import sql

from daemon.database import unreachable
from daemon.errors import OperatorError

CONNECT_SECONDS = 10
# Keys are looked up by index, however the planner weighs a chunk of them against a scan of the whole table.
# An empty search path makes every name of a type come out, and go back in, with its schema.
SESSION = """
SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'postgres'; SET extra_float_digits = 3;
SET bytea_output = 'hex'; SET lc_monetary = 'C'; SET xmloption = 'content'; SET search_path = '';
SET array_nulls = on; SET quote_all_identifiers = off; SET row_security = off; SET client_encoding = 'UTF8';
SET jit = off; SET enable_hashjoin = off; SET enable_mergejoin = off
"""


@dataclass(frozen=True, slots=True)
class Side:
    """An open connection, in autocommit: each read sees what is committed when it begins."""

    kind: Literal["source", "target"]
    name: str
    connection: psycopg.Connection[tuple[Any, ...]]

    @property
    def label(self) -> str:
        """How sentences call it."""
        return f"The {self.kind} {self.name}"

    def rows(self, query: sql.Composed | sql.SQL, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Every row of a query.

        Raises OperatorError when the connection is lost, the role may not read, or a table has changed meanwhile.
        """
        try:
            return self.connection.execute(query, values).fetchall()
        except psycopg.OperationalError as error:
            raise OperatorError(
                f"{self.label} stopped answering: {first_line(error)}.", "Run the same again when it answers."
            ) from error
        except psycopg.errors.InsufficientPrivilege as error:
            role, what = self.connection.info.user, first_line(error)
            advice = f"GRANT SELECT on the table TO {role}; with row-level security also ALTER ROLE {role} BYPASSRLS"
            if schema := re.search(r"for schema (.+)", what):
                advice = f"GRANT USAGE ON SCHEMA {schema[1]} TO {role}"
            raise OperatorError(f"{self.label} does not let role {role} read: {what}.", f"Run {advice}.") from error
        except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn) as error:
            raise OperatorError(
                f"{self.label} was altered while it was compared: {first_line(error)}.", "Run the same again."
            ) from error


@contextmanager
def opened(kind: Literal["source", "target"], name: str, url: str) -> Iterator[Side]:
    """Connect for the length of a comparison.

    Raises OperatorError when there is no connection to be had, with exit code 2 when the URL is none.
    """
    try:
        connection = psycopg.connect(
            url,
            autocommit=True,
            connect_timeout=CONNECT_SECONDS,
            application_name="placemat verify",
            prepare_threshold=None,
        )
    except psycopg.Error as error:
        raise unreachable(error, f"The {kind} {name}", f"{kind}s.{name}.url") from None
    with connection:
        connection.execute(SESSION)
        yield Side(kind, name, connection)


def first_line(error: psycopg.Error) -> str:
    """What the server or the driver says, without its final stop."""
    text = error.diag.message_primary or str(error)
    return (text.strip().splitlines() or [type(error).__name__])[0].rstrip(".")
