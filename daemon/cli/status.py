"""`placemat status`: what runs, and how far the initial copy is."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from daemon.cli import copies
from daemon.cli.context import settings as read_settings
from daemon.cli.output import Json, write_json, write_table

if TYPE_CHECKING:
    from daemon.state.sources import SourceRow
    from daemon.state.workers import WorkerRow


def status(
    ctx: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False
) -> None:
    """Show every worker with its state, and every source with its slot and its initial copy."""
    from daemon import wiring
    from daemon.state import engine as state
    from daemon.state import sources, workers

    settings = read_settings(ctx)
    with state.opened(settings.state.url.get_secret_value()) as engine:
        state.check(engine)
        known, captured = workers.read(engine), sources.read(engine)
    missing = [name for name in wiring.worker_names(settings) if not any(row.name == name for row in known)]
    if as_json:
        write_json(
            {
                "workers": [*map(_worker_json, known), *({"name": name, "state": "never started"} for name in missing)],
                "sources": {row.name: _source_json(row) for row in captured},
            }
        )
        return
    rows = [_worker_cells(row) for row in known] + [(name, "never started", "", "") for name in missing]
    write_table(("WORKER", "STATE", "SINCE", "INSTANCE"), rows)
    for row in known:
        if row.detail:
            typer.echo(f"{row.name}: {row.detail}")
    for source in captured:
        typer.echo(_source_line(source))
        for job in source.jobs:
            typer.echo(f"  {copies.sentence(job)}")


def _shown_state(row: WorkerRow) -> str:
    """A process that was killed could not say so itself."""
    return row.state if row.alive or row.state in ("stopped", "failed") else "gone"


def _worker_json(row: WorkerRow) -> dict[str, Json]:
    return {
        "name": row.name,
        "state": _shown_state(row),
        "detail": row.detail,
        "instance": row.instance,
        "started_at": row.started_at.isoformat(),
        "seen_at": row.seen_at.isoformat(),
    }


def _worker_cells(row: WorkerRow) -> tuple[str, str, str, str]:
    return row.name, _shown_state(row), _local(row.started_at), row.instance


def _source_json(row: SourceRow) -> dict[str, Json]:
    return {
        "slot": row.slot,
        "flush_lsn": row.flush_lsn,
        "epoch": row.epoch,
        "tables": {
            table.name: {"rows": table.rows, "done_at": table.done_at.isoformat() if table.done_at else None}
            for table in row.tables
        },
        "jobs": [copies.job_json(job) for job in row.jobs],
    }


def _source_line(row: SourceRow) -> str:
    copied = sum(table.rows for table in row.tables)
    waiting = [table.name for table in row.tables if table.done_at is None]
    progress = f"initial copy of {', '.join(waiting)} to be done" if waiting else "initial copy done"
    return f"{row.name}: slot {row.slot} confirmed through {row.flush_lsn}; {copied:,} rows copied, {progress}"


def _local(time: datetime) -> str:
    return time.astimezone().strftime("%Y-%m-%d %H:%M:%S")
