"""What runs, as the workers' processes tell it: one row per worker and process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Literal

import sqlalchemy
from sqlalchemy import func
from sqlalchemy.dialects.postgresql import insert

from schemas.tables import workers

WorkerState = Literal["starting", "standby", "running", "waiting", "stopped", "failed"]
"""Waiting: between a failure and its next try. Failed: an operator has to act. Stopped: ended, as asked."""

SILENT_AFTER_SECONDS = 15
"""A process that has not told anything for this long is taken for gone."""


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """One worker of one process. `alive` is false when the process has been silent for too long."""

    name: str
    instance: str
    state: WorkerState
    detail: str | None
    started_at: datetime
    seen_at: datetime
    alive: bool


@dataclass(frozen=True, slots=True)
class Told:
    """What a worker says of itself. `started_at` is when its present run began, by its own host's clock."""

    state: WorkerState
    detail: str | None
    started_at: datetime


def tell(engine: sqlalchemy.Engine, instance: str, told: Mapping[str, Told]) -> None:
    """Write what a process's workers say, by name, and that the process is there."""
    if not told:
        return
    rows = [{"name": name, "instance": instance, **asdict(one)} for name, one in told.items()]
    statement = insert(workers)
    new = statement.excluded
    # A container that is started again has its host name and process number again: its row is there already.
    statement = statement.on_conflict_do_update(
        index_elements=[workers.c.name, workers.c.instance],
        set_={"state": new.state, "detail": new.detail, "started_at": new.started_at, "seen_at": func.now()},
    )
    with engine.begin() as connection:
        connection.execute(statement, rows)


def forget_gone(engine: sqlalchemy.Engine, names: list[str]) -> None:
    """Remove what earlier processes left behind about these workers."""
    with engine.begin() as connection:
        connection.execute(
            workers.delete().where(workers.c.name.in_(names), workers.c.state.in_(("stopped", "failed")) | ~_alive())
        )


def read(engine: sqlalchemy.Engine) -> list[WorkerRow]:
    """Every worker that is known, by name; of one name the newest process last."""
    query = sqlalchemy.select(workers, _alive()).order_by(workers.c.name, workers.c.started_at)
    with engine.connect() as connection:
        return [WorkerRow(*row) for row in connection.execute(query)]


def runs(engine: sqlalchemy.Engine, name: str) -> bool:
    """Whether some process does this worker's work now."""
    return any(row.name == name and row.alive and row.state == "running" for row in read(engine))


def _alive() -> sqlalchemy.ColumnElement[bool]:
    return workers.c.seen_at > func.now() - func.make_interval(0, 0, 0, 0, 0, 0, SILENT_AFTER_SECONDS)
