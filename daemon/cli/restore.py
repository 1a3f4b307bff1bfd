"""`placemat restore`: take wrong values back."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from daemon.cli.bar import progress_bar
from daemon.cli.context import By, Reason, Source
from daemon.cli.context import settings as read_settings
from daemon.cli.output import write_json
from daemon.errors import OperatorError, Unavailable

if TYPE_CHECKING:
    from daemon.config.settings import Settings
    from daemon.history.restore import Task
    from daemon.history.restore_report import RestoreReport, RowRestored

DIFFERENCES = 3


def restore(
    ctx: typer.Context,
    tables: Annotated[list[str], typer.Argument(metavar="TABLE...", help="Captured tables of one source.")],
    at: Annotated[str, typer.Option("--at", metavar="TIME|LSN", help="A time with its zone, or an LSN.")],
    until: Annotated[
        str | None,
        typer.Option("--until", metavar="TIME|LSN", help="Only rows that changed since and up to then, and not later."),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(metavar="[TABLE.]COLUMN=VALUE", help="Only rows that had this value; may be repeated."),
    ] = None,
    key: Annotated[
        list[str] | None, typer.Option(help="Only this row: its key, as a value or JSON; may be repeated.")
    ] = None,
    column: Annotated[list[str] | None, typer.Option(help="Only this column; may be repeated.")] = None,
    delete_newer: Annotated[bool, typer.Option("--delete-newer", help="Delete rows that were made since.")] = False,
    partial: Annotated[
        bool, typer.Option("--partial", help="Make deleted rows again also where some values are not told.")
    ] = False,
    by: By = None,
    reason: Reason = None,
    source: Source = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show the rows and fields that would change.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per row, and one for the whole at the end.")
    ] = False,
) -> None:
    """Put rows of a source back to what they were. What is written flows everywhere, as every change does."""
    from daemon import wiring
    from daemon.audit.actions import person, record
    from daemon.history.entity import entities
    from daemon.history.reading import Question
    from daemon.history.restore import Task
    from daemon.history.restore import restore as run
    from daemon.recover.window import parse_moment
    from daemon.state import engine as state
    from daemon.state import sources

    moment = parse_moment("--at", at)
    end = parse_moment("--until", until) if until is not None else None
    if delete_newer and column:
        raise OperatorError("--delete-newer goes without --column.", "Leave out one of them.", exit_code=2)
    settings = read_settings(ctx)
    name, wanted = entities(settings, tables, source)
    task = Task(
        Question(name, wanted, moment, end, key or []),
        at,
        by or person(),
        reason,
        frozenset(column) if column else None,
        _where(where or [], wanted),
        delete_newer,
        partial,
        dry_run,
    )
    with state.opened(settings.state.url.get_secret_value()) as engine:
        era = sources.eras(engine).get(name, 0)
    target = wiring.restore_target(settings, task)
    if not dry_run:
        asked, values = _conditions(settings, task)
        details = {
            "tables": wanted, "at": at, "until": until, "columns": column, "delete_newer": delete_newer,
            "partial": partial, "keys": key or None, "where": asked,
        }  # fmt: skip
        record(settings, "restore", by, reason, details, source=name, content=values)
    with progress_bar() as on_progress:
        try:
            report = run(
                settings, era, task, target, on_progress=on_progress, on_row=_teller(dry_run=dry_run, as_json=as_json)
            )
        except Unavailable as error:
            raise OperatorError(
                f"The restore has stopped: {error}.", "Run it again: what is written stays, and is not written twice."
            ) from error
    _tell(report, task, as_json=as_json)


def _where(given: Sequence[str], tables: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    """Column and value by table; one without a table is about all of them. Raises OperatorError (exit code 2)."""
    found: dict[str, list[tuple[str, str]]] = {table: [] for table in tables}
    for one in given:
        left, equals, value = one.partition("=")
        table, _, column = left.rpartition(".")
        about = [name for name in tables if table in ("", name, name.partition(".")[2])]
        if not equals or not column or not about:
            raise OperatorError(
                f"--where {one} is not understood.", "Write COLUMN=VALUE, or TABLE.COLUMN=VALUE.", exit_code=2
            )
        for name in about:
            found[name].append((column, value))
    return found


def _conditions(settings: Settings, task: Task) -> tuple[list[str] | None, str | None]:
    """Names of columns in --where, and what they were to be, as values that an entry has; none of a masked column."""
    asked = [(table, column, value) for table, found in (task.where or {}).items() for column, value in found]
    if not asked:
        return None, None
    of = task.question.source
    masked = {(table, one) for table, masks in settings.sources[of].masks.items() for one in masks}
    routes = [route for target in settings.targets.values() if target.source == of for route in target.tables.items()]
    masked |= {(table, one) for table, route in routes for one in (*route.masks, *route.exclude)}
    values: dict[str, list[str]] = {}
    for table, column, value in asked:
        if (table, column) not in masked:
            values.setdefault(f"{table}.{column}", []).append(value)
    names = sorted({f"{table}.{column}" for table, column, _ in asked})
    return names, json.dumps({"before": None, "after": values}, ensure_ascii=False)


def _teller(*, dry_run: bool, as_json: bool) -> Callable[[RowRestored], None] | None:
    if as_json:
        return lambda row: write_json(row.to_json())
    return (lambda row: typer.echo("\n".join(row.render()))) if dry_run else None


def _tell(report: RestoreReport, task: Task, *, as_json: bool) -> None:
    if as_json:
        write_json(report.to_json())
    else:
        typer.echo(report.render())
    if report.left:
        raise OperatorError(
            f"{report.left} rows are left as they are.", "The report says why; put that right, then restore them again."
        )
    if not report.complete or (task.dry_run and report.changes):
        raise typer.Exit(DIFFERENCES)
