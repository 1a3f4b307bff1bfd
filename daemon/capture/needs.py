"""From what targets ask for to jobs: a condition over the parents of a table becomes SQL."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import structlog
from psycopg import sql

from daemon.capture.catalog import Table
from daemon.capture.reader import Reader
from daemon.capture.values import as_text
from daemon.errors import OperatorError
from daemon.state.jobs import Order
from schemas.envelope import Row, Step, TableRequest

log = structlog.get_logger(__name__)


def orders(requests: Sequence[TableRequest], reader: Reader) -> dict[str, list[Order]]:
    """Orders by target. What cannot be read is logged and let go: no try would change that."""
    found: dict[str, list[Order]] = {}
    for request in requests:
        name = f"{request.schema_}.{request.table}"
        if not request.where:
            # Whether the table can be read is for its copy to find out, which says so and waits.
            found.setdefault(request.target, []).append(Order(name, place=len(request.path)))
            continue
        try:
            tables = [reader.table(name), *(reader.table(f"{step.schema_}.{step.table}") for step in request.path)]
            condition = condition_of(tables, request.path, request.where)
        except (OperatorError, KeyError, ValueError) as error:
            log.warning("request cannot be read", table=name, target=request.target, error=type(error).__name__)
            continue
        # What lies behind more parents comes later: rows that they refer to come first.
        order = Order(name, reader.text(condition), place=len(request.path))
        found.setdefault(request.target, []).append(order)
    return found


def condition_of(tables: Sequence[Table], path: Sequence[Step], where: Sequence[Row]) -> sql.Composed:
    """SQL over the columns of the first table.

    Raises KeyError for a column that a table lacks, and ValueError for what is no value of its type.
    """
    types = [{column.name: column.type_oid for column in table.relation.columns} for table in tables]
    condition = sql.SQL(" OR ").join(_equal(tables[-1], types[-1], row) for row in where)
    for at in range(len(path), 0, -1):
        step, parent = path[at - 1], tables[at].relation
        if not (step.columns.keys() <= types[at - 1].keys() and set(step.columns.values()) <= types[at].keys()):
            raise KeyError(f"a column between {tables[at - 1].relation.name} and {parent.name}")
        condition = sql.SQL("({}) IN (SELECT {} FROM {} WHERE {})").format(
            _listed(tables[at - 1], step.columns),
            _listed(tables[at], step.columns.values()),
            sql.Identifier(parent.schema, parent.table),
            condition,
        )
    return condition


def _equal(table: Table, types: Mapping[str, int], row: Row) -> sql.Composed:
    if not row:
        raise ValueError("a condition without a column")
    tests = (
        sql.SQL("{} = {}").format(sql.Identifier(table.relation.table, name), sql.Literal(as_text(types[name], value)))
        for name, value in row.items()
    )
    return sql.SQL("({})").format(sql.SQL(" AND ").join(tests))


def _listed(table: Table, names: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(table.relation.table, name) for name in names)
