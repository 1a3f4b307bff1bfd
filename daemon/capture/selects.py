"""The SELECTs of copies, as SQL: pure."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql

from daemon.capture.catalog import Table

Statement = tuple[sql.Composed, list[str]]
"""With the texts of its parameters $1, $2, …"""


def chunk(
    table: Table, after: Sequence[str] | None, limit: int, condition: str | None = None, *, inclusive: bool = False
) -> Statement:
    """The next rows in key order, behind `after` (or from it on, when `inclusive`), that fulfil the condition."""
    where, values = _where(table, after, condition, ">=" if inclusive else ">")
    statement = sql.SQL("SELECT {} FROM {} {}ORDER BY {} LIMIT {}").format(
        columns(table), named(table), where, names(table), sql.Literal(limit)
    )
    return statement, values


def keyed(table: Table, keys: Sequence[Sequence[str]], first: int = 0) -> Statement:
    """The rows of these keys, each with the place of the key that it answers, from `first` on, as its last column.

    A row comes once for each of its keys: 1.0 and 1.00 are one to PostgreSQL.
    """
    width = len(table.key)
    asked = sql.SQL(", ").join(
        sql.SQL("({}, {})").format(parameters(table, 1 + width * at), sql.Literal(first + at))
        for at in range(len(keys))
    )
    texts = sql.SQL(", ").join(sql.Identifier(f"k{at}") for at in range(width))
    statement = sql.SQL(
        "SELECT {}, asked.place FROM {} t JOIN (VALUES {}) AS asked ({}, place) ON ({}) = ({})"
    ).format(
        columns(table, "t"), named(table), asked, texts,
        sql.SQL(", ").join(sql.Identifier("t", name) for name in table.key),
        sql.SQL(", ").join(sql.Identifier("asked", f"k{at}") for at in range(width)),
    )  # fmt: skip
    return statement, [text for key in keys for text in key]


def expected(table: Table, start: Sequence[str] | None, condition: str | None) -> Statement:
    """What tells how many rows the planner expects, from the key `start` on."""
    where, values = _where(table, start, condition, ">=")
    return sql.SQL("EXPLAIN (FORMAT JSON) SELECT FROM {} {}").format(named(table), where), values


def alone(table: Table, condition: str) -> Statement:
    """A statement that parses only when the condition is an expression that ends where it ends.

    Between brackets of two kinds: what closes those of one statement to go on behind it does not fit the other one.
    """
    statement = sql.SQL("EXPLAIN SELECT FROM {} WHERE (ARRAY[{}])[1]").format(named(table), bracketed(condition))
    return statement, []


def bracketed(condition: str) -> sql.Composed:
    """A line of its own: a comment at the condition's end ends there."""
    return sql.SQL("(\n{}\n)").format(sql.SQL(condition))


def _where(table: Table, key: Sequence[str] | None, condition: str | None, comparison: str) -> Statement:
    tests: list[sql.Composable] = []
    if key is not None:
        tests.append(sql.SQL("({}) {} ({})").format(names(table), sql.SQL(comparison), parameters(table, 1)))
    if condition is not None:
        tests.append(bracketed(condition))
    where = sql.SQL("WHERE {} ").format(sql.SQL(" AND ").join(tests)) if tests else sql.Composed([])
    return where, list(key or ())


def named(table: Table) -> sql.Composable:
    """A partitioned table with its partitions; another without the tables that inherit from it: those are their own."""
    name = sql.Identifier(table.relation.schema, table.relation.table)
    return name if table.partitioned else sql.SQL("ONLY {}").format(name)


def columns(table: Table, *of: str) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(*of, column.name) for column in table.relation.columns)


def names(table: Table) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(name) for name in table.key)


def parameters(table: Table, first: int) -> sql.Composed:
    parts = (f"${first + place}::text::{type_}" for place, type_ in enumerate(table.key_types))
    return sql.SQL(", ").join(sql.SQL(part) for part in parts)
