"""Jobs of copies as verbs show them: JSON, sentences, and bars while they run."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from daemon.cli.output import Json, say

if TYPE_CHECKING:
    import sqlalchemy

    from daemon.state.jobs import Job

LOOK_SECONDS = 0.3
TELL_SECONDS = 10.0

Show = Callable[[Sequence["Job"]], None]


def job_json(job: Job) -> dict[str, Json]:
    return {
        "id": job.id,
        "source": job.source,
        "table": job.table,
        "kind": job.kind,
        "state": job.state,
        "where": job.condition,
        "from": job.from_key,
        "rows": job.rows,
        "estimate": job.estimate,
        "requested_by": job.requested_by,
        "requested_at": job.requested_at.isoformat(),
        "started_at": job.started_at.isoformat() if job.started_at else None,
        "done_at": job.done_at.isoformat() if job.done_at else None,
        "waiting": job.waiting,
        "error": job.error,
    }


def follow(engine: sqlalchemy.Engine, source: str, ids: Sequence[int]) -> list[Job]:
    """Show how these jobs go until all are at their end."""
    from daemon.state import jobs

    pause = threading.Event()
    with _bars() as show:
        told = time.monotonic()
        while True:
            with engine.connect() as connection:
                found = jobs.read(connection, ids=ids)
            show(found)
            if all(job.done_at is not None for job in found):
                return found
            if time.monotonic() - told > TELL_SECONDS:
                told = float("inf")
                _tell_waiting(engine, source)
            pause.wait(LOOK_SECONDS)


def sentence(job: Job) -> str:
    """One line on one job."""
    total = f" of about {job.estimate:,}" if job.estimate is not None and job.done_at is None else ""
    rest = job.error or job.waiting
    wanted_by = f", for {job.requested_by}" if job.kind == "needed" else ""
    return f"{job.table}: {job.state}, {job.rows:,}{total} rows{wanted_by}" + (f". {rest}" if rest else "")


def _tell_waiting(engine: sqlalchemy.Engine, source: str) -> None:
    from daemon.state import workers

    if not workers.runs(engine, f"capture:{source}"):
        say(f"No capture of {source} runs, and the copies wait for it. Start one with: placemat run")


@contextmanager
def _bars() -> Iterator[Show]:
    """Bars on standard error, for a person; nothing where nobody looks."""
    if not sys.stderr.isatty():
        yield lambda _jobs: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    rate = TextColumn("{task.fields[rate]}")
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[rows]}"), rate)
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        tasks: dict[int, TaskID] = {}

        def show(found: Sequence[Job]) -> None:
            for job in found:
                if job.id not in tasks:
                    tasks[job.id] = bar.add_task(job.table, total=None, rows="", rate="")
                total = job.rows if job.done_at else max(job.estimate or 0, job.rows) or None
                speed = bar.tasks[tasks[job.id]].speed
                bar.update(
                    tasks[job.id],
                    completed=job.rows,
                    total=total,
                    rows=f"{job.rows:,} rows" if job.state != "waiting" else "waiting",
                    rate=f"{speed:,.0f}/s" if speed else "",
                )

        yield show
