"""`placemat status`: what runs, and how far the initial copy is."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import typer

from daemon.cli import copies, held
from daemon.cli import strays as stray_records
from daemon.cli.context import AsJson
from daemon.cli.context import settings as read_settings
from daemon.cli.output import Json, local, write_json, write_table
from schemas.position import format_lsn

if TYPE_CHECKING:
    from connectors.contract import OutboxLag
    from connectors.fetching import Stray
    from connectors.postgres.answers import HeldDeletes, Rejected
    from connectors.postgres.pauses import Pause
    from connectors.pushing import Backlogged
    from daemon.config.settings import Settings
    from daemon.state.sources import SourceRow
    from daemon.state.workers import WorkerRow


class _Standing(NamedTuple):
    """What of a target waits: tables, keys, deletes, rows that are to be put back, and what the audit log lacks; of a
    service (else None) what it has yet to be told, and records that people have to decide about."""

    paused: list[Pause]
    parked: int
    held: list[HeldDeletes]
    rejected: list[Rejected]
    audit: OutboxLag | None
    backlog: Backlogged | None
    strays: list[Stray] | None


def status(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Show every worker, every source, paused tables and parked keys. Of a source its slot and its initial copy."""
    from daemon import wiring
    from daemon.state import engine as state
    from daemon.state import sources, workers

    settings = read_settings(ctx)
    with state.opened(settings.state.url.get_secret_value()) as engine:
        state.check(engine)
        known, captured = workers.read(engine), sources.read(engine)
    targets = {name: _standing(settings, name) for name in settings.targets}
    missing = [name for name in wiring.worker_names(settings) if not any(row.name == name for row in known)]
    if as_json:
        write_json(
            {
                "workers": [*map(_worker_json, known), *({"name": name, "state": "never started"} for name in missing)],
                "sources": {row.name: _source_json(row) for row in captured},
                "targets": {name: _standing_json(found) for name, found in targets.items()},
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
        if kept := _kept(settings, source.name):
            typer.echo(f"{source.name}: {kept}")
        for job in source.jobs:
            typer.echo(f"  {copies.sentence(job)}")
    for name, found in targets.items():
        for line in ["does not answer"] if found is None else _standing_lines(name, found):
            typer.echo(f"{name}: {line}")


def _standing(settings: Settings, name: str) -> _Standing | None:
    """None when the target does not answer."""
    from daemon import wiring
    from daemon.errors import OperatorError, Unavailable
    from daemon.wiring import services

    outbox = wiring.outbox(settings, name)
    service = name in settings.services
    try:
        with (
            wiring.pauses(settings, name) as pauses,
            wiring.dead_letters(settings, name) as letters,
            wiring.answers(settings, name) as answers,
        ):
            lag = outbox.lag() if wiring.audited(settings, name) else None
            strays = services.strays(settings, name) if service else None
            return _Standing(
                pauses.read(), letters.count(), answers.held(), answers.rejected(), lag, letters.backlog(), strays
            )
    except (OperatorError, Unavailable):
        return None
    finally:
        outbox.close()


def _standing_json(found: _Standing | None) -> dict[str, Json]:
    if found is None:
        return dict.fromkeys(_Standing._fields)
    lag, backlog = found.audit, found.backlog
    return {
        "paused": [_pause_json(one) for one in found.paused],
        "parked": found.parked,
        "held": [held.held_json(one) for one in found.held],
        "rejected": [held.rejected_json(one) for one in found.rejected],
        "audit": None if lag is None else {"rows": lag.rows, "seconds": round(lag.seconds, 3)},
        "backlog": None if backlog is None else {**backlog._asdict(), "seconds": round(backlog.seconds, 3)},
        "strays": None if found.strays is None else [stray_records.stray_json(one) for one in found.strays],
    }


def _standing_lines(name: str, found: _Standing) -> list[str]:
    keys = "1 key is" if found.parked == 1 else f"{found.parked:,} keys are"
    lines = [f"{keys} parked; placemat dlq list shows why"] if found.parked else []
    if (lag := found.audit) is not None and lag.rows:
        lines.append(f"{lag.rows:,} transactions wait for the audit log, the oldest for {lag.seconds:.0f} s")
    if (backlog := found.backlog) is not None and backlog.keys:
        lines.append(f"{backlog.keys:,} rows are to be told to it, the oldest for {backlog.seconds:.0f} s")
    lines += stray_records.stray_lines(found.strays or [])
    return [*map(_pause_line, found.paused), *lines, *held.held_lines(name, found.held, found.rejected)]


def _kept(settings: Settings, name: str) -> str | None:
    """How much WAL the server keeps for the slot; None when it is not to be asked."""
    from daemon.errors import Unavailable
    from daemon.observe.measure import SourceMeasure

    source = settings.sources.get(name)
    if source is None:
        return None
    measure = SourceMeasure(source)
    try:
        return str(measure().keep)
    except Unavailable as error:
        return str(error)
    finally:
        measure.close()


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
    return row.name, _shown_state(row), local(row.started_at), row.instance


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


def _pause_json(one: Pause) -> dict[str, Json]:
    return {
        "table": one.table,
        "state": one.state,
        "by": one.paused_by,
        "reason": one.reason,
        "advice": one.advice,
        "asked_at": one.asked_at.isoformat(),
        "paused_at": one.paused_at.isoformat() if one.paused_at else None,
        "applied_through": format_lsn(one.commit_lsn) if one.commit_lsn is not None else None,
    }


def _pause_line(one: Pause) -> str:
    words = {"asked": "is to be paused", "paused": "is paused", "resuming": "catches up"}[one.state]
    since = f" since {local(one.paused_at)}" if one.paused_at else ""
    through = f", applied through {format_lsn(one.commit_lsn)}" if one.commit_lsn is not None else ""
    advice = f" Try: {one.advice}" if one.advice else ""
    return f"{one.table} {words}{since} by {one.paused_by}{through}: {one.reason}{advice}"
