"""What a table looks like on one side, and what of it is compared."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql

from connectors.base_type import base_type
from daemon.errors import OperatorError
from daemon.reconcile.side import Side

_COLUMNS = sql.SQL(f"""
SELECT a.attname, format_type(base.oid, -1), base.oid = 'numeric'::regtype, a.attgenerated <> ''
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
CROSS JOIN LATERAL {base_type("a.atttypid")} AS base
WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p')
ORDER BY a.attnum
""")

_UNIQUE = sql.SQL("""
SELECT i.indisprimary, array_agg(a.attname::text ORDER BY k.place)
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_index i ON i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
CROSS JOIN unnest(i.indkey) WITH ORDINALITY AS k (attnum, place)
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
WHERE n.nspname = %s AND c.relname = %s AND k.place <= i.indnkeyatts
GROUP BY i.indexrelid, i.indisprimary
""")


def quoted(*names: str) -> sql.Identifier:
    """A name in a query that has parameters, where a percent sign is doubled."""
    return sql.Identifier(*(name.replace("%", "%%") for name in names))


@dataclass(frozen=True, slots=True)
class Column:
    """A column: `type` is the name that a cast takes, of the type under a domain."""

    name: str
    type: str
    numeric: bool
    generated: bool

    @property
    def quoted(self) -> sql.Identifier:
        return quoted(self.name)

    def cast(self, value: sql.Composable) -> sql.Composed:
        """A text as a value of this column."""
        return sql.SQL("{}::{}").format(value, sql.SQL(self.type.replace("%", "%%")))


@dataclass(frozen=True, slots=True)
class Shape:
    """A table as one side has it."""

    schema: str
    table: str
    columns: dict[str, Column]
    primary_key: tuple[str, ...]
    unique: frozenset[frozenset[str]]
    """Column sets that no two rows share."""


@dataclass(frozen=True, slots=True)
class Field:
    """What is compared under a column's name: an expression over a row of the table `t`."""

    column: Column
    expression: sql.Composable


@dataclass(frozen=True, slots=True)
class View:
    """A table of one side as the route shows it: `key` and `fields` match the other side's in order.

    `condition` is what a row has to pass, percent signs doubled; None: every row counts.
    """

    schema: str
    table: str
    key: tuple[Column, ...]
    fields: tuple[Field, ...]
    condition: sql.Composable | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """What of a table is compared: names of key columns and of fields as the source has them."""

    table: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    source: View
    target: View


def read_shape(side: Side, table: str) -> Shape:
    """Read a table's columns and keys from the catalogue.

    Raises OperatorError when there is no such table.
    """
    schema, _, name = table.partition(".")
    columns = {row[0]: Column(*row) for row in side.rows(_COLUMNS, [schema, name])}
    if not columns:
        raise OperatorError(
            f"{side.label} has no table {table}.",
            f"Create it in database {side.connection.info.dbname}, or take it out of the configuration.",
        )
    keys = side.rows(_UNIQUE, [schema, name])
    primary = next((tuple(names) for is_primary, names in keys if is_primary), ())
    return Shape(schema, name, columns, primary, frozenset(frozenset(names) for _, names in keys))
