"""The benchmark's own table: rows of about 650 bytes, each made from its number alone."""

from __future__ import annotations

import psycopg

TABLE = "public.bench"
PUBLICATION = "placemat"

CREATE_TABLE = f"""
CREATE TABLE {TABLE} (
    id     uuid PRIMARY KEY,
    n      bigint NOT NULL,
    at     timestamptz NOT NULL,
    a      text NOT NULL,
    b      text NOT NULL,
    amount numeric(14, 2) NOT NULL,
    ok     boolean NOT NULL,
    doc    jsonb NOT NULL
);
"""
GRANTS_PRIMARY = f"""
{CREATE_TABLE}
GRANT SELECT ON {TABLE} TO placemat_capture;
CREATE PUBLICATION {PUBLICATION} FOR TABLE {TABLE};
"""
GRANTS_TARGET = f"""
{CREATE_TABLE}
GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON {TABLE} TO placemat_apply;
CREATE SCHEMA placemat AUTHORIZATION placemat_apply;
"""
_VALUES = "n, clock_timestamp(), repeat(md5(n::text), 9), repeat(md5((-n)::text), 8), 12.50, true, '{\"a\": 1}'"
_INSERT = f"INSERT INTO {TABLE} SELECT md5(n::text)::uuid, {_VALUES} FROM generate_series(%s::bigint, %s::bigint) AS n"
_UPDATE = f"""
UPDATE {TABLE} SET at = clock_timestamp(), b = repeat(md5((n + 1)::text), 8), amount = amount + 1
WHERE id IN (SELECT md5(n::text)::uuid FROM generate_series(%s::bigint, %s::bigint) AS n)
"""
PACED_INSERT = f"INSERT INTO {TABLE} SELECT gen_random_uuid(), {_VALUES} FROM (SELECT -1::bigint AS n) AS one;\n"
"""A script for pgbench: one row that was not there."""
PACED_UPDATE = (
    "\\set k random(1, :rows)\n"
    f"UPDATE {TABLE} SET at = clock_timestamp(), amount = amount + 1 WHERE id = md5((:k)::text)::uuid;\n"
)
"""A script for pgbench: one of the rows 1 to `rows`."""


def insert(dsn: str, first: int, last: int, per_transaction: int = 1) -> None:
    """Rows `first` to `last`, so many in each transaction."""
    _run(dsn, _INSERT, first, last, per_transaction)


def update(dsn: str, first: int, last: int, per_transaction: int) -> None:
    """Change those rows; all of them are there."""
    _run(dsn, _UPDATE, first, last, per_transaction)


def _run(dsn: str, statement: str, first: int, last: int, per_transaction: int) -> None:
    """What is committed at the end is on disk; before that nobody waits for the disk."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("SET synchronous_commit = off")
        for start in range(first, last + 1, per_transaction):
            end = min(start + per_transaction - 1, last)
            if end == last:
                connection.execute("RESET synchronous_commit")
            connection.execute(statement.encode(), [start, end])
