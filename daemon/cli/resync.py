"""`placemat resync`: after a gap, make targets equal to the source again, deletes included."""

from __future__ import annotations

from typing import Annotated

import typer

from daemon.cli.bar import progress_bar
from daemon.cli.context import AsJson, By, Reason
from daemon.cli.context import settings as read_settings
from daemon.cli.output import say, write_json


def resync(
    ctx: typer.Context,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A source whose changes are missing.")],
    by: By = None,
    reason: Reason = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what is wrong and would be done.")] = False,
    as_json: AsJson = False,
) -> None:
    """Begin a source anew: slot, copies of all tables, and deletes. Run it again to go on where it was left."""
    from daemon.audit.actions import person, record
    from daemon.cli import copies
    from daemon.errors import OperatorError
    from daemon.resync.resync import Resync
    from daemon.state import engine as state

    settings = read_settings(ctx)
    if source not in settings.sources:
        raise OperatorError(
            f"There is no source {source}.", f"Choose one of: {', '.join(settings.sources)}.", exit_code=2
        )
    with state.opened(settings.state.url.get_secret_value()) as engine:
        state.check(engine)
        repair = Resync(settings, engine, source, say, progress_bar)
        if dry_run:
            plan = repair.plan()
            if as_json:
                write_json(plan.to_json())
            else:
                typer.echo(plan.render())
            return
        record(settings, "resync", by, reason, source=source)
        try:
            report = repair.run(lambda ids: copies.follow(engine, source, ids), by or person())
        except KeyboardInterrupt:
            say(f"What has begun goes on in placemat run. To see it through: placemat resync {source}")
            raise
    if as_json:
        write_json(report.to_json())
    else:
        typer.echo(report.render())
    if not report.done:
        raise typer.Exit(1)
