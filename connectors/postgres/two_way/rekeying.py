"""Rows get other keys, with all that refers to them, in one statement, so that no foreign key ever finds them apart.

What is checked for a row is checked at the end of the statement that has changed it, whether a constraint can be
deferred or not, and whatever it says of updates: by then parents and children have moved together. And as each row is
changed once, however many of the rows that it refers to have moved, the log tells of no state between.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

_REFERRING = """
SELECT replace(conrelid::regclass::text, '%%', '%%%%'), nspname || '.' || relname, relkind = 'p', confupdtype = 'c',
       (SELECT array_agg(attname::text ORDER BY place) FROM unnest(conkey) WITH ORDINALITY AS k (number, place)
        JOIN pg_attribute ON attrelid = conrelid AND attnum = number),
       (SELECT array_agg(attname::text ORDER BY place) FROM unnest(confkey) WITH ORDINALITY AS k (number, place)
        JOIN pg_attribute ON attrelid = confrelid AND attnum = number)
FROM pg_constraint JOIN pg_class c ON c.oid = conrelid JOIN pg_namespace n ON n.oid = relnamespace
WHERE contype = 'f' AND confrelid = %s::regclass AND conparentid = 0 ORDER BY conname
"""


@dataclass(frozen=True, slots=True)
class Referring:
    """A foreign key that refers to a table: of which table (`relation` is quoted, `name` is not), its columns, and the
    columns there; `cascades`: the database itself moves it along."""

    relation: str
    name: str
    partitioned: bool
    cascades: bool
    columns: tuple[str, ...]
    referenced: tuple[str, ...]


def referring(connection: psycopg.Connection[Any], quoted: str) -> list[Referring]:
    """All foreign keys that refer to a table."""
    rows = connection.execute(_REFERRING, [quoted])
    return [
        Referring(relation, name, partitioned, cascades, tuple(columns), tuple(referenced))
        for relation, name, partitioned, cascades, columns, referenced in rows
    ]


@dataclass(frozen=True, slots=True)
class Keyed:
    """A table whose rows get other keys: as `schema.table`, as it stands in statements, and its key's columns, with
    their types."""

    name: str
    only: str
    columns: tuple[str, ...]
    types: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Held:
    """Columns of a table that hold keys of the table with this number, in the order of that key."""

    of: int
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Changing:
    """One table whose rows change: those whose own key, or that of a row they refer to, is another."""

    relation: str
    holds: tuple[Held, ...]

    def value(self, column: str, row: str) -> str:
        """What a column is to hold; `row` is the name of the row."""
        found = [f"h{at}.n{held.columns.index(column)}" for at, held in enumerate(self.holds) if column in held.columns]
        return f"coalesce({', '.join([*found, f'{row}.{_identifier(column)}'])})"

    def joined(self, row: str) -> str:
        """The table as `row`, with the keys that its rows hold."""
        parts = [f"{self.relation} AS {row}"]
        for at, held in enumerate(self.holds):
            same = " AND ".join(f"h{at}.o{n} = {row}.{_identifier(name)}" for n, name in enumerate(held.columns))
            parts.append(f"LEFT JOIN moved_{held.of} h{at} ON {same}")
        return " ".join(parts)

    @property
    def condition(self) -> str:
        """Which rows change."""
        return "(" + " OR ".join(f"h{at}.o0 IS NOT NULL" for at in range(len(self.holds))) + ")"

    @property
    def update(self) -> str:
        columns = dict.fromkeys(name for held in self.holds for name in held.columns)
        assigned = ", ".join(f"{_identifier(name)} = {self.value(name, 'c')}" for name in columns)
        return (
            f"UPDATE {self.relation} AS c SET {assigned} FROM {self.joined('s')}"
            f" WHERE c.ctid = s.ctid AND c.tableoid = s.tableoid AND {self.condition} RETURNING 1"
        )


def changing(tables: Sequence[Keyed], references: Mapping[str, Sequence[Referring]]) -> dict[str, Changing]:
    """By `schema.table`, every table whose rows change when those of `tables` get other keys; `references` are by
    those."""
    relations = {one.name: one.only for one in tables}
    holds: dict[str, list[Held]] = {one.name: [Held(at, one.columns)] for at, one in enumerate(tables)}
    for number, table in enumerate(tables):
        for one in references[table.name]:
            at = {there: here for here, there in zip(one.columns, one.referenced, strict=True)}
            if set(at) == set(table.columns):
                relations.setdefault(one.name, one.relation if one.partitioned else f"ONLY {one.relation}")
                holds.setdefault(one.name, []).append(Held(number, tuple(at[column] for column in table.columns)))
    return {name: Changing(relations[name], tuple(dict.fromkeys(held))) for name, held in holds.items()}


def moved(tables: Sequence[Keyed]) -> str:
    """The keys, old and new, of each table. Parameters: a `text[]` of JSON objects for each."""
    parts = []
    for number, table in enumerate(tables):
        columns = ", ".join(
            f"(v.doc::jsonb ->> '{side}{at}')::{type_} AS {side}{at}"
            for side in "on"
            for at, type_ in enumerate(table.types)
        )
        parts.append(f"moved_{number} AS MATERIALIZED (SELECT {columns} FROM unnest(%s::text[]) AS v(doc))")
    return f"WITH {', '.join(parts)}"


def statement(tables: Sequence[Keyed], changes: Mapping[str, Changing]) -> str:
    """The whole of it. Parameters as of `moved`; returns how many rows of each of `changes` have changed."""
    parts = [f"u{at} AS ({one.update})" for at, one in enumerate(changes.values())]
    counts = ", ".join(f"(SELECT count(*) FROM u{at})" for at in range(len(parts)))
    return ", ".join([moved(tables), *parts]) + f" SELECT {counts}"


def _identifier(name: str) -> str:
    return sql.Identifier(name).as_string().replace("%", "%%")
