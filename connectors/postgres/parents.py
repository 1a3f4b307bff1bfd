"""Foreign keys between routed tables, and which rows of a set have no parent yet.

While a table is copied, changes of its children arrive before their parents do. The target refuses a whole set for
the sake of one such row; asked beforehand, it names them all in one answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from connectors.contract import Routing

_FOREIGN_KEYS = """
SELECT conname, conrelid, confrelid,
       (SELECT array_agg(attname::text ORDER BY place) FROM unnest(conkey) WITH ORDINALITY AS k (number, place)
        JOIN pg_attribute ON attrelid = conrelid AND attnum = number),
       (SELECT array_agg(attname::text ORDER BY place) FROM unnest(confkey) WITH ORDINALITY AS k (number, place)
        JOIN pg_attribute ON attrelid = confrelid AND attnum = number)
FROM pg_constraint
WHERE contype = 'f' AND conrelid = ANY (%(oids)s) AND confrelid = ANY (%(oids)s)
ORDER BY conname
"""


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A constraint of a routed table. `columns` and `parent` are named as in the source, the rest as in the target.

    `referenced` matches `columns` in order; a column that does not come from the source has the name "".
    """

    name: str
    columns: tuple[str, ...]
    parent: str
    relation: str
    referenced: tuple[str, ...]

    def orphans(self, types: Sequence[str]) -> str:
        """A query for the numbers, from 1, of rows whose parent is missing. Parameters: a `text[]` per column."""
        arrays = ", ".join(["%s::text[]"] * len(self.columns))
        names = ", ".join(f"c{at}" for at in range(len(self.columns)))
        known = " AND ".join(f"v.c{at} IS NOT NULL" for at in range(len(self.columns)))
        same = " AND ".join(
            f"p.{_quoted(column)} = v.c{at}::{type_.replace('%', '%%')}"
            for at, (column, type_) in enumerate(zip(self.referenced, types, strict=True))
        )
        return (
            f"SELECT v.n FROM unnest({arrays}) WITH ORDINALITY AS v ({names}, n)"
            f" WHERE {known} AND NOT EXISTS (SELECT FROM {_quoted(*self.relation.split('.', 1))} p WHERE {same})"
        )


def read_foreign_keys(
    connection: psycopg.Connection[Any], oids: Mapping[str, int], routes: Mapping[str, Routing]
) -> dict[str, list[ForeignKey]]:
    """Foreign keys between routed tables, those of a table to itself among them, by the table that has them."""
    names = {oid: name for name, oid in oids.items()}
    found: dict[str, list[ForeignKey]] = {name: [] for name in oids}
    for name, child, parent, columns, referenced in connection.execute(_FOREIGN_KEYS, {"oids": list(names)}):
        routing, relation = routes[names[child]], routes[names[parent]].table or names[parent]
        sent = tuple(routing.origin(column) for column in columns)
        found[names[child]].append(ForeignKey(name, sent, names[parent], relation, tuple(referenced)))
    return found


def _quoted(*names: str) -> str:
    return sql.Identifier(*names).as_string().replace("%", "%%")
