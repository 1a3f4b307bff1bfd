"""Masks at the source: between what PostgreSQL sends and what stands in an event, also in the old row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import psycopg
from psycopg import sql

from connectors.base_type import base_type
from connectors.route.masks import Drop, Mask, Masking, masking, misfit
from daemon.capture.pgoutput import UNCHANGED, Cell, Relation
from daemon.capture.values import Encoder
from daemon.errors import OperatorError

Masks = Mapping[str, Mask]
"""By column."""

_COLUMNS = f"""
SELECT a.attname::text, format_type(base.oid, -1),
       coalesce(a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1]), false)
FROM pg_attribute a CROSS JOIN LATERAL {base_type("a.atttypid")} AS base
LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND indisprimary
WHERE a.attrelid = to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped
"""


def check(relation: Relation, key: Sequence[str], masks: Masks) -> None:
    """Raises OperatorError where a column of a mask is in the key, or gone: its values may have another name now."""
    names = {column.name for column in relation.columns}
    for column in masks:
        if column not in names:
            raise OperatorError(
                f"Column {column} of {relation.name} is masked, and the source has no such column:"
                " its values may be clear under another name.",
                "Correct the masks of that source, then start placemat run again.",
            )
        if column in key:
            raise _in_key(relation.name, column)


def dropped(names: Sequence[str], masks: Masks) -> frozenset[int]:
    """Places of the columns that are left out."""
    return frozenset(at for at, name in enumerate(names) if isinstance(masks.get(name), Drop))


def encoders(names: Sequence[str], clear: Sequence[Encoder], masks: Masks) -> list[Encoder]:
    """The encoders with the masks behind them."""
    found = []
    for name, encode in zip(names, clear, strict=True):
        mask = masks.get(name)
        found.append(encode if mask is None or isinstance(mask, Drop) else _behind(encode, masking(mask)))
    return found


def without(row: Sequence[Cell], places: frozenset[int]) -> list[Cell]:
    """A row in which these places are not there."""
    return [UNCHANGED if at in places else cell for at, cell in enumerate(row)]


def faults(connection: psycopg.Connection[Any], source: str, masks: Mapping[str, Masks]) -> Iterator[OperatorError]:
    """Every mask that does not fit its table, before anything is captured."""
    connection.execute("SET search_path = ''")
    for table, by_column in masks.items():
        quoted = sql.Identifier(*table.split(".", 1)).as_string()
        columns = {name: (type_, in_key) for name, type_, in_key in connection.execute(_COLUMNS, [quoted]).fetchall()}
        for column, mask in by_column.items():
            place = f"sources.{source}.masks.{table}.{column}"
            if column not in columns:
                yield OperatorError(f"{place} names a column that is not there.", "Correct the name.", exit_code=2)
            elif columns[column][1]:
                yield _in_key(table, column)
            elif why := misfit(mask, columns[column][0]):
                yield OperatorError(f"{place} cannot be applied: {why}.", "Take another mask.", exit_code=2)


def _behind(encode: Encoder, mask: Masking) -> Encoder:
    return lambda cell: mask(encode(cell))


def _in_key(table: str, column: str) -> OperatorError:
    return OperatorError(
        f"Column {column} of {table} is in its primary key, and cannot be masked.",
        "Take it out of the masks of that source.",
        exit_code=2,
    )
