"""A source's own database, whose rows are put back to what they were: as ordinary changes, that flow everywhere."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import psycopg

from connectors.contract import Expected, Refusal, Routing
from connectors.errors import OperatorError, Unavailable
from connectors.postgres import comparing, literals
from connectors.postgres.halving import write_by_halves
from connectors.postgres.rights import check_rights
from connectors.postgres.rows import Change, Net, decode_change, decode_key
from connectors.postgres.session import open_session, roll_back, translated
from connectors.postgres.statements import Catalogue, TargetTable, read_catalogue
from connectors.postgres.steps import ArrayLiteral, key_step, step_of
from connectors.postgres.table_writes import TableWrites
from connectors.restoring import Passing, Scope, Texts, Written, Wrong, against

ACTOR_PREFIX = "placemat.actor"
_ACTOR = "SELECT pg_logical_emit_message(true, %s, %s)"
Row = tuple[bytes, Change]


class PostgresRestore:
    """See `connectors.restoring.RestoreTarget`. `name` is the source's; `reading`: nothing is to be written."""

    def __init__(self, url: str, name: str, scopes: Mapping[str, Scope], *, deletes: bool, reading: bool) -> None:
        self._url, self._name, self._scopes = url, name, scopes
        self._rights = ["SELECT"] if reading else ["SELECT", "INSERT", "UPDATE", *(["DELETE"] if deletes else [])]
        self._connection: psycopg.Connection[Any] | None = None
        self._catalogue = Catalogue({}, deferrable=False)
        self._valued: dict[str, frozenset[str]] = {}
        self._writes: TableWrites | None = None

    def open(self) -> list[str]:
        with self._translated():
            self._connection = connection = open_session(self._url, f"placemat restore {self._name}")
            routes = {table: Routing() for table in self._scopes}
            self._catalogue = catalogue = read_catalogue(connection, self._name, routes)
            for missing in sorted(catalogue.missing):
                raise OperatorError(
                    f"The source {self._name} has no table {missing} any more.",
                    "Make it there first, with its columns.",
                )
            for name, table in catalogue.tables.items():
                check_rights(connection, self._name, name, self._rights)
                self._check_columns(name, table)
            self._valued = {name: comparing.valued(connection, table) for name, table in catalogue.tables.items()}
            connection.commit()
        self._writes = TableWrites(connection, self._name, catalogue)
        return sorted(catalogue.tables, key=lambda name: catalogue.tables[name].rank)

    def passing(self, table: str, rows: Sequence[Expected]) -> Passing:
        where = self._scopes[table].where
        if not where:
            return Passing({row.key for row in rows}, set())
        asked, wanted = [name for name, _ in where], [value for _, value in where]
        found = Passing(set(), set())
        with self._translated():
            try:
                for key, columns, some in self._by_columns(self._catalogue.tables[table], rows):
                    if columns and not set(asked) <= set(columns):
                        found.untold.update(name for name, _ in some)
                    else:
                        found.keys.update(
                            self._passing(self._catalogue.tables[table], key, columns, some, asked, wanted)
                        )
                self._session().commit()
            except (psycopg.DataError, psycopg.errors.UndefinedFunction) as error:
                raise OperatorError(
                    f"--where asks {table} for what its columns cannot be: {error.diag.message_primary}.",
                    "Correct it: a value of the column's type, as PostgreSQL reads it.",
                    exit_code=2,
                ) from None
        return found

    def compare(self, table: str, rows: Sequence[Expected]) -> list[Wrong]:
        with self._translated():
            found = list(self._compare(self._catalogue.tables[table], rows))
            self._session().commit()
        return found

    def write(self, table: str, rows: Sequence[Expected], actor: str) -> Written:
        assert self._writes is not None, "it was opened"
        write_nets = self._writes.write_nets
        connection, target, written = self._session(), self._catalogue.tables[table], Written()
        with self._translated():
            connection.execute(_ACTOR, [ACTOR_PREFIX, actor])
            ordered = sorted(rows, key=lambda row: row.key)
            for key, _, some in self._by_columns(target, [Expected(row.key, None) for row in ordered]):
                values = key_step("present", target, [(name, _GONE) for name, _ in some]).values
                connection.execute(comparing.lock_rows(target, key).encode(), values)
            wrong = {one.key: one for one in self._compare(target, rows)}
            whys = {key: why for key, one in wrong.items() if (why := against(one, self._scopes[table])) is not None}
            nets = {
                row.key: self._net(target, wrong[row.key], row) for row in rows if row.key in wrong.keys() - whys.keys()
            }
            written.refused = [Refusal(key, why) for key, why in whys.items()]
            written.refused += write_by_halves(list(nets.items()), lambda some: write_nets({table: dict(some)}))
            refused = {one.key for one in written.refused}
            written.done = [one for one in wrong.values() if one.key not in refused]
            done = {one.key for one in written.done}
            again = self._compare(target, [row for row in rows if row.key in done])
            written.kept = {one.key: tuple(one.fields) for one in again}
            connection.commit()
        return written

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _compare(self, table: TargetTable, rows: Sequence[Expected]) -> Iterator[Wrong]:
        for key, columns, some in self._by_columns(table, rows):
            if some[0][1].after is None:
                yield from self._newer(table, key, some)
            else:
                yield from self._unlike(table, key, columns, some)

    def _newer(self, table: TargetTable, key: Sequence[str], rows: Sequence[Row]) -> Iterator[Wrong]:
        values = key_step("present", table, [(name, _GONE) for name, _ in rows]).values
        for number, *_ in self._session().execute(comparing.present_keys(table, key).encode(), values):
            yield Wrong(rows[number - 1][0], "delete", {})

    def _unlike(
        self, table: TargetTable, key: Sequence[str], columns: tuple[str, ...], rows: Sequence[Row]
    ) -> Iterator[Wrong]:
        step = step_of(table, "upsert", columns, [(name, Net("upsert", change.after or {})) for name, change in rows])
        names = step.statement.columns
        query = comparing.values_beside(table, key, names, self._valued[table.name])
        scope = self._scopes[table.name]
        for number, present, differ, now, then in self._session().execute(query.encode(), step.values):
            fields = {
                name: Texts(*texts) for name, unlike, *texts in zip(names, differ, now, then, strict=True) if unlike
            }
            name = rows[number - 1][0]
            if not present:
                yield Wrong(name, "insert", fields, self._untold(table, names))
                continue
            wanted = {one for one in _settable(table, key) if one not in key and _in_scope(scope, one)}
            fields = {one: texts for one, texts in fields.items() if one in wanted}
            if fields:
                yield Wrong(name, "update", fields, tuple(one for one in self._untold(table, names) if one in wanted))

    def _net(self, table: TargetTable, wrong: Wrong, row: Expected) -> Net:
        if wrong.kind == "delete":
            return Net("delete", {})
        after = decode_change(row.content or b"").after or {}
        if wrong.kind == "update":
            return Net("update", {name: after[name] for name in wrong.fields})
        told = after.keys() - self._scopes[table.name].masked
        return Net("upsert", {name: after[name] for name in _settable(table, decode_key(row.key)) if name in told})

    def _by_columns(
        self, table: TargetTable, rows: Sequence[Expected]
    ) -> Iterator[tuple[tuple[str, ...], tuple[str, ...], list[Row]]]:
        """Rows that one statement is about: the names of their key, the columns that are told of them, and the rows."""
        masked = self._scopes[table.name].masked
        sets: defaultdict[tuple[tuple[str, ...], tuple[str, ...] | None], list[Row]] = defaultdict(list)
        for row in rows:
            key, change = tuple(decode_key(row.key)), Change("d")
            columns: tuple[str, ...] | None = None
            if row.content is not None:
                change = decode_change(row.content)
                told = (change.after or {}).keys() - masked
                columns = tuple(one for one in _settable(table, key) if one in told)
            sets[key, columns].append((row.key, change))
        for (names, columns), some in sets.items():
            yield names, columns or (), some

    def _passing(
        self, table: TargetTable, key: Sequence[str], columns: tuple[str, ...], rows: Sequence[Row],
        asked: Sequence[str], wanted: Sequence[str],
    ) -> Iterator[bytes]:  # fmt: skip
        values: list[object]
        if rows[0][1].after is None:
            query = comparing.passing_now(table, key, asked)
            values = [*key_step("present", table, [(name, _GONE) for name, _ in rows]).values, *wanted]
        else:
            query = comparing.passing(table, columns, asked)
            cells = [[(change.after or {})[name] for _, change in rows] for name in columns]
            elements = [table.columns[name].element for name in columns]
            arrays = [ArrayLiteral(literals.column(*one)) for one in zip(elements, cells, strict=True)]
            values = [*arrays, *wanted]
        for number, *_ in self._session().execute(query.encode(), values):
            yield rows[number - 1][0]

    def _untold(self, table: TargetTable, told: Sequence[str]) -> tuple[str, ...]:
        return tuple(
            name
            for name, column in table.columns.items()
            if not column.generated and not column.always and name not in told
        )

    def _check_columns(self, name: str, table: TargetTable) -> None:
        scope = self._scopes[name]
        for column in (*(scope.columns or ()), *(column for column, _ in scope.where)):
            if column not in table.columns:
                raise OperatorError(
                    f"Table {name} of the source {self._name} has no column {column}.",
                    f"It has: {', '.join(table.columns)}.",
                    exit_code=2,
                )
            if column in scope.masked:
                raise OperatorError(
                    f"Column {column} of {name} is masked at the source: its values are not told.",
                    "Leave it out.",
                    exit_code=2,
                )

    def _session(self) -> psycopg.Connection[Any]:
        if self._connection is None:
            raise Unavailable(f"source {self._name} is not connected")
        return self._connection

    def _translated(self) -> AbstractContextManager[None]:
        advice = "Nothing of this step was written; put that right, then run the same again."
        return translated(self._name, "cannot compare a row", advice, lambda: roll_back(self._connection))


_GONE = Net("delete", {})


def _settable(table: TargetTable, key: Collection[str]) -> list[str]:
    """Columns that a statement may give a value; of those that the database makes always, only the key's."""
    return [
        name for name, column in table.columns.items() if not column.generated and (not column.always or name in key)
    ]


def _in_scope(scope: Scope, column: str) -> bool:
    if scope.columns is not None:
        return column in scope.columns
    return column not in scope.kept
