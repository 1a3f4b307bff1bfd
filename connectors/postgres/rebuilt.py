"""Rows of the past as a table of their own, beside the one that they were rows of. It is there whole, or not at all."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import msgspec
import orjson
import psycopg
from psycopg import sql

from connectors.contract import Expected, Routing
from connectors.errors import OperatorError
from connectors.postgres.failures import Refused
from connectors.postgres.rows import Net, decode_change, decode_key
from connectors.postgres.session import open_session
from connectors.postgres.statements import read_catalogue
from connectors.postgres.table_writes import TableWrites

UNKNOWN = "placemat_unknown"
"""The column that names those whose value is not told."""
_COLUMNS = """
SELECT attname::text FROM pg_attribute
WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum
"""


def write_table(
    url: str,
    what: str,
    table: str,
    into: str,
    columns: Collection[str],
    masked: Collection[str],
    rows: Iterable[Sequence[Expected]],
) -> list[str]:
    """Make `into` (`schema.table`) with the columns that both the rows and `table` have, of its types, and write the
    rows; columns in `masked` are texts. `what` names the database. Returns the rows' columns that `table` has not got.

    Raises OperatorError when the table is there, or the role may not make it, or a value does not fit.
    """
    try:
        with open_session(url, "placemat rebuild") as connection:
            present = [name for (name,) in connection.execute(_COLUMNS, [_quoted(table).as_string()])]
            kept = [name for name in present if name in columns]
            _create(connection, table, into, kept, masked)
            _write(connection, table, into, kept, rows)
            return [name for name in columns if name not in present]
    except Refused as error:
        raise OperatorError(
            f"A value of that time does not fit its column in {table}: {error.reason}.",
            "Take the rows as JSON or CSV instead: leave out --into.",
        ) from None
    except psycopg.errors.DuplicateTable:
        raise OperatorError(f"{what} has a table {into}.", "Name another one with --into.") from None
    except psycopg.errors.InsufficientPrivilege as error:
        raise OperatorError(
            f"{what} does not let its role make {into}: {error.diag.message_primary}.",
            f"Its role needs SELECT on {table}, and CREATE on the schema of {into}.",
        ) from None
    except psycopg.Error as error:
        raise OperatorError(
            f"{what} did not make {into}: {error.diag.message_primary or type(error).__name__}.",
            "Nothing was written; put that right, then run the same again.",
        ) from None


def _create(
    connection: psycopg.Connection[Any], table: str, into: str, columns: Sequence[str], masked: Collection[str]
) -> None:
    listed = sql.SQL(", ").join(
        sql.SQL("{0}::text AS {0}" if name in masked else "{0}").format(sql.Identifier(name)) for name in columns
    )
    connection.execute(
        sql.SQL("CREATE TABLE {} AS SELECT {}, NULL::text[] AS {} FROM {} WITH NO DATA").format(
            _quoted(into), listed, sql.Identifier(UNKNOWN), _quoted(table)
        )
    )


def _write(
    connection: psycopg.Connection[Any],
    table: str,
    into: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[Expected]],
) -> None:
    keyed = False
    for chunk in rows:
        if chunk and not keyed:
            key = sql.SQL(", ").join(map(sql.Identifier, decode_key(chunk[0].key)))
            connection.execute(sql.SQL("ALTER TABLE {} ADD PRIMARY KEY ({})").format(_quoted(into), key))
            keyed = True
            catalogue = read_catalogue(connection, into, {table: Routing(table=into)})
            writes = TableWrites(connection, into, catalogue)
        if chunk:
            writes.write_nets({table: {row.key: _net(row, columns) for row in chunk}})


def _net(row: Expected, columns: Sequence[str]) -> Net:
    change = decode_change(row.content or b"")
    after = change.after or {}
    told = {name: after[name] for name in columns if name in after}
    unknown = msgspec.Raw(orjson.dumps(change.unchanged) if change.unchanged else b"null")
    return Net("upsert", {**told, UNKNOWN: unknown})


def _quoted(name: str) -> sql.Identifier:
    return sql.Identifier(*name.split(".", 1))
