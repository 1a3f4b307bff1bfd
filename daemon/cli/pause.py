"""`placemat pause` and `placemat resume`: one table of one target waits, while all others flow."""

from __future__ import annotations

import getpass
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from daemon.cli.context import settings as read_settings
from daemon.cli.output import say, write_json
from daemon.errors import OperatorError

if TYPE_CHECKING:
    from connectors.postgres.pauses import Pause, Pauses

TargetName = Annotated[str, typer.Argument(metavar="TARGET", help="As it is named in the configuration.")]
Table = Annotated[str, typer.Argument(metavar="TABLE", help="With or without public.")]
Wait = Annotated[float, typer.Option(min=0, help="Seconds to wait for the worker to do it.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be asked for.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]

POLL_SECONDS = 0.1


def pause(
    ctx: typer.Context,
    target: TargetName,
    table: Table,
    reason: Annotated[str, typer.Option(help="Shown to whoever asks why.")] = "An operator has paused it.",
    dry_run: DryRun = False,
    wait: Wait = 30,
    as_json: AsJson = False,
) -> None:
    """Let one table of a target wait. Its changes stay in Kafka, those of all other tables flow."""
    with _opened(ctx, target, table) as (pauses, name):
        before = _find(pauses, name)
        if before is not None and before.state == "paused":
            say(f"{name} of target {target} was paused already, by {before.paused_by}: {before.reason}")
        elif not dry_run:
            pauses.pause(name, _who() or pauses.role, reason)
        found = _wait(pauses, name, 0 if dry_run else wait, lambda one: one is not None and one.state != "asked")
        _tell("pause", target, name, found, dry_run, as_json)
        if wait and not dry_run and (found is None or found.state == "asked"):
            raise _not_done(name, wait)


def resume(
    ctx: typer.Context,
    target: TargetName,
    table: Table,
    dry_run: DryRun = False,
    wait: Wait = 30,
    as_json: AsJson = False,
) -> None:
    """Let a paused table catch up, and then go on with the others."""
    with _opened(ctx, target, table) as (pauses, name):
        before = _find(pauses, name)
        if before is None:
            raise OperatorError(f"{name} of target {target} is not paused.", "placemat status shows what is.")
        if not dry_run:
            pauses.resume(name)
        found = _wait(pauses, name, 0 if dry_run else wait, lambda one: one is None or one.state == "paused")
        _tell("resume", target, name, found, dry_run, as_json)
        if dry_run or found is None:
            return
        if found.state == "paused":
            raise OperatorError(
                f"{name} was paused again: {found.reason}", found.advice or "placemat status says more."
            )
        if wait:
            raise _not_done(name, wait)


@contextmanager
def _opened(ctx: typer.Context, target: str, table: str) -> Iterator[tuple[Pauses, str]]:
    from daemon import wiring

    settings = read_settings(ctx)
    if target not in settings.targets:
        known = ", ".join(settings.targets)
        raise OperatorError(f"There is no target {target}.", f"Choose one of: {known}.", exit_code=2)
    name = table if "." in table else f"public.{table}"
    routed = settings.targets[target].tables
    if name not in routed:
        raise OperatorError(
            f"Target {target} has no route for table {name}.", f"Routed are: {', '.join(sorted(routed))}.", exit_code=2
        )
    with wiring.pauses(settings, target) as pauses:
        yield pauses, name


def _wait(pauses: Pauses, table: str, seconds: float, done: Callable[[Pause | None], bool]) -> Pause | None:
    """The pause as it stands once it is done, or the time is over."""
    deadline = time.monotonic() + seconds
    while not done(found := _find(pauses, table)) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    return found


def _find(pauses: Pauses, table: str) -> Pause | None:
    return next((one for one in pauses.read() if one.table == table), None)


def _tell(request: str, target: str, table: str, found: Pause | None, dry_run: bool, as_json: bool) -> None:
    state = found.state if found else "running"
    if as_json:
        write_json({"request": request, "target": target, "table": table, "dry_run": dry_run, "state": state})
    elif dry_run:
        say(f"Would {request} {table} of target {target}, which is {state}.")
    else:
        say(f"{table} of target {target}: {state}.")


def _not_done(table: str, wait: float) -> OperatorError:
    return OperatorError(
        f"The worker has not done it within {wait:g} seconds: {table} is not there yet.",
        "The request stays; placemat status and placemat lag show how far it is.",
    )


def _who() -> str | None:
    """The person at the terminal; a container may have no name for its user."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return None
