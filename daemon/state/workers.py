"""What runs, as the workers' processes tell it: one row per worker and process."""

from __future__ import annotations

from dataclasses import dataclass
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


def tell(engine: sqlalchemy.Engine, instance: str, states: dict[str, tuple[WorkerState, str | None]]) -> None:
    """Write the states of a process's workers, and that the process is there."""
    if not states:
        return
    rows = [
        {"name": name, "instance": instance, "state": state, "detail": detail}
        for name, (state, detail) in states.items()
    ]
    statement = insert(workers)
    statement = statement.on_conflict_do_update(
        index_elements=[workers.c.name, workers.c.instance],
        set_={"state": statement.excluded.state, "detail": statement.excluded.detail, "seen_at": func.now()},
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


def _alive() -> sqlalchemy.ColumnElement[bool]:
    return workers.c.seen_at > func.now() - func.make_interval(0, 0, 0, 0, 0, 0, SILENT_AFTER_SECONDS)
