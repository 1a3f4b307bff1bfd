"""What the state knows of its sources, for people to read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy

from daemon.state import engine as state
from daemon.state import jobs
from daemon.state.jobs import Job
from schemas import tables
from schemas.position import format_lsn


@dataclass(frozen=True, slots=True)
class TableCopy:
    """The initial copy of one table: rows published so far, and when it was done."""

    name: str
    rows: int
    done_at: datetime | None


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One captured database; `flush_lsn` as PostgreSQL writes it."""

    name: str
    slot: str
    flush_lsn: str
    epoch: int
    tables: tuple[TableCopy, ...]
    jobs: tuple[Job, ...]
    """Copies that are not at their end, and those that failed within a day; initial ones too."""


def read(engine: sqlalchemy.Engine) -> list[SourceRow]:
    """Every source by name, its tables in the order of their copy."""
    source, copy = tables.sources.c, tables.snapshots.c
    found = sqlalchemy.select(source.name, source.slot, source.flush_lsn, source.epoch).order_by(source.name)
    copies = sqlalchemy.select(copy.source, copy.table_name, copy.rows, copy.done_at).where(copy.kind == "initial")
    with engine.connect() as connection:
        by_source: dict[str, list[TableCopy]] = {}
        for name, table, rows, done_at in connection.execute(copies.order_by(copy.place, copy.id)):
            by_source.setdefault(name, []).append(TableCopy(table, rows, done_at))
        return [
            SourceRow(
                *(name, slot, format_lsn(int(flush)), epoch, tuple(by_source.get(name, ()))),
                tuple(job for job in jobs.read(connection, name, shown_only=True)),
            )
            for name, slot, flush, epoch in connection.execute(found)
        ]


def eras(engine: sqlalchemy.Engine) -> dict[str, int]:
    """The era of every source that has been set up. Raises OperatorError when the state cannot be read."""
    state.check(engine)
    with engine.connect() as connection:
        found = connection.execute(sqlalchemy.select(tables.sources.c.name, tables.sources.c.era))
        return {name: era for name, era in found}
