"""A route walked backwards: which columns of a source's row its target still holds, and how they are written back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from connectors.contract import Routing
from connectors.errors import OperatorError
from connectors.postgres.shape import read_table
from connectors.postgres.statements import TargetColumn, TargetTable, read_catalogue

_MAY = "SELECT has_table_privilege(%s, 'INSERT')"


@dataclass(frozen=True, slots=True)
class Way:
    """One table: what it is at the target, its columns in the source that come back, and those that do not."""

    target: TargetTable
    source: TargetTable
    key: tuple[str, ...]
    columns: tuple[str, ...]
    lost: tuple[str, ...]

    @property
    def rank(self) -> int:
        """In the source, parents have a lower one than their children."""
        return self.source.rank

    @property
    def select(self) -> str:
        """Every row of the target, as texts."""
        texts = ", ".join(f"{_quoted(self.target.columns[name].name)}::text" for name in self.columns)
        return f"SELECT {texts} FROM {self.target.only}"

    def insert(self, key: Sequence[str]) -> str:
        """Rows that the source does not have by this key. Parameters: a `text[]` per column."""
        names = ", ".join(map(_quoted, self.columns))
        arrays = ", ".join(["%s::text[]"] * len(self.columns))
        cells = ", ".join(f"c{at}" for at in range(len(self.columns)))
        at = {name: f"c{at}::{_type(self.source.columns[name])}" for at, name in enumerate(self.columns)}
        same = " AND ".join(f"t.{_quoted(name)} = {at[name]}" for name in key)
        # Looked for first: one that was restored has columns that must not be null and that the route does not bring.
        return (
            f"INSERT INTO {self.source.quoted} ({names}) OVERRIDING SYSTEM VALUE SELECT {', '.join(at.values())}"
            f" FROM unnest({arrays}) AS v({cells})"
            f" WHERE NOT EXISTS (SELECT FROM {self.source.only} t WHERE {same})"
            f" ON CONFLICT ({', '.join(map(_quoted, key))}) DO NOTHING"
        )

    def check(self, source: psycopg.Connection[Any], name: str) -> None:
        """Raises OperatorError when the role may not write the table."""
        row = source.execute(_MAY, [self.source.quoted.replace("%%", "%")]).fetchone()
        source.rollback()
        if row is None or not row[0]:
            raise OperatorError(
                f"Role {source.info.user} may not write {self.source.name} of source {name}.",
                f"Grant it INSERT there, or set sources.{name}.restore_url to a role that may.",
            )


def ways(
    target: psycopg.Connection[Any], source: psycopg.Connection[Any], name: str, routes: Mapping[str, Routing]
) -> dict[str, Way]:
    """By table; those that one of the sides does not have are left out."""
    theirs = read_catalogue(target, name, routes).tables
    target.rollback()
    ours = read_catalogue(source, name, {table: Routing() for table in routes}).tables
    found = {table: _way(theirs[table], ours[table], source) for table in theirs.keys() & ours.keys()}
    source.rollback()
    return found


def _way(target: TargetTable, source: TargetTable, connection: psycopg.Connection[Any]) -> Way:
    shape = read_table(connection, source.name)
    key = tuple(sorted(shape.primary_key)) if shape is not None else ()
    written = [name for name, column in source.columns.items() if not column.generated]
    brought = tuple(name for name in written if name in key or _brings(target, name))
    return Way(target, source, key, brought, tuple(name for name in written if name not in brought))


def _brings(target: TargetTable, name: str) -> bool:
    routing = target.routing
    shown = not routing.leaves_out(name) and name not in routing.masks
    return shown and name in target.columns and routing.renamed(name) not in routing.constants


def _quoted(name: str) -> str:
    return sql.Identifier(name).as_string().replace("%", "%%")


def _type(column: TargetColumn) -> str:
    return column.type.replace("%", "%%")
