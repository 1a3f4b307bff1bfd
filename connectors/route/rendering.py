"""A condition as SQL, which gives the truth that `connectors.route.truth` finds. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from psycopg import sql

from connectors.route import condition as language
from connectors.route.condition import Column, Condition, Value
from connectors.route.kinds import Kind

Place = Callable[[Column], tuple[sql.Composable, Kind]]
"""Where a column stands in a query, and its kind."""


def render(condition: Condition, place: Place) -> sql.Composable:
    """An expression of type boolean, in parentheses where it needs them. Percent signs are not doubled."""
    match condition:
        case language.Not(part):
            return sql.SQL("NOT ({})").format(render(part, place))
        case language.All(parts):
            return _joined(" AND ", [render(part, place) for part in parts])
        case language.Any(parts):
            return _joined(" OR ", [render(part, place) for part in parts])
        case language.IsNull(column):
            return sql.SQL("{} IS NULL").format(place(column)[0])
        case language.In(column, values):
            return sql.SQL("{} IN ({})").format(
                _operand(place, column), sql.SQL(", ").join(_value(place, column, value) for value in values)
            )
        case language.Compare(column, sign, value):
            return sql.SQL("{} {} {}").format(_operand(place, column), sql.SQL(sign), _value(place, column, value))


def _joined(word: str, parts: list[sql.Composable]) -> sql.Composable:
    return sql.SQL("({})").format(sql.SQL(word).join(parts))


def _operand(place: Place, column: Column) -> sql.Composable:
    expression, kind = place(column)
    collation = sql.SQL(' COLLATE "C"' if kind.collated else "")
    return sql.SQL("({})::{}{}").format(expression, sql.SQL(_type(kind)), collation)


def _value(place: Place, column: Column, value: Value) -> sql.Composable:
    return sql.SQL("{}::{}").format(sql.Literal(value.text), sql.SQL(_type(place(column)[1])))


def _type(kind: Kind) -> str:
    # `character` by itself is character(1).
    return "pg_catalog.bpchar" if kind.type == "character" else kind.type


def on_source(
    condition: Condition, parents: Mapping[tuple[str, ...], tuple[str, str, str]], kinds: Mapping[Column, Kind]
) -> sql.Composable:
    """A condition over the rows of a table named `t` in the database that has the parents too.

    `parents` are (table, the column that refers to it, its key column) by path.
    """

    def place(column: Column) -> tuple[sql.Composable, Kind]:
        expression: sql.Composable = sql.Identifier("t", _name(column.name, parents, column.path, 0))
        for depth in range(len(column.path)):
            table, _, key = parents[column.path[: depth + 1]]
            expression = sql.SQL("(SELECT {} FROM {} p WHERE p.{} = {})").format(
                sql.Identifier("p", _name(column.name, parents, column.path, depth + 1)),
                sql.Identifier(*table.split(".", 1)),
                sql.Identifier(key),
                expression,
            )
        return expression, kinds[column]

    return render(condition, place)


def _name(name: str, parents: Mapping[tuple[str, ...], tuple[str, str, str]], path: tuple[str, ...], depth: int) -> str:
    """What is read of the row at this depth: the reference to the next parent, or at the end the column itself."""
    return parents[path[: depth + 1]][1] if depth < len(path) else name
