"""What of a routed table is compared: the source's rows as the route shows them, and the target's as they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from psycopg import sql

from connectors.contract import Routing
from connectors.route.condition import columns as columns_of
from connectors.route.kinds import kind
from connectors.route.masks import Constant, Drop, Hash, Mask, Scalar, Truncate, constant_text
from connectors.route.rendering import on_source
from daemon.config.settings import Settings
from daemon.errors import OperatorError
from daemon.reconcile.shape import Column, Comparison, Field, Shape, View, read_shape
from daemon.reconcile.side import Side
from daemon.routes import routings, source_masks

# The key's pads reach the server as settings of the session: never as a part of a query, which servers log.
_SET_PADS = sql.SQL("SELECT set_config('placemat.inner_pad', %s, false), set_config('placemat.outer_pad', %s, false)")
_HASHED = """encode(sha256(decode(current_setting('placemat.outer_pad'), 'hex')
    || sha256(decode(current_setting('placemat.inner_pad'), 'hex') || convert_to({}::text, 'UTF8'))), 'hex')"""


def compare(
    settings: Settings, name: str, source: Side, target: Side, table: str, *, keys_only: bool = False
) -> Comparison:
    """Decide what is compared: every column of the source that the route of target `name` writes, and its constants.

    With `keys_only` no more than which rows there are. Raises OperatorError when the table, its key or a column that is
    compared is missing.
    """
    routing = routings(settings, name)[table]
    masks = {**routing.masks, **source_masks(settings, settings.targets[name].source).get(table, {})}
    relation = routing.table or table
    ours, theirs = read_shape(source, table), read_shape(target, relation)
    if not ours.primary_key:
        raise OperatorError(
            f"Table {table} of the source {source.name} has no primary key: its rows cannot be matched.",
            "Give it one there, over the columns that tell its rows apart.",
        )
    compared = [
        column for column in ours.columns.values() if not keys_only and _is_compared(column, routing, masks, theirs)
    ]
    for column in (*(column.name for column in compared), *ours.primary_key):
        if routing.renamed(column) not in theirs.columns:
            raise OperatorError(
                f"Table {relation} of the target {target.name} has no column {routing.renamed(column)}.",
                "If it was renamed or added in the source, change a row of the table there: then placemat status names"
                " the statement to run. If it is not to be here, name it in"
                f" targets.{target.name}.tables.{table}.exclude.",
            )
    key = tuple(theirs.columns[routing.renamed(column)] for column in ours.primary_key)
    if frozenset(column.name for column in key) not in theirs.unique:
        listed = ", ".join(column.name for column in key)
        raise OperatorError(
            f"Table {relation} of the target {target.name} has no primary key or unique index on ({listed}).",
            f"Add one there: ALTER TABLE {relation} ADD PRIMARY KEY ({listed})",
        )
    fixed = [] if keys_only else list(_constants(target, routing, theirs))
    held = [theirs.columns[routing.renamed(column.name)] for column in compared]
    expected = [
        _expected(source, target, column, masks.get(column.name), kept)
        for column, kept in zip(compared, held, strict=True)
    ]
    return Comparison(
        table,
        ours.primary_key,
        tuple(field.column.name for field in (*expected, *fixed)),
        View(
            ours.schema,
            ours.table,
            tuple(ours.columns[column] for column in ours.primary_key),
            (*expected, *fixed),
            _condition(source, table, routing),
        ),
        View(
            theirs.schema,
            theirs.table,
            key,
            tuple(map(_field, (*held, *(theirs.columns[one.column.name] for one in fixed)))),
        ),
    )


def _is_compared(column: Column, routing: Routing, masks: Mapping[str, Mask], theirs: Shape) -> bool:
    name = routing.renamed(column.name)
    if routing.leaves_out(column.name) or isinstance(masks.get(column.name), Drop) or name in routing.constants:
        return False
    return name in theirs.columns or not column.generated


def _field(column: Column) -> Field:
    return Field(column, sql.SQL("t.{}").format(column.quoted))


def _expected(source: Side, target: Side, column: Column, mask: Mask | None, held: Column) -> Field:
    """A column of the source as it is to arrive in the target's column."""
    plain = _field(column)
    text = replace(column, type="text", numeric=False)
    match mask:
        case Hash():
            source.rows(_SET_PADS, [pad.hex() for pad in mask.pads()])
            return Field(text, sql.SQL(_HASHED).format(plain.expression))
        case Truncate(length):
            return Field(text, sql.SQL("left({}::text, {})").format(plain.expression, sql.Literal(length)))
        case Constant(value):
            fixed = sql.SQL("CASE WHEN {} IS NOT NULL THEN {} END").format(
                plain.expression, _text_of(target, held, value)
            )
            return Field(text, fixed)
        case _:
            return plain


def _constants(target: Side, routing: Routing, theirs: Shape) -> Iterator[Field]:
    for name, value in routing.constants.items():
        column = theirs.columns.get(name)
        if column is None:
            raise OperatorError(
                f"Table {routing.table or theirs.table} of the target {target.name} has no column {name}.",
                "Add the column there, or take it out of the route's constants.",
            )
        yield Field(replace(column, type="text", numeric=False), _text_of(target, column, value))


def _text_of(target: Side, column: Column, value: Scalar) -> sql.Composable:
    """A constant in the text that its column's type gives it."""
    query = sql.SQL("SELECT {}::text").format(column.cast(sql.SQL("%s::text")))
    ((text,),) = target.rows(query, [constant_text(value)])
    return _doubled(sql.Literal(text))


def _condition(source: Side, table: str, routing: Routing) -> sql.Composable | None:
    if routing.where is None:
        return None
    tables = {(): table, **{path: parent.table for path, parent in routing.parents.items()}}
    shapes = {name: read_shape(source, name) for name in set(tables.values())}
    parents = {
        path: (parent.table, parent.column, shapes[parent.table].primary_key[0])
        for path, parent in routing.parents.items()
    }
    kinds = {}
    for column in columns_of(routing.where):
        held = shapes[tables[column.path]].columns.get(column.name)
        if held is None:
            raise OperatorError(
                f"The condition of {table} names column {column}, which the source {source.name} does not have.",
                "Correct it in the configuration, then run: placemat init",
            )
        kinds[column] = kind(held.type)
    return _doubled(on_source(routing.where, parents, kinds))


def _doubled(part: sql.Composable) -> sql.SQL:
    """For a query with parameters, where a percent sign is doubled."""
    return sql.SQL(part.as_string().replace("%", "%%"))
