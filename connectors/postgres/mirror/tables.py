"""Makes the tables of a mirror: those that hold the rows as a service is to have them, and those that hold them as it
was seen to have them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from importlib import resources
from typing import Any

import psycopg
from psycopg import sql

from connectors.errors import OperatorError
from connectors.mirroring import WANTED_SCHEMA, Mirrored
from connectors.postgres.mirror.naming import key_text, watch_names
from connectors.postgres.mirror.watching import EVENTS, watch
from connectors.postgres.shape import Column, Table, read_table

MINTED = ("uuid", "text")
"""Types of keys that a row can have which people make at a service."""


def install(
    mirror: psycopg.Connection[Any], hub: psycopg.Connection[Any], name: str, tables: Sequence[Mirrored]
) -> Iterator[OperatorError]:
    """Make what is missing, in the open transaction; every fault found. Columns that no service has a field for any
    more stay where they are. The bookkeeping has to be there.

    Raises OperatorError when the role may not do so.
    """
    try:
        mirror.execute(resources.files(__package__).joinpath("mirror.sql").read_bytes())
        mirror.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(WANTED_SCHEMA)))
        complete = True
        for one in tables:
            shape = read_table(hub, one.table)
            faults = [] if shape is None else [*_faults(name, one, shape), *_nameless(hub, name, one, shape)]
            if shape is None or faults:  # a table that is not there is the source's own fault, and told there
                complete = False
                yield from faults
                continue
            yield from _make(mirror, name, one.wanted, one, shape)
            if one.told:
                _watch(mirror, one)
            _index(mirror, one, [by.column for other in tables for by in other.named_by if by.table == one.table])
            if one.seen:
                mirror.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(_schema(one.table)))
                yield from _make(mirror, name, one.table, one, shape)
                mirror.execute(sql.SQL("ALTER TABLE {} REPLICA IDENTITY FULL").format(_identifier(one.table)))
        if complete:
            watch_names(mirror, tables)
    except psycopg.errors.InsufficientPrivilege as error:
        raise OperatorError(
            f"Role {mirror.info.user} may not make the tables of target {name} in database {mirror.info.dbname}:"
            f" {error.diag.message_primary}.",
            f"Make it the owner: ALTER DATABASE {mirror.info.dbname} OWNER TO {mirror.info.user}",
        ) from None


def _faults(name: str, one: Mirrored, shape: Table) -> Iterator[OperatorError]:
    place = f"targets.{name}.entities"
    if shape.primary_key != {one.key}:
        listed = ", ".join(sorted(shape.primary_key)) or "none"
        yield OperatorError(
            f"The primary key of {one.table} is {listed}, and target {name} takes it to be {one.key}.",
            f"A service knows a row by one column: correct key under {place}, or take the table out.",
            exit_code=2,
        )
    if one.seen and one.key in shape.columns and shape.columns[one.key].type not in MINTED:
        yield OperatorError(
            f"The key of {one.table} is of type {shape.columns[one.key].type}, and target {name} goes both ways: rows"
            " that people make there get a UUID.",
            f"Take both_ways out of the entity under {place}; a key of type uuid or text can have it.",
            exit_code=2,
        )
    for column in one.columns:
        if column not in shape.columns:
            yield OperatorError(
                f"{place} names column {column}, which {one.table} does not have.",
                "Correct it in the configuration.",
                exit_code=2,
            )
        elif one.seen and shape.columns[column].labels is not None:
            yield OperatorError(
                f"Column {column} of {one.table} is an enum, which a mirror holds as text: it cannot go both ways with"
                f" target {name}.",
                f"Take it out of the fields under {place}, or make it a text with a CHECK in the source.",
                exit_code=2,
            )
        elif "." in _type(shape.columns[column]):
            yield OperatorError(
                f"Column {column} of {one.table} is of type {shape.columns[column].type}, which a mirror cannot hold.",
                f"Take it out of the fields under {place}.",
                exit_code=2,
            )


def _nameless(hub: psycopg.Connection[Any], name: str, one: Mirrored, shape: Table) -> Iterator[OperatorError]:
    """Columns that are to name the table's rows, and cannot."""
    key = _type(shape.columns[one.key]) if one.key in shape.columns else None
    for by in one.named_by:
        naming = read_table(hub, by.table)
        column = None if naming is None else naming.columns.get(by.column)
        if column is not None and key is not None and _type(column) != key:
            yield OperatorError(
                f"Column {by.column} of {by.table} is of type {_type(column)}, and cannot name rows of {one.table},"
                f" whose key is of type {key}.",
                f"Correct only_if_named_by under targets.{name}.entities.",
                exit_code=2,
            )


def _make(
    mirror: psycopg.Connection[Any], target: str, table: str, one: Mirrored, shape: Table
) -> Iterator[OperatorError]:
    """Every column whose values are none of its type any more."""
    columns = {name: _type(shape.columns[name]) for name in dict.fromkeys((one.key, *one.columns))}
    there = read_table(mirror, table)
    if there is None:
        named = sql.SQL(", ").join(
            sql.SQL("{} {}{}").format(
                sql.Identifier(name), sql.SQL(type_), sql.SQL(" PRIMARY KEY" if name == one.key else "")
            )
            for name, type_ in columns.items()
        )
        mirror.execute(sql.SQL("CREATE TABLE {} ({})").format(_identifier(table), named))
        return
    for name, type_ in columns.items():
        known = there.columns.get(name)
        if known is None:
            added = sql.SQL("ALTER TABLE {} ADD COLUMN {} {}")
            mirror.execute(added.format(_identifier(table), sql.Identifier(name), sql.SQL(type_)))
        elif known.type != type_:
            changed = sql.SQL("ALTER TABLE {} ALTER COLUMN {} TYPE {} USING ").format(
                _identifier(table), sql.Identifier(name), sql.SQL(type_)
            )
            converted = sql.SQL("{}::text::{}").format(sql.Identifier(name), sql.SQL(type_))
            try:
                with mirror.transaction():
                    mirror.execute(changed + converted)
            except (psycopg.DataError, psycopg.errors.CannotCoerce) as error:
                yield OperatorError(
                    f"Column {name} of {table} in the mirror of target {target} is of type {known.type}, and cannot"
                    f" become {type_}, as {one.table} has it: {error.diag.message_primary}.",
                    f"Convert it there as in the source: {changed.as_string(mirror)}…; then: placemat init",
                )


def _watch(mirror: psycopg.Connection[Any], one: Mirrored) -> None:
    """Whatever changes a row that the service is to have, it is to be told."""
    for event in EVENTS:
        arguments = [one.table, key_text(one).as_string(mirror)]
        watch(mirror, one.wanted, event, f"placemat_{event.lower()}", "enqueue", arguments)


def _index(mirror: psycopg.Connection[Any], one: Mirrored, names: Iterable[str]) -> None:
    """Rows are found by what they refer to, once that has a record; and by what they name."""
    for column in dict.fromkeys((*one.references, *names)):
        name = sql.Identifier(f"{one.wanted.split('.', 1)[1]}_{column}"[:63])
        mirror.execute(
            sql.SQL("CREATE INDEX IF NOT EXISTS {} ON {} ({})").format(
                name, _identifier(one.wanted), sql.Identifier(column)
            )
        )


def _type(column: Column) -> str:
    """What holds the column's values without what its own database has made for them."""
    type_ = column.base or column.type
    # How long a text may be is for the hub to say, of one row: here it would end the reading of all.
    return "text" if column.labels is not None or type_.startswith("character varying(") else type_


def _identifier(table: str) -> sql.Identifier:
    return sql.Identifier(*table.split(".", 1))


def _schema(table: str) -> sql.Identifier:
    return sql.Identifier(table.split(".", 1)[0])
