"""`placemat verify`: compare targets with their source, row by row and field by field."""

from __future__ import annotations

from typing import Annotated

import typer

from daemon.cli.bar import progress_bar
from daemon.cli.context import AsJson
from daemon.cli.context import settings as read_settings
from daemon.cli.output import write_json
from daemon.errors import OperatorError

DIFFERENCES = 3


def verify(
    ctx: typer.Context,
    tables: Annotated[
        list[str] | None, typer.Argument(metavar="[TABLE]...", help="All routed tables when none.")
    ] = None,
    sample: Annotated[
        int | None, typer.Option(min=1, help="Compare this many random rows of each table, of either side.")
    ] = None,
    values: Annotated[bool, typer.Option("--values", help="Show the values that differ.")] = False,
    as_json: AsJson = False,
) -> None:
    """Compare every row and field of each target with its source. Exit status 3 when they differ."""
    from daemon.reconcile.verify import verify as compare
    from daemon.state import engine as state
    from daemon.state import sources
    from daemon.wiring import services

    settings = read_settings(ctx)
    with state.opened(settings.state.url.get_secret_value()) as engine:
        eras = sources.eras(engine)
    with progress_bar() as on_progress:
        report = compare(
            settings, tables or [], eras=eras, sample=sample, on_progress=on_progress, show_values=values,
            services=lambda name: services.side(settings, name),
        )  # fmt: skip
    if as_json:
        write_json(report.to_json())
    else:
        typer.echo(report.render())
    if report.differences:
        raise typer.Exit(DIFFERENCES)
    if report.paused:
        target, table = report.paused[0]
        which = "" if table.resume == table.table else f": {table.resume} is, which its condition names"
        raise OperatorError(
            f"{table.table} of target {target} is paused and was not compared{which}.",
            f"{table.advice or f'placemat resume {target} {table.resume}'}; then: placemat verify",
        )
