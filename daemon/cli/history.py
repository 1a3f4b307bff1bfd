"""`placemat history`: every version of a row."""

from __future__ import annotations

from typing import Annotated

import typer

from daemon.cli.bar import progress_bar
from daemon.cli.context import AsJson, Source
from daemon.cli.context import settings as read_settings
from daemon.cli.output import say
from daemon.errors import OperatorError, Unavailable


def history(
    ctx: typer.Context,
    entity: Annotated[str, typer.Argument(metavar="ENTITY", help="A captured table: stories, or public.stories.")],
    key: Annotated[str, typer.Argument(metavar="ID", help="The row's key: its value, or JSON of several columns.")],
    field: Annotated[str | None, typer.Option(help="Only versions that changed this field.")] = None,
    source: Source = None,
    as_json: AsJson = False,
) -> None:
    """Show every version of a row. When, by whom, what changed, and what each target did with it."""
    import msgspec

    from daemon import wiring
    from daemon.history.entity import entities
    from daemon.history.row_history import row_history

    settings = read_settings(ctx)
    name, [table] = entities(settings, [entity], source)
    with progress_bar() as on_progress, wiring.outcomes(settings, name, table) as targets:
        try:
            found = row_history(settings, name, table, key, targets, field=field, on_progress=on_progress)
        except Unavailable as error:
            raise OperatorError(f"The history cannot be read: {error}.", "Run it again when it answers.") from error
    if as_json:
        typer.echo(msgspec.json.encode(found.to_json(field)).decode())
        return
    for told in found.versions:
        for line in told.render(field):
            typer.echo(line)
    for target, why in found.away.items():
        say(f"Target {target} was not asked: {why}")
    if not found.versions:
        say("The topic holds no version of that row." if field is None else "No version that it holds changed that.")
