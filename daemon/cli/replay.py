"""`placemat replay`: write again, from the topics, what a target has lost or holds otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from daemon.cli.bar import progress_bar
from daemon.cli.context import By, Reason, Target
from daemon.cli.context import settings as read_settings
from daemon.cli.context import target as chosen_target
from daemon.cli.output import say, write_json
from daemon.errors import OperatorError, Unavailable

if TYPE_CHECKING:
    from daemon.recover.replay import Task
    from daemon.recover.report import ReplayReport, RowChange
    from daemon.recover.window import Start

DIFFERENCES = 3


def replay(
    ctx: typer.Context,
    target: Target = None,
    table: Annotated[list[str] | None, typer.Option(help="All routed tables when none; may be repeated.")] = None,
    start: Annotated[
        str | None,
        typer.Option("--from", help="beginning, a time with its zone, an LSN, or offset:PARTITION:OFFSET."),
    ] = None,
    key: Annotated[str | None, typer.Option(help="One key, as JSON or as its plain value: its whole history.")] = None,
    until: Annotated[str | None, typer.Option(help="Leave rows alone that changed later; forms as in --from.")] = None,
    rate: Annotated[float | None, typer.Option(min=0.1, help="Most rows written in a second.")] = None,
    by: By = None,
    reason: Reason = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only name the rows and fields that would change.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per row, and one for the whole at the end.")
    ] = False,
) -> None:
    """Write rows again that differ from what the topics say. Beside the live flow."""
    from daemon import wiring
    from daemon.audit.actions import record
    from daemon.recover.replay import Task, tables_of
    from daemon.recover.replay import replay as run
    from daemon.recover.window import parse_end
    from daemon.state import engine as state
    from daemon.state import sources

    settings = read_settings(ctx)
    target = chosen_target(settings, target)
    end = parse_end(until) if until is not None else None
    task = Task(tables_of(settings, target, table or []), _start(start, key), end, rate, dry_run)
    with state.opened(settings.state.url.get_secret_value()) as engine:
        era = sources.eras(engine).get(settings.targets[target].source, 0)
    if not dry_run:
        details = {"tables": list(task.tables), "from": start, "key": key, "until": until}
        record(settings, "replay", by, reason, details, target=target)
    with progress_bar() as on_progress:
        try:
            report = run(
                settings, target, wiring.replay_target(settings, target), task,
                era=era, on_progress=on_progress, on_change=_teller(task, as_json=as_json),
            )  # fmt: skip
        except Unavailable as error:
            raise OperatorError(
                f"The replay has stopped: {error}.", "Run it again: what is written stays, and is not written twice."
            ) from error
    _tell(report, as_json=as_json)
    if report.left:
        raise OperatorError(
            f"{report.left} rows are left as they are.", "The report says why; put that right, then replay them again."
        )
    if dry_run and report.changes:
        raise typer.Exit(DIFFERENCES)


def _start(start: str | None, key: str | None) -> Start:
    from daemon.recover.window import OneKey, parse_start

    if key is not None and start is None:
        return OneKey(key)
    if start is not None and key is None:
        return parse_start(start)
    raise OperatorError("Say from when, or which key.", "placemat replay --from beginning, or --key ID", exit_code=2)


def _teller(task: Task, *, as_json: bool) -> Callable[[RowChange], None] | None:
    """What tells of a row: a rebuild would fill the screen, a dry run is there for it."""
    if as_json:
        return lambda change: write_json(change.to_json())
    return (lambda change: typer.echo(change.render())) if task.dry_run else None


def _tell(report: ReplayReport, *, as_json: bool) -> None:
    if as_json:
        write_json(report.to_json())
    else:
        typer.echo(report.render())
    for one in report.tables:
        for partition, offset in one.lost.items():
            say(f"{one.table}: partition {partition} begins at offset {offset}; the source is asked for the rest.")
