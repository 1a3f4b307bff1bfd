"""The statements of a set of rows: which there are, in what order, and with what parameters. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from psycopg.adapt import Dumper

from connectors.postgres import literals
from connectors.postgres.rows import CannotFold, Net, decode_key
from connectors.postgres.statements import Catalogue, Statement, TargetTable

TOLD_BY_TEXT = frozenset(
    {"uuid", "smallint", "integer", "bigint", "text", "character varying", "date", "boolean", "bytea", "oid",
     "timestamp with time zone", "timestamp without time zone"}
)  # fmt: skip
"""Types of which two values are equal only if their texts are."""


def told_by_text(table: TargetTable, key: Iterable[str]) -> bool:
    """Whether two keys of these columns are one to PostgreSQL only if they are to us; 1.0 and 1.00 are one to it."""
    return all(table.columns[name].type in TOLD_BY_TEXT for name in key if name in table.columns)


GONE = Net("delete", {})
"""Stands for a row of which only the key matters."""


class ArrayLiteral:
    """The finished text of a `text[]` parameter."""

    __slots__ = ("text",)

    def __init__(self, text: bytes) -> None:
        self.text = text


class ArrayLiteralDumper(Dumper):
    oid = 1009

    def dump(self, obj: ArrayLiteral) -> bytes:
        return obj.text


@dataclass(slots=True)
class Step:
    """One statement of a set: `keys` are those of its rows, in their order."""

    kind: str
    table: TargetTable
    keys: list[bytes]
    statement: Statement
    values: list[ArrayLiteral]


Group = tuple[TargetTable, str, tuple[str, ...], Sequence[tuple[bytes, Net]]]
"""Table, kind of statement, columns, and rows by key."""


def groups(catalogue: Catalogue, tables: Mapping[str, Mapping[bytes, Net]]) -> list[Group]:
    """Rows that one statement writes, in the order of the statements: parents first, deletes last."""
    steps: list[Group] = []
    deletes: list[Group] = []
    for name in sorted(tables, key=lambda name: catalogue.tables[name].rank):
        table = catalogue.tables[name]
        _refuse_look_alikes(table, tables[name])
        groups: defaultdict[tuple[str, tuple[str, ...]], list[tuple[bytes, Net]]] = defaultdict(list)
        for key, net in tables[name].items():
            groups[net.kind, tuple(net.columns)].append((key, net))
        for (kind, sent), rows in groups.items():
            (deletes if kind in ("delete", "remove") else steps).append((table, kind, sent, rows))
    return steps + deletes[::-1]


def _refuse_look_alikes(table: TargetTable, nets: Mapping[bytes, Net]) -> None:
    """Raises CannotFold where a deleted and a written key may be one to PostgreSQL and not to us, as 1.0 and 1.00."""
    kinds = {net.kind == "delete" for net in nets.values()}
    if len(kinds) == 2 and not told_by_text(table, decode_key(next(iter(nets)))):
        raise CannotFold


def step_of(table: TargetTable, kind: str, sent: tuple[str, ...], rows: Sequence[tuple[bytes, Net]]) -> Step:
    key = tuple(decode_key(rows[0][0]))
    if kind == "upsert":
        statement = table.upsert(key, sent)
        values = [
            ArrayLiteral(literals.column(element, [net.columns[name] for _, net in rows]))
            for name, element in zip(statement.columns, statement.elements, strict=True)
        ]
        return Step(kind, table, [key_ for key_, _ in rows], statement, values)
    if kind == "update":
        statement = table.update(key, sent)
        made = key_step("delete", table, rows)
        made.values += [
            ArrayLiteral(literals.column(element, [net.columns[name] for _, net in rows]))
            for name, element in zip(statement.columns[len(key) :], statement.elements[len(key) :], strict=True)
        ]
        return Step(kind, table, made.keys, statement, made.values)
    if kind in ("add", "change"):
        return _document_step(table, kind, key, sent, rows)
    return key_step(kind, table, rows)


def _document_step(
    table: TargetTable, kind: str, key: tuple[str, ...], sent: tuple[str, ...], rows: Sequence[tuple[bytes, Net]]
) -> Step:
    assert table.two_way is not None, "rows in canonical form are those of tables that go both ways"
    text = (table.two_way.add if kind == "add" else table.two_way.change)(key, sent)
    documents = [table.two_way.document({**net.columns, **decode_key(record_key)}) for record_key, net in rows]
    values = [ArrayLiteral(literals.array(documents))]
    return Step(kind, table, [record_key for record_key, _ in rows], Statement(text, (), ()), values)


def key_step(kind: str, table: TargetTable, rows: Sequence[tuple[bytes, Net]]) -> Step:
    """A statement whose parameters are the keys alone."""
    keys = [decode_key(key) for key, _ in rows]
    names = tuple(keys[0])
    statement = _by_key(table, kind, names)
    values = [
        ArrayLiteral(literals.column(element, [key[name] for key in keys]))
        for name, element in zip(statement.columns, statement.elements, strict=True)
    ]
    return Step(kind, table, [key for key, _ in rows], statement, values)


def _by_key(table: TargetTable, kind: str, names: tuple[str, ...]) -> Statement:
    if table.two_way is not None and kind in ("remove", "referred"):
        text = table.two_way.remove(names) if kind == "remove" else table.two_way.referred(names)
        return Statement(text, names, tuple(table.columns[name].element for name in names))
    return table.delete(names) if kind == "delete" else table.present(names)
