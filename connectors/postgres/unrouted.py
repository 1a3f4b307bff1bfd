"""What the target keeps of tables that are not needed there any more.

Nothing of it may stay: a table that comes back would go on from where it was left, under a lane that went on meanwhile.
So it joins like a new one, and is copied.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import psycopg

from connectors.postgres.bookkeeping import MAIN_LANE

_TOPICS = """
SELECT topic FROM placemat.offsets WHERE source = %(source)s UNION
SELECT topic FROM placemat.pins WHERE source = %(source)s
"""
_TABLES = """
WITH RECURSIVE known (its_table) AS (
    SELECT min(table_name) FROM placemat.related WHERE source = %(source)s
    UNION ALL
    SELECT (SELECT min(table_name) FROM placemat.related WHERE source = %(source)s AND table_name > its_table)
    FROM known WHERE its_table IS NOT NULL
)
SELECT its_table FROM known WHERE its_table IS NOT NULL UNION
SELECT lane FROM placemat.lanes WHERE source = %(source)s AND lane <> %(main)s UNION
SELECT table_name FROM placemat.routes WHERE source = %(source)s UNION
SELECT table_name FROM placemat.pauses WHERE source = %(source)s AND state <> 'asked'
"""
_PARKED = "SELECT DISTINCT table_name FROM placemat.parked WHERE source = %(source)s"
_FORGET_TOPICS = (
    "DELETE FROM placemat.offsets WHERE source = %s AND topic = ANY (%s)",
    "DELETE FROM placemat.pins WHERE source = %s AND topic = ANY (%s)",
)
_FORGET_TABLES = (
    "DELETE FROM placemat.related WHERE source = %s AND table_name = ANY (%s)",
    "DELETE FROM placemat.routes WHERE source = %s AND table_name = ANY (%s)",
    "DELETE FROM placemat.lanes WHERE source = %s AND lane = ANY (%s)",
    "DELETE FROM placemat.pauses WHERE source = %s AND table_name = ANY (%s) AND state <> 'asked'",
)
_FORGET_PARKED = ("DELETE FROM placemat.parked WHERE source = %s AND table_name = ANY (%s)",)


class Unrouted:
    """What is kept of one source beside `topics` and `tables`, which are read, and `routed` tables, which are written.
    Reads and writes within the open transaction."""

    def __init__(
        self, connection: psycopg.Connection[Any], source: str, topics: Collection[str], tables: Collection[str],
        routed: Collection[str],
    ) -> None:  # fmt: skip
        self._connection = connection
        self._source = source
        self._found = (
            (_FORGET_TOPICS, self._strange(_TOPICS, topics)),
            (_FORGET_TABLES, self._strange(_TABLES, tables)),
            (_FORGET_PARKED, self._strange(_PARKED, routed)),
        )

    def __bool__(self) -> bool:
        return any(names for _, names in self._found)

    def forget(self) -> None:
        """Delete all of it."""
        for statements, names in self._found:
            for statement in statements if names else ():
                self._connection.execute(statement, [self._source, names])

    def _strange(self, query: str, known: Collection[str]) -> list[str]:
        rows = self._connection.execute(query, {"source": self._source, "main": MAIN_LANE}).fetchall()
        return sorted({name for (name,) in rows} - set(known))
