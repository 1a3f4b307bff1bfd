"""A new version of a source's table, held against the target's: columns are added where they may be, and whatever
else keeps records from being written whole is told in a sentence that spells out the statement to run.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg import sql

from connectors.contract import NewShape, Routing
from connectors.errors import TableUnfit
from connectors.postgres.shape import Column, Table, holds, read_table
from schemas.envelope import SchemaColumn

_PASSING = (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled, psycopg.errors.DeadlockDetected)


class Adapting:
    """One table at one target, in the open transaction. `additive` says whether columns may be added."""

    def __init__(
        self, connection: psycopg.Connection[Any], target: str, routing: Routing, shape: NewShape, *, additive: bool
    ) -> None:
        self._connection = connection
        self._target = target
        self._routing = routing
        self._shape = shape
        self._additive = additive
        self._name = routing.table or shape.table
        self._quoted = sql.Identifier(*self._name.split(".", 1)).as_string()

    def run(self) -> None:
        """Raises TableUnfit when the table cannot take what comes now."""
        ours = read_table(self._connection, self._name)
        if ours is None:
            return  # paused at the next claim
        missing = [name for name in self._shape.added if self._arrives(name) and self._to(name) not in ours.columns]
        for name in missing:
            self._check_may_add(self._shape.columns[name], ours)
        for fault in self._faults(ours):
            raise fault
        for name in missing:
            self._add(self._shape.columns[name])

    def _arrives(self, name: str) -> bool:
        return not self._routing.leaves_out(name) and self._to(name) not in self._routing.constants

    def _to(self, name: str) -> str:
        return self._routing.renamed(name)

    def _faults(self, ours: Table) -> Iterator[TableUnfit]:
        for name in sorted(self._shape.retyped):
            held, column = ours.columns.get(self._to(name)), self._shape.columns[name]
            if held is None or not self._arrives(name) or name in self._routing.masks or column.type is None:
                continue
            if not holds(held, Column(name, column.type, False, False, False, held.labels, column.base)):
                yield self._unfit(
                    f"Column {name} of {self._shape.table} is {column.type} now, and {self._to(name)} of {self._name}"
                    f" in target {self._target} is {held.type}.",
                    f"ALTER TABLE {self._quoted} ALTER {_quoted(self._to(name))} TYPE {column.type}",
                )
        for name in sorted(self._shape.dropped):
            held = ours.columns.get(self._to(name))
            if held is not None and self._arrives(name) and held.not_null and not (held.filled or held.generated):
                yield self._unfit(
                    f"Column {name} of {self._shape.table} comes no more, and {self._to(name)} of {self._name} in"
                    f" target {self._target} must not be null and has no default.",
                    f"ALTER TABLE {self._quoted} ALTER {_quoted(self._to(name))} DROP NOT NULL",
                )
        if self._shape.key_changed and self._shape.key:
            key = [self._to(name) for name in self._shape.key]
            if frozenset(key) not in ours.keys:
                listed = ", ".join(map(_quoted, key))
                yield self._unfit(
                    f"The key of {self._shape.table} is ({', '.join(self._shape.key)}) now, and {self._name} of target"
                    f" {self._target} has no unique key on these columns.",
                    f"ALTER TABLE {self._quoted} ADD UNIQUE ({listed})",
                )

    def _check_may_add(self, column: SchemaColumn, ours: Table) -> None:
        """Nothing is guessed: a name that came as another went may be that one, and a mask is for what is there."""
        missing = f"{self._name} of target {self._target} has no column {self._to(column.name)}, which the source sends"
        if column.name in self._shape.renamed:
            there = [name for name in self._shape.dropped if self._arrives(name) and self._to(name) in ours.columns]
            was = sorted(there or self._shape.dropped)
            renamings = [f"if it was {name}: {self._renaming(name, column)}" for name in sorted(there)]
            raise self._unfit(
                f"{missing} now; others went as it came ({', '.join(was)}): it may be one of them under another name.",
                "; ".join([*renamings, f"if it is a new one: {self._addition(column)}"]),
            )
        if _computed(column):
            raise self._unfit(
                f"{missing} now, and whose values in rows that were there are not announced.",
                self._addition(column),
                f"placemat snapshot {self._shape.table}, which brings them",
            )
        if not self._additive or column.type is None or column.name in self._routing.masks:
            raise self._unfit(f"{missing} now.", self._addition(column))

    def _renaming(self, name: str, column: SchemaColumn) -> str:
        return f"ALTER TABLE {self._quoted} RENAME {_quoted(self._to(name))} TO {_quoted(self._to(column.name))}"

    def _addition(self, column: SchemaColumn) -> str:
        """The statement; rows that are there get the value that the source's own have got."""
        name = _quoted(self._to(column.name))
        if column.type is None:
            return f"what adds column {name} to {self._quoted}, of the type that it has in the source"
        parts = [f"ALTER TABLE {self._quoted} ADD COLUMN {name} {column.type}"]
        if column.existing is not None:
            parts.append(f"DEFAULT {sql.Literal(column.existing).as_string()}")
        elif column.default not in (None, "identity"):
            parts.append(f"DEFAULT {column.default}")
        if column.not_null:
            parts.append("NOT NULL")
        return " ".join(parts)

    def _add(self, column: SchemaColumn) -> None:
        statements = [self._addition(column)]
        if column.existing is not None:
            then = f"SET DEFAULT {column.default}" if column.default is not None else "DROP DEFAULT"
            statements.append(f"ALTER TABLE {self._quoted} ALTER {_quoted(self._to(column.name))} {then}")
        try:
            for statement in statements:
                self._connection.execute(statement.encode())
        except _PASSING:
            raise
        except psycopg.Error as error:
            if error.sqlstate is None or error.sqlstate.startswith(("08", "53", "57", "58", "25")):
                raise
            raise self._unfit(
                f"Column {self._to(column.name)} cannot be added to {self._name} of target {self._target}"
                f" as it is at the source (SQLSTATE {error.sqlstate}).",
                "; ".join(statements),
            ) from error

    def _unfit(self, sentence: str, *steps: str) -> TableUnfit:
        resume = f"placemat resume {self._target} {self._shape.table}"
        return TableUnfit(self._shape.table, sentence, "There run: " + "; then: ".join([steps[0], resume, *steps[1:]]))


def _computed(column: SchemaColumn) -> bool:
    """Whether rows that were there may have got values of which nobody was told: the server has written them."""
    return column.default is not None and column.existing is None


def _quoted(name: str) -> str:
    return sql.Identifier(name).as_string()
