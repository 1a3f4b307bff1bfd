"""What a route says of columns, held against the two tables: names, masks and constants."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import psycopg
from psycopg import sql

from connectors.contract import Routing
from connectors.errors import OperatorError
from connectors.postgres.shape import Column, Table, Type
from connectors.route.masks import Constant, Drop, Mask, constant_text, misfit, result_type


def check(
    target: psycopg.Connection[Any], name: str, table: str, routing: Routing, theirs: Table, ours: Table
) -> Iterator[OperatorError]:
    """Names that no side has, and constants that their column cannot hold."""
    place = f"targets.{name}.tables.{table}"
    named = {
        "local": routing.local, "exclude": routing.exclude, "only": routing.only or frozenset(),
        "columns": routing.columns, "masks": routing.masks,
    }  # fmt: skip
    for setting, columns in named.items():
        for column in sorted(columns):
            if column not in theirs.columns and not (setting == "local" and column in ours.columns):
                neither = "neither side has" if setting == "local" else f"{table} of the source does not have"
                yield _misnamed(f"{place}.{setting} names column {column}, which {neither}.")
    for column, value in routing.constants.items():
        if column not in ours.columns:
            yield _misnamed(f"{place}.constants names column {column}, which target {name} does not have.")
        elif column in theirs.columns and not routing.leaves_out(column) and column not in routing.columns:
            yield _misnamed(f"{place}.constants writes column {column}, which the source sends too: exclude it.")
        elif not _is_value(target, ours.columns[column], constant_text(value)):
            yield _misnamed(f"{place}.constants.{column} is no value of type {ours.columns[column].type}.")
    for column, mask in routing.masks.items():
        held = ours.columns.get(routing.renamed(column))
        if isinstance(mask, Constant) and held and not _is_value(target, held, constant_text(mask.value)):
            yield _misnamed(f"{place}.masks.{column} is no value of type {held.type}.")


def mask_faults(place: str, masks: Mapping[str, Mask], types: Mapping[str, Type]) -> Iterator[OperatorError]:
    """Masks that do not fit the types of their columns; `place` is the setting that holds them."""
    for column, mask in masks.items():
        if column in types and (why := misfit(mask, types[column][0])):
            yield _misnamed(f"{place}.{column} cannot be applied: {why}.")


def arriving(
    theirs: Table, types: Mapping[str, Type], routing: Routing, masks: Mapping[str, Mask]
) -> dict[str, Column]:
    """The source's columns as they come to the target, by the name there; `masks` are those of both sides."""
    found = {}
    for column in theirs.columns.values():
        mask = masks.get(column.name)
        if column.generated or routing.leaves_out(column.name) or isinstance(mask, Drop):
            continue
        name = routing.renamed(column.name)
        if name in routing.constants:
            continue
        type_ = column.type
        labels = column.labels
        if mask is not None and (changed := result_type(mask, types[column.name][0])) != types[column.name][0]:
            type_, labels = changed, None
        found[name] = replace(column, name=name, type=type_, labels=labels)
    return found


def _is_value(target: psycopg.Connection[Any], column: Column, text: str) -> bool:
    try:
        with target.transaction():
            target.execute(sql.SQL("SELECT {}::text::{}").format(sql.Literal(text), sql.SQL(column.type)))
    except psycopg.Error:
        return False
    return True


def _misnamed(sentence: str) -> OperatorError:
    return OperatorError(sentence, "Correct it in the configuration.", exit_code=2)
