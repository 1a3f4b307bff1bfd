"""What is done to the target's tables: sets of rows, a changed key, a truncate; each of them whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg

from connectors.contract import TryAgain
from connectors.postgres import comparing, literals
from connectors.postgres.failures import SUPPRESSED, Refused, translate
from connectors.postgres.parked import FOREIGN_KEY, Key
from connectors.postgres.rows import Event, Net, decode_key
from connectors.postgres.statements import Catalogue, TargetTable
from connectors.postgres.steps import (
    GONE,
    ArrayLiteral,
    ArrayLiteralDumper,
    Step,
    groups,
    key_step,
    step_of,
    told_by_text,
)

SAVEPOINT = "placemat"
_SUPPRESSED = Refused(SUPPRESSED, "a trigger or rule of the target suppressed the write")
_REFERRED = Refused(FOREIGN_KEY, f"rows refer to it still, and would go with it (SQLSTATE {FOREIGN_KEY})")


class ChangedMeanwhile(TryAgain):
    """A row that is to be added is there, or one that is to be changed and was locked is gone: somebody has made it at
    this moment, or a trigger on a row beside it did that."""

    def __init__(self, target: str, step: Step) -> None:
        super().__init__(f"a row was made or deleted in target {target} at this moment")
        self.step = step


class TableWrites:
    """One per session. Every method needs an open transaction, and raises what `translate` makes of an error; nothing
    of it is written then."""

    def __init__(self, connection: psycopg.Connection[Any], target: str, catalogue: Catalogue) -> None:
        connection.adapters.register_dumper(ArrayLiteral, ArrayLiteralDumper)
        self._connection = connection
        self._target = target
        self._catalogue = catalogue
        self.arrived: set[str] = set(catalogue.tables)
        """Tables of which rows were written since this was last emptied; at first, all may have."""
        self.deleted: dict[str, int] = {}
        """Rows that were deleted by what was written last."""
        self.leaving: dict[str, set[bytes]] = {}
        """Keys of which nothing is left after it, by table; some had no row before."""
        self._sent: list[tuple[TargetTable, psycopg.Cursor[Any]]] = []
        """The statements since the savepoint, each with its table."""

    def write_nets(
        self, tables: Mapping[str, Mapping[bytes, Net]], foretold: Sequence[tuple[str, str]] = ()
    ) -> list[Key]:
        """Write one effect per key, by table; returns keys of which a part is known and no row was there. `foretold`
        are messages, by prefix and content, that are to stand before the rows.

        Nothing is written, and Refused, CannotFold or ChangedMeanwhile raised, where one of the rows is not welcome.
        """
        steps = [step_of(*group) for group in groups(self._catalogue, tables)]
        # A row that is gone with what was undone is somebody's or, where that comes twice, one that a trigger makes.
        for _ in range(2):
            try:
                return self._write(steps, foretold)
            except ChangedMeanwhile as error:
                if self._present(error.step.table, error.step.keys):
                    raise
        raise _SUPPRESSED

    def write_screened(
        self, tables: Mapping[str, Mapping[bytes, Net]], foretold: Sequence[tuple[str, str]] = ()
    ) -> tuple[list[Key], dict[Key, str]]:
        """As `write_nets`, but for rows whose parent is missing when their turn comes: those are returned, with why."""
        missing: list[Key] = []
        orphans: dict[Key, str] = {}
        with self._savepoint():
            self._emit(foretold)
            for table, kind, sent, rows in groups(self._catalogue, tables):
                alone = self._orphans(table, sent, rows) if kind not in ("delete", "remove") else {}
                orphans |= {(table.name, key): reason for key, reason in alone.items()}
                if left := [row for row in rows if row[0] not in alone]:
                    step = step_of(table, kind, sent, left)
                    missing += (found := self._missing(step, self._execute(table, step.statement.text, step.values)))
                    if found and kind == "change":
                        raise ChangedMeanwhile(self._target, step)
            self._check_constraints()
        return missing, orphans

    def update_key(self, event: Event, old: bytes) -> bool:
        """One UPDATE, so that whatever refers to the row stays with it; False when no row has the old key."""
        table = self._catalogue.tables[event.table]
        key = decode_key(old)
        after = event.change.after or {}
        statement = table.move(tuple(key), tuple(after))
        cells = [key[name] for name in key] + [after[name] for name in statement.columns[len(key) :]]
        values = [
            ArrayLiteral(literals.array([element(bytes(cell))]))
            for element, cell in zip(statement.elements, cells, strict=True)
        ]
        with self._savepoint():
            found = self._execute(table, statement.text, values).fetchall()
            self._check_constraints()
            if not found and self._present(table, [old]):
                raise _SUPPRESSED
        return bool(found)

    def alike(self, name: str, keys: Sequence[bytes], others: Sequence[bytes]) -> list[bytes]:
        """Those of the others that are one of the keys to PostgreSQL, as 1.00 is 1.0."""
        table, names = self._catalogue.tables[name], tuple(decode_key(keys[0]))
        others = [key for key in others if tuple(decode_key(key)) == names]
        if not others or told_by_text(table, names):
            return []
        values = [key_step("present", table, [(key, GONE) for key in some]).values for some in (keys, others)]
        try:
            with self._savepoint():
                found = self._execute(table, comparing.same_keys(table, names), values[0] + values[1]).fetchall()
        except Refused:  # a key may wait because it is no value of the target's type
            half = len(others) // 2
            return self.alike(name, keys, others[:half]) + self.alike(name, keys, others[half:]) if half else []
        return [others[number - 1] for (number,) in found]

    def truncate(self, tables: Sequence[str]) -> None:
        """Empty tables; row by row where a table that is none of them refers to one, and may have no rows that do."""
        ordered = sorted((self._catalogue.tables[name] for name in tables), key=lambda table: table.rank)
        try:
            with self._connection.transaction(SAVEPOINT):
                self._connection.execute(f"TRUNCATE {', '.join(table.only for table in ordered)}".encode())
        except psycopg.errors.FeatureNotSupported:
            with self._savepoint():
                for table in reversed(ordered):
                    self._execute(table, f"DELETE FROM {table.only}", [])
                self._check_constraints()
        except psycopg.errors.UndefinedTable as error:
            with self._savepoint():  # TRUNCATE does not tell which of them it is
                for table in ordered:
                    self._execute(table, f"SELECT FROM {table.only} LIMIT 0", [])
            raise translate(error, self._target) from error
        except psycopg.Error as error:
            raise translate(error, self._target) from error

    def count(self, name: str) -> int:
        """How many rows a table has."""
        table = self._catalogue.tables[name]
        with self._savepoint():
            row = self._execute(table, f"SELECT count(*) FROM {table.only}", []).fetchone()
        return int(row[0]) if row else 0

    def _emit(self, messages: Sequence[tuple[str, str]]) -> None:
        for message in messages:
            self._connection.execute("SELECT pg_logical_emit_message(true, %s, %s)", message)

    def _write(self, steps: Sequence[Step], foretold: Sequence[tuple[str, str]]) -> list[Key]:
        missing: list[Key] = []
        alone = sum(len(step.keys) for step in steps) == 1
        with self._savepoint():
            with self._connection.pipeline():
                self._emit(foretold)
                cursors = [self._execute(step.table, step.statement.text, step.values) for step in steps]
                self._check_constraints()
            for step, cursor in zip(steps, cursors, strict=True):
                missing += (found := self._missing(step, cursor))
                if found and step.kind == "change" and not alone:
                    raise ChangedMeanwhile(self._target, step)
        return missing

    def _orphans(
        self, table: TargetTable, sent: tuple[str, ...], rows: Sequence[tuple[bytes, Net]]
    ) -> dict[bytes, str]:
        """Keys of the rows whose parent is not there, and the sentence for each."""
        found: dict[bytes, str] = {}
        for foreign_key in table.foreign_keys:
            if foreign_key.parent == table.name or not set(foreign_key.columns) <= set(sent):
                continue  # a parent in the same statement is as good as one that is there
            columns = [table.columns[name] for name in foreign_key.columns]
            values = [
                ArrayLiteral(literals.column(column.element, [net.columns[name] for _, net in rows]))
                for name, column in zip(foreign_key.columns, columns, strict=True)
            ]
            query = foreign_key.orphans([column.type for column in columns])
            reason = (
                f"the row that a foreign key names is missing (constraint {foreign_key.name}, SQLSTATE {FOREIGN_KEY})"
            )
            found |= {rows[number - 1][0]: reason for (number,) in self._execute(table, query, values).fetchall()}
        return found

    def _missing(self, step: Step, cursor: psycopg.Cursor[Any]) -> list[Key]:
        """Check what a statement did; the keys of which a part came and no row was there."""
        self.arrived.add(step.table.name)
        if step.kind in ("update", "change"):
            found = {row[0] for row in cursor.fetchall()}
            return [(step.table.name, key) for at, key in enumerate(step.keys, 1) if at not in found]
        if step.kind in ("delete", "remove"):
            self.deleted[step.table.name] = self.deleted.get(step.table.name, 0) + cursor.rowcount
            self.leaving.setdefault(step.table.name, set()).update(step.keys)
        if cursor.rowcount < len(step.keys):
            self._explain(step)
        return []

    def _explain(self, step: Step) -> None:
        """Why rows were not written, or not deleted; a row that was not there to be deleted is gone as it should be."""
        present = step.kind != "upsert" and self._present(step.table, step.keys)
        if step.kind == "add" and present:
            raise ChangedMeanwhile(self._target, step)
        if step.kind == "remove" and present and self._count("referred", step.table, step.keys):
            raise _REFERRED
        if step.kind in ("upsert", "add") or present:
            raise _SUPPRESSED

    def _present(self, table: TargetTable, keys: Sequence[bytes]) -> bool:
        return self._count("present", table, keys)

    def _count(self, kind: str, table: TargetTable, keys: Sequence[bytes]) -> bool:
        step = key_step(kind, table, [(key, GONE) for key in keys])
        row = self._execute(table, step.statement.text, step.values).fetchone()
        return bool(row and row[0])

    def _check_constraints(self) -> None:
        """Find what is checked late now, and not at COMMIT, where nobody could tell which row is at fault."""
        if self._catalogue.deferrable:
            self._connection.execute("SET CONSTRAINTS ALL IMMEDIATE")

    def _execute(self, table: TargetTable, text: str, values: Sequence[object]) -> psycopg.Cursor[Any]:
        cursor = self._connection.cursor()
        self._sent.append((table, cursor))
        return cursor.execute(text.encode(), values)

    def _at_fault(self) -> TargetTable | None:
        """The table of the first statement that was not answered, for an error is all that the server tells of it."""
        return next((table for table, cursor in self._sent if cursor.pgresult is None), None)

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """What goes wrong within is that of a row: Refused is raised, and the transaction goes on."""
        self._sent = []
        try:
            with self._connection.transaction(SAVEPOINT):
                yield
        except psycopg.Error as error:
            raise translate(error, self._target, self._at_fault()) from error

    @contextmanager
    def _savepoint(self) -> Iterator[None]:
        self._sent, self.deleted, self.leaving = [], {}, {}
        try:
            with self._connection.transaction(SAVEPOINT):
                if self._catalogue.deferrable:
                    self._connection.execute("SET CONSTRAINTS ALL DEFERRED")
                yield
        except psycopg.Error as error:
            raise translate(error, self._target, self._at_fault()) from error
