"""Whether Notion has what it is to have, counted without the daemon: rows of the primary, by SQL, against the pages in
the simulator's own store. Every row has exactly one page, with equal values, and there is no page more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import psycopg
from psycopg import sql

from connectors.notion.simulator.records import Date, Page
from connectors.notion.simulator.store import Store
from daemon.embedded.notion.site import ENTITIES, Entity, Field

KEY = "Sync Key"
Rows = Mapping[str, Mapping[str, Any]]
"""By key, values by column."""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """`field` None: it is about the page."""

    database: str
    key: str
    field: str | None
    wanted: object
    found: object

    def __str__(self) -> str:
        where = f"{self.database} {self.key or 'without a key'}" + (f", {self.field}" if self.field else "")
        return f"{where}: Notion has {self.found!r}, and is to have {self.wanted!r}"


@dataclass(frozen=True, slots=True)
class Compared:
    """How many rows there are that Notion is to show, by database, and what is not so."""

    by_database: Mapping[str, int]
    mismatches: tuple[Mismatch, ...]

    @property
    def rows(self) -> int:
        return sum(self.by_database.values())


def read(primary: str, workspace: UUID) -> dict[str, Rows]:
    """Rows that Notion is to show, by entity, as they are at one moment. `primary` is a superuser's URL."""
    with psycopg.connect(primary) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        return {name: _read(connection, one, workspace) for name, one in ENTITIES.items()}


def compare(rows: Mapping[str, Rows], store: Store) -> Compared:
    """`rows` by entity, as `read` has them."""
    with store.lock:
        keys = {page.id: str(store.shown(page, KEY)) for one in ENTITIES.values() for page in store.pages(one.database)}
        found = [wrong for name, one in ENTITIES.items() for wrong in _compared(store, one, rows[name], rows, keys)]
    return Compared({one.database: len(rows[name]) for name, one in ENTITIES.items()}, tuple(found))


def _read(connection: psycopg.Connection[Any], entity: Entity, workspace: UUID) -> Rows:
    columns = list(entity.fields)
    statement = sql.SQL("SELECT id::text, {} FROM {} WHERE {}").format(
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.Identifier(entity.table),
        sql.SQL(entity.condition.format(workspace=workspace)),
    )
    return {key: dict(zip(columns, values, strict=True)) for key, *values in connection.execute(statement)}


def _compared(
    store: Store, entity: Entity, rows: Rows, all_: Mapping[str, Rows], keys: Mapping[str, str]
) -> Iterator[Mismatch]:
    pages = store.by_key(entity.database)
    for key in sorted(rows.keys() | pages.keys()):
        wanted, found = int(key in rows), len(pages.get(key, ()))
        if wanted != found:
            yield Mismatch(entity.database, key, None, f"{wanted} pages", f"{found} pages")
            continue
        [page] = pages[key]
        for column, one in entity.fields.items():
            expected = wanted_value(one, rows[key][column], all_)
            if (shown := found_value(store, page, one, keys)) != expected:
                yield Mismatch(entity.database, key, one.property, expected, shown)


def wanted_value(field: Field, value: Any, rows: Mapping[str, Rows]) -> object:
    """What a person is to see of a column. A row that has no page cannot be named."""
    if field.relation is not None:
        return [str(value)] if value is not None and str(value) in rows[field.relation] else []
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(microsecond=value.microsecond // 1_000 * 1_000)
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return field.options.get(value, value)
    return value if isinstance(value, date) else float(value)


def found_value(store: Store, page: Page, field: Field, keys: Mapping[str, str]) -> object:
    """What a person sees of a property; of relations the keys of the pages."""
    name = field.property if field.property != "title" else store.sources[page.data_source].title().name
    value = store.shown(page, name)
    if field.relation is not None:
        assert isinstance(value, list)
        return [keys.get(one, one) for one in value]
    if isinstance(value, Date):
        return _moment(value)
    if isinstance(value, int | float):
        return float(value)
    return value or None


def _moment(value: Date) -> date:
    if "T" not in value.start:
        return date.fromisoformat(value.start)
    found = datetime.fromisoformat(value.start)
    if found.tzinfo is None:
        found = found.replace(tzinfo=ZoneInfo(value.time_zone or "UTC"))
    return found.astimezone(UTC)
