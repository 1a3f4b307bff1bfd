"""`placemat snapshot`: read tables, or some of their rows, once more while the stream goes on."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from daemon.cli.context import AsJson, By, Reason, Source
from daemon.cli.context import settings as read_settings
from daemon.cli.output import Json, say, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from daemon.capture.plan import Planned
    from daemon.cli.gone import Routed
    from daemon.config.settings import Settings


def snapshot(
    ctx: typer.Context,
    tables: Annotated[list[str], typer.Argument(metavar="TABLE...", help="Captured tables.")],
    source: Source = None,
    where: Annotated[str | None, typer.Option(help="SQL condition over the table's columns.")] = None,
    from_: Annotated[
        str | None, typer.Option("--from", metavar="KEY", help="Begin with this key: its value, or JSON.")
    ] = None,
    delete_gone: Annotated[
        bool,
        typer.Option("--delete-gone", help="Then delete from the targets what the source does not have."),
    ] = False,
    by: By = None,
    reason: Reason = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and do nothing.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the end, and show how it goes.")] = True,
    as_json: AsJson = False,
) -> None:
    """Publish the rows of tables as they are now. The running capture does it beside the stream."""
    from daemon.audit.actions import person, record
    from daemon.capture.plan import plan
    from daemon.cli import gone
    from daemon.errors import OperatorError

    settings = read_settings(ctx)
    wanted = list(dict.fromkeys(name if "." in name else f"public.{name}" for name in tables))
    if from_ is not None and len(wanted) > 1:
        raise OperatorError("--from is a key of one table.", "Name one table with it.", exit_code=2)
    if delete_gone:
        _refuse_beside_delete_gone({"--where": where is not None, "--from": from_ is not None, "--no-wait": not wait})
    name = _source(settings, wanted, source)
    routed = gone.routed(settings, name, wanted) if delete_gone else {}
    planned = plan(name, settings.sources[name], wanted, where, from_)
    if dry_run:
        _show(settings, name, planned, routed, as_json=as_json)
    else:
        details = {"tables": wanted, "from": from_, "delete_gone": delete_gone}
        asked = None if where is None else json.dumps({"before": None, "after": {"where": where}}, ensure_ascii=False)
        record(settings, "snapshot", by, reason, details, source=name, content=asked)
        again = shlex.join(
            ["placemat", "snapshot", *tables, *(["--source", source] if source else []), "--delete-gone"]
        )
        _ask(settings, name, planned, routed, again, by or person(), wait=wait, as_json=as_json)


def _refuse_beside_delete_gone(given: Mapping[str, bool]) -> None:
    """Raises OperatorError (exit code 2)."""
    from daemon.errors import OperatorError

    for option in (option for option, is_given in given.items() if is_given):
        why = "that is known of whole tables only" if option != "--no-wait" else "it comes after the copies' end"
        raise OperatorError(
            f"--delete-gone cannot be given together with {option}: {why}.", f"Leave out {option}.", exit_code=2
        )


def _source(settings: Settings, tables: Sequence[str], given: str | None) -> str:
    """Raises OperatorError (exit code 2) unless one source captures all of the tables."""
    from daemon.errors import OperatorError

    if given is not None and given not in settings.sources:
        raise OperatorError(
            f"There is no source {given}.", f"Choose one of: {', '.join(settings.sources)}.", exit_code=2
        )
    fitting = [name for name in settings.sources if given in (None, name)]
    for table in tables:
        fitting = [name for name in fitting if table in settings.sources[name].tables]
        if not fitting:
            who = f"Source {given} does not capture" if given else "No source captures"
            together = "" if len(tables) == 1 else " with the others"
            raise OperatorError(
                f"{who} {table}{together}.", "placemat config show names the captured tables.", exit_code=2
            )
    if len(fitting) > 1:
        raise OperatorError(
            f"Several sources capture {', '.join(tables)}.",
            f"Add --source with one of: {', '.join(fitting)}.",
            exit_code=2,
        )
    return fitting[0]


def _show(settings: Settings, source: str, planned: Sequence[Planned], routed: Routed, *, as_json: bool) -> None:
    from daemon.cli import gone

    counted = gone.count(settings, routed)
    if as_json:
        told: list[Json] = [
            {
                "table": one.order.table,
                "estimate": one.expected,
                "statement": one.statement,
                "parameters": one.parameters,
            }
            for one in planned
        ]
        write_json({"source": source, "dry_run": True, "tables": told, **(counted.to_json() if routed else {})})
    else:
        for one in planned:
            typer.echo(f"{one.order.table}: about {one.expected:,} rows")
            typer.echo(f"  {' '.join(one.statement.split())}")
            for at, text in enumerate(one.parameters, 1):
                typer.echo(f"  ${at} = {text}")
        for line in counted.render():
            typer.echo(line)
    for error in counted.away.values():
        raise error


def _ask(
    settings: Settings,
    source: str,
    planned: Sequence[Planned],
    routed: Routed,
    again: str,
    by: str,
    *,
    wait: bool,
    as_json: bool,
) -> None:
    """`again` is the command itself, for whoever has to repeat it."""
    from daemon.capture.pace import Pace
    from daemon.cli import copies, gone
    from daemon.state import engine as state
    from daemon.state import jobs, workers

    with state.opened(settings.state.url.get_secret_value()) as engine:
        state.check(engine)
        ids = jobs.ask(engine, source, "asked", [one.order for one in planned], by)
        if (window := Pace(settings.sources[source].snapshot).closed) is not None:
            say(f"Copies wait for their window, {window}.")
        try:
            if wait:
                found = copies.follow(engine, source, ids)
            else:
                with engine.connect() as connection:
                    found = jobs.read(connection, ids=ids)
        except KeyboardInterrupt:
            say("The copy goes on without this command; placemat status shows it.")
            raise
        copied = {job.table for job in found if job.state == "done"}
        deleted = gone.delete(
            settings, {target: kept for target, tables in routed.items() if (kept := [*copied.intersection(tables)])},
            lambda target: workers.runs(engine, f"apply:{target}"),
        )  # fmt: skip
    if as_json:
        told: list[Json] = [copies.job_json(job) for job in found]
        write_json({"source": source, "dry_run": False, "jobs": told, **(deleted.to_json() if routed else {})})
    else:
        for line in [*map(copies.sentence, found), *deleted.render()]:
            typer.echo(line)
        if not wait:
            say("placemat status shows how it goes.")
    deleted.check(again)
    if any(job.error for job in found):
        raise typer.Exit(1)
