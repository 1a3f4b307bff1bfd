"""Values that come from a service, in the form that they have once they are stored: 12.5 as 12.50 in a column with two
decimals. What is too long for its column is left as it is: the hub has to refuse it, and nobody is to cut it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg

from connectors.postgres.shape import read_table
from connectors.postgres.statements import TargetTable
from connectors.postgres.two_way.canonical import Canonical

ROUNDING = ("numeric(", "timestamp(", "time(", "interval(", "character(")
"""How types begin of which a value is brought into form by being stored, and not refused."""


class StoredCanonical(Canonical):
    """As `Canonical`, by the types of the columns with their lengths."""

    def __init__(self, connection: psycopg.Connection[Any], table: TargetTable) -> None:
        super().__init__(connection, table, at_hub=False)
        shape = read_table(connection, table.routing.table or table.name)
        columns = shape.columns if shape is not None else {}
        self._exact = {name: one.type for name, one in columns.items() if one.type.startswith(ROUNDING)}

    def _text(self, name: str, value: str) -> str:
        exact = self._exact.get(name)
        return super()._text(name, value if exact is None else f"({value})::{exact}")


def stored_canonicals(
    connection: psycopg.Connection[Any], tables: Mapping[str, TargetTable]
) -> dict[str, StoredCanonical]:
    return {name: StoredCanonical(connection, table) for name, table in tables.items()}
