"""`placemat link`: two systems that were full before are to go both ways."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from daemon.cli.bar import progress_bar
from daemon.cli.context import By, Reason
from daemon.cli.context import settings as read_settings
from daemon.cli.output import say, write_json

if TYPE_CHECKING:
    from daemon.config.settings import Settings

WAITS = 3


def link(
    ctx: typer.Context,
    target: Annotated[str, typer.Argument(metavar="TARGET", help="A target with tables that go both ways.")],
    tables: Annotated[
        list[str] | None, typer.Argument(metavar="[TABLE]...", help="All that go both ways when none.")
    ] = None,
    match: Annotated[
        list[str] | None,
        typer.Option(metavar="FIELD[,FIELD…]", help="Rows with the same values are the same; tried in turn."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only tell what is the same, and what would be done.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, with every row that is told of.")
    ] = False,
    by: By = None,
    reason: Reason = None,
) -> None:
    """Link rows that both sides have already. Exit status 3 when some wait."""
    from connectors.contract import TryAgain
    from daemon import wiring
    from daemon.apply.two_way import rules_of
    from daemon.audit.actions import person, record
    from daemon.errors import OperatorError, Unavailable
    from daemon.link.link import Link
    from daemon.link.report import LinkReport

    settings = read_settings(ctx)
    _check(settings, target)
    matches = [tuple(one.strip() for one in text.split(",") if one.strip()) for text in match or ()]
    if not dry_run:
        _check_rests(settings, target)
    who, hub = by or person(), settings.targets[target].source
    try:
        with wiring.link_sides(settings, target) as (ours, theirs), progress_bar() as on_progress:
            run = Link(ours, theirs, target, rules_of(settings, target), on_progress)
            plans = run.plan(tables or [], matches)
            report = LinkReport(target, hub, plans, not dry_run, who, reason)
            if not dry_run:
                record(settings, "link", by, reason, {"matches": list(match or ()), **report.counts()}, target=target)
                run.write(plans, who)
    except (Unavailable, TryAgain) as error:
        raise OperatorError(f"The link has stopped: {error}.", "Run it again: it goes on where it was left.") from error
    if as_json:
        write_json(report.to_json())
    else:
        typer.echo(report.render())
    if report.ambiguous:
        say(f"{report.ambiguous:,} rows wait for a person, and do not go to the other side until then.")
        raise typer.Exit(WAITS)


def _check(settings: Settings, target: str) -> None:
    """Raises OperatorError (exit code 2) for a target that does not go both ways."""
    from daemon.errors import OperatorError

    names = [name for name in settings.targets if (role := settings.role(name)) is not None and role.kind == "spoke"]
    if target not in names:
        raise OperatorError(
            f"Target {target} has no tables that go both ways."
            if target in settings.targets
            else f"There is no target {target}.",
            f"Choose one of: {', '.join(names)}." if names else "Set both_ways in the routes of its tables.",
            exit_code=2,
        )


def _check_rests(settings: Settings, target: str) -> None:
    """Raises OperatorError while a worker runs that could carry a row over before it is known to be there already."""
    from daemon.errors import OperatorError
    from daemon.state import engine as state
    from daemon.state import workers

    names = {f"apply:{target}", f"apply:{settings.brings_back(target)}"}
    if target in settings.services:
        names |= {f"push:{target}", f"fetch:{target}"}
    with state.opened(settings.state.url.get_secret_value()) as engine:
        state.check(engine)
        for row in workers.read(engine):
            if row.name in names and row.alive and row.state not in ("stopped", "failed"):
                raise OperatorError(
                    f"Worker {row.name} runs: it could make rows anew that are about to be linked.",
                    f"Stop {' and '.join(sorted(names))} everywhere, link, and start them again.",
                )
