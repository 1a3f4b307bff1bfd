"""Jobs to copy a table: asked for by `init`, by people, by targets and by `resync`; done by the running capture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

import sqlalchemy
from sqlalchemy import Connection, Row, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from daemon.errors import OperatorError
from daemon.state.capture import CaptureState
from schemas import tables

Kind = Literal["initial", "asked", "needed", "resync"]
"""Why a table is copied: for the first time, for a person, for a target, or after a gap."""

KEEP_NEEDED = "1 day"
_t = tables.snapshots


@dataclass(frozen=True, slots=True)
class Order:
    """What to copy: `from_key` holds texts of the `key_columns`, `condition` is SQL that the source has taken."""

    table: str
    condition: str | None = None
    from_key: list[str] | None = None
    place: int = 0
    key_columns: list[str] | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """One copy of one table; `last_key` is None before the first chunk is done, and of `key_columns` as `from_key` is;
    `error`: it has failed."""

    id: int
    source: str
    table: str
    kind: Kind
    condition: str | None
    from_key: list[str] | None
    place: int
    last_key: list[str] | None
    key_columns: list[str] | None
    rows: int
    estimate: int | None
    requested_by: str | None
    requested_at: datetime
    started_at: datetime | None
    waiting: str | None
    error: str | None
    done_at: datetime | None

    @property
    def state(self) -> Literal["waiting", "running", "done", "failed"]:
        if self.done_at is not None:
            return "failed" if self.error else "done"
        return "running" if self.started_at and not self.waiting else "waiting"

    @property
    def lasting(self) -> bool:
        """Nobody asks again, and rows that a route hides stay until it is done: no fault of the table ends it."""
        return self.kind == "needed" and self.condition is None


class CopyJobs:
    """The jobs of one source, for its capture. Every write is fenced, and raises Fenced and Unavailable."""

    def __init__(self, state: CaptureState, source: str) -> None:
        self._state = state
        self._source = source

    def open(self) -> list[Job]:
        """Those that are not at their end, oldest first. Raises Unavailable."""
        with self._state.reading() as connection:
            return read(connection, self._source, open_only=True)

    def started(self, job: int) -> None:
        """Before the first SELECT: from now on the same can be asked for again."""
        self._set(job, started_at=func.coalesce(_t.c.started_at, func.now()))

    def chunk_done(
        self, job: int, last_key: Sequence[str] | None, key_columns: Sequence[str], rows: int, estimate: int | None,
        *, done: bool,
    ) -> None:  # fmt: skip
        """Remember that a table is copied through `last_key`, which is of these columns."""
        values: dict[str, Any] = {"rows": _t.c.rows + rows, "chunks": _t.c.chunks + 1, "waiting": None}
        if last_key is not None:
            values |= {"last_key": list(last_key), "key_columns": list(key_columns)}
        if estimate is not None:
            values["estimate"] = estimate
        if done:
            values["done_at"] = func.now()
        self._set(job, **values)

    def waits(self, job: int, sentence: str) -> None:
        self._set(job, waiting=sentence)

    def failed(self, job: int, sentence: str) -> None:
        self._set(job, error=sentence, waiting=None, done_at=func.now())

    def made_anew(self, tables: Sequence[str]) -> None:
        """Other tables are there under these names: what happened in them before they were published is not known."""
        with self._state.fenced() as connection:
            add(connection, self._source, "needed", [Order(table) for table in tables], "a table made anew")

    def needed(self, orders: Mapping[str, Sequence[Order]], requests_offset: int) -> None:
        """What targets need (by target), and how far the requests topic has been read for it: both or neither."""
        with self._state.fenced() as connection:
            places = _places(connection, self._source) if orders else {}
            for target, wanted in orders.items():
                placed = [
                    replace(one, place=places.get(one.table, 0)) if one.condition is None and not one.place else one
                    for one in wanted
                ]
                add(connection, self._source, "needed", placed, f"target {target}")
            connection.execute(
                update(tables.sources)
                .where(tables.sources.c.name == self._source)
                .values(requests_offset=requests_offset)
            )
            if orders:
                old = _t.c.done_at < func.now() - sqlalchemy.text(f"interval '{KEEP_NEEDED}'")
                connection.execute(delete(_t).where(_t.c.source == self._source, _t.c.kind == "needed", old))

    def _set(self, job: int, **values: Any) -> None:
        with self._state.fenced() as connection:
            connection.execute(update(_t).where(_t.c.id == job).values(**values))


def add(connection: Connection, source: str, kind: Kind, orders: Sequence[Order], by: str | None) -> list[int]:
    """Add jobs, but for those of which the same waits already; ids of all of them, in the order asked for.

    The transaction has to hold the source's row: two who ask at once would not see each other's jobs.
    """
    found = []
    for order in orders:
        same = select(_t.c.id).where(
            _t.c.source == source,
            _t.c.table_name == order.table,
            _t.c.condition.is_not_distinct_from(order.condition),
            _t.c.kind == kind,
            _t.c.started_at.is_(None),
            _t.c.done_at.is_(None),
        )
        waiting = [row.id for row in connection.execute(same) if _from_key(connection, row.id) == order.from_key]
        found.append(waiting[0] if waiting else _insert(connection, source, kind, order, by))
    return found


def ask(
    engine: sqlalchemy.Engine, source: str, kind: Kind, orders: Sequence[Order], by: str | None = None
) -> list[int]:
    """As `add`, in a transaction of its own. Raises OperatorError when the source has not been set up."""
    with engine.begin() as connection:
        row = select(tables.sources.c.name).where(tables.sources.c.name == source).with_for_update()
        if connection.execute(row).one_or_none() is None:
            raise OperatorError(f"Source {source} has not been set up.", "Run: placemat init")
        return add(connection, source, kind, orders, by)


def add_initial(connection: Connection, source: str, places: Mapping[str, int]) -> None:
    """The initial copies of tables that have none yet; the places of those that have."""
    known = set(connection.scalars(select(_t.c.table_name).where(_t.c.source == source, _t.c.kind == "initial")))
    for table, place in places.items():
        if table in known:
            mine = (_t.c.source == source, _t.c.table_name == table, _t.c.kind == "initial")
            connection.execute(update(_t).where(*mine).values(place=place))
        else:
            _insert(connection, source, "initial", Order(table, place=place), None)


def _places(connection: Connection, source: str) -> dict[str, int]:
    """Of the tables that were copied at first: parents have lower ones than their children."""
    rows = select(_t.c.table_name, _t.c.place).where(_t.c.source == source, _t.c.kind == "initial")
    return {row.table_name: row.place for row in connection.execute(rows)}


def read(
    connection: Connection,
    source: str | None = None,
    *,
    ids: Sequence[int] | None = None,
    open_only: bool = False,
    shown_only: bool = False,
) -> list[Job]:
    """Jobs of a source, or of all, oldest first. `shown_only`: those that are open, or have failed within a day."""
    columns = [_t.c.table_name.label("table") if field == "table" else _t.c[field] for field in Job.__slots__]
    query = select(*columns).order_by(_t.c.id)
    if source is not None:
        query = query.where(_t.c.source == source)
    if ids is not None:
        query = query.where(_t.c.id.in_(ids))
    if open_only:
        query = query.where(_t.c.done_at.is_(None))
    if shown_only:
        failed = _t.c.error.is_not(None) & (_t.c.done_at > func.now() - sqlalchemy.text("interval '1 day'"))
        query = query.where(_t.c.done_at.is_(None) | failed)
    return [_job(row) for row in connection.execute(query)]


def _job(row: Row[Any]) -> Job:
    return Job(**row._mapping)


def _from_key(connection: Connection, job: int) -> list[str] | None:
    found = connection.scalar(select(_t.c.from_key).where(_t.c.id == job))
    return None if found is None else list(found)


def _insert(connection: Connection, source: str, kind: Kind, order: Order, by: str | None) -> int:
    values: dict[str, Any] = {"source": source, "table_name": order.table, "kind": kind, "place": order.place}
    if order.from_key is not None:
        values |= {"from_key": order.from_key, "key_columns": order.key_columns}
    made = insert(_t).values(condition=order.condition, requested_by=by, **values).returning(_t.c.id)
    return int(connection.execute(made).scalar_one())
