"""The two tables as they are now, row by row and field by field, read with SQL in key order."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import merge
from itertools import groupby
from operator import itemgetter
from typing import Any

from psycopg import Connection, sql

from daemon.embedded.witness.report import Tally
from daemon.embedded.witness.tables import Table

FETCH = 200

Side = int
PRIMARY, TARGET = 0, 1
Fields = tuple[str | None, ...]


def compare_rows(primary: Connection[Any], target: Connection[Any], table: Table, tally: Tally) -> None:
    both = merge(rows(primary, table, PRIMARY), rows(target, table, TARGET), key=itemgetter(0))
    for key, group in groupby(both, key=itemgetter(0)):
        found = {side: fields for _, side, fields in group}
        if len(found) == 1:
            where = "the target" if TARGET in found else "the primary"
            tally.add("damaged", table.name, key, f"the row is only in {where}")
        elif found[PRIMARY] != found[TARGET]:
            differing = [
                column
                for column, ours, theirs in zip(table.compared, found[PRIMARY], found[TARGET], strict=True)
                if ours != theirs
            ]
            tally.fields.update(f"{table.name}.{column}" for column in differing)
            tally.add("damaged", table.name, key, f"other values in {', '.join(differing)}")


def rows(conn: Connection[Any], table: Table, side: Side) -> Iterator[tuple[str, Side, Fields]]:
    columns = [sql.SQL("present.{}::text").format(sql.Identifier(column)) for column in table.compared]
    statement = sql.SQL('SELECT {} COLLATE "C" AS witness_key, {} FROM {} AS present ORDER BY 1').format(
        table.key("present"), sql.SQL(", ").join(columns), table.identifier
    )
    with conn.cursor(name="witness_rows") as cursor:
        cursor.itersize = FETCH
        for key, *fields in cursor.execute(statement):
            yield key, side, tuple(fields)
