"""What a person asks to be copied, checked on the source before anything is asked of the capture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import orjson
import psycopg

from daemon.capture import copy_faults, selects
from daemon.capture.catalog import Table
from daemon.capture.provision import depths, foreign_keys
from daemon.capture.reader import Reader
from daemon.capture.values import as_text
from daemon.config.source import Source
from daemon.database import connect, reason
from daemon.errors import OperatorError
from daemon.state.jobs import Order


@dataclass(frozen=True, slots=True)
class Planned:
    """One table's copy: rows that the planner expects, and the first SELECT with the texts of its parameters."""

    order: Order
    expected: int
    statement: str
    parameters: list[str]


def plan(
    name: str, source: Source, tables: Sequence[str], condition: str | None, from_key: str | None
) -> list[Planned]:
    """Plan the copies of tables of one source.

    Raises OperatorError when the source is away, or a table has no key, or the condition or the key are none there.
    """
    url = source.url.get_secret_value()
    with connect(url, f"Source {name}", f"sources.{name}.url") as connection:
        places = depths(tables, foreign_keys(connection))
    reader = Reader(url, name)
    try:
        return [
            _plan(reader, table, places[table], condition, from_key, source.snapshot.chunk_rows) for table in tables
        ]
    except psycopg.Error as error:
        refused = isinstance(error, psycopg.errors.InsufficientPrivilege)
        statements = copy_faults.mending(reader, tables) if refused else ""
        raise OperatorError(
            f"Source {name} does not let {', '.join(tables)} be read: {error.diag.message_primary or reason(error)}.",
            f"{f'There run: {statements};' if statements else 'Put that right there,'} then run this again.",
        ) from None
    finally:
        reader.close()


def key_texts(table: Table, text: str) -> list[str]:
    """The texts of a key as a person writes it: a JSON object or list, or the plain value of a key of one column.

    Raises ValueError when it is none of the table's.
    """
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        value = None
    types = {column.name: column.type_oid for column in table.relation.columns}
    if isinstance(value, dict) and value.keys() == set(table.key):
        return [as_text(types[column], value[column]) for column in table.key]
    if isinstance(value, list) and len(value) == len(table.key):
        return [as_text(types[column], one) for column, one in zip(table.key, value, strict=True)]
    if len(table.key) == 1 and not isinstance(value, dict | list):
        return [text]
    raise ValueError(f"{text} is no key of {table.relation.name}")


def _plan(reader: Reader, name: str, place: int, condition: str | None, from_key: str | None, rows: int) -> Planned:
    table = reader.table(name)
    try:
        if condition is not None:
            reader.check_condition(table, condition)
    except psycopg.OperationalError:
        raise
    except psycopg.Error as error:
        what = error.diag.message_primary or reason(error)
        if "]" not in (condition or ""):  # then it is the bracket that we put behind it
            what = what.replace('at or near "]"', "at its end")
        raise OperatorError(
            f"--where is no condition over {name}: {what}.",
            "Write one SQL expression over the table's columns, such as: --where \"status = 'active'\"",
            exit_code=2,
        ) from None
    try:
        start = key_texts(table, from_key) if from_key is not None else None
        select = selects.chunk(table, start, rows, condition, inclusive=True)
        expected = reader.expected(table, start, condition)
    except (ValueError, psycopg.DataError):
        raise OperatorError(
            f"--from is no key of {name}, which has ({', '.join(table.key)}).",
            'Give the plain value of a key of one column, else JSON such as \'{"a": 1, "b": "x"}\'.',
            exit_code=2,
        ) from None
    order = Order(name, condition, start, place, table.key_columns if start is not None else None)
    return Planned(order, expected, reader.text(select[0]), select[1])
