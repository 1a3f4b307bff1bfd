"""`placemat pause` and `placemat resume`: one table of one target waits, while all others flow; and the answer that
held deletes of a target wait for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from daemon.cli import held
from daemon.cli.context import AsJson, By, DryRun, Reason, Target, Wait
from daemon.cli.context import settings as read_settings
from daemon.cli.context import target as chosen_target
from daemon.cli.output import say, write_json
from daemon.errors import OperatorError

if TYPE_CHECKING:
    from connectors.postgres.pauses import Pause, Pauses

Words = Annotated[
    list[str],
    typer.Argument(metavar="[TARGET] TABLE", help="The target as it is configured; the table with or without public."),
]
OptionalWords = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[TARGET] [TABLE]", help="The target as it is configured; the table with or without public."
    ),
]

POLL_SECONDS = 0.1


def pause(
    ctx: typer.Context,
    words: Words,
    target: Target = None,
    reason: Annotated[str, typer.Option(help="Shown to whoever asks why.")] = "An operator has paused it.",
    by: By = None,
    dry_run: DryRun = False,
    wait: Wait = 30,
    as_json: AsJson = False,
) -> None:
    """Let one table of a target wait. Its changes stay in Kafka, those of all other tables flow."""
    from daemon.audit.actions import person

    with _opened(ctx, words, target) as (pauses, target, name):
        before = _find(pauses, name)
        if not dry_run:
            _enter(ctx, "pause", by, reason, target, name)
        if before is not None and before.state == "paused":
            say(f"{name} of target {target} was paused already, by {before.paused_by}: {before.reason}")
        elif not dry_run:
            pauses.pause(name, by or person(), reason)
        found = _wait(pauses, name, 0 if dry_run else wait, lambda one: one is not None and one.state != "asked")
        _tell("pause", target, name, found, dry_run, as_json)
        if wait and not dry_run and (found is None or found.state == "asked"):
            raise _not_done(name, wait)


def resume(
    ctx: typer.Context,
    words: OptionalWords = None,
    target: Target = None,
    confirm_deletes: Annotated[
        bool, typer.Option("--confirm-deletes", help="Let the deletes that wait at the target go through.")
    ] = False,
    reject_deletes: Annotated[
        bool, typer.Option("--reject-deletes", help="Keep those rows, and put them back in the source.")
    ] = False,
    by: By = None,
    reason: Reason = None,
    dry_run: DryRun = False,
    wait: Wait = 30,
    as_json: AsJson = False,
) -> None:
    """Let a paused table catch up, or answer about held deletes. Then all go on."""
    from daemon.audit.actions import person

    words = words or []
    if confirm_deletes or reject_deletes:
        if confirm_deletes and reject_deletes:
            raise OperatorError("Deletes are confirmed or rejected.", "Give one of the two.", exit_code=2)
        if len(words) > 1 or (words and target is not None):
            raise OperatorError(
                "Deletes wait at a target, not at a table.", "Name the target once, and nothing else.", exit_code=2
            )
        settings = read_settings(ctx)
        name = chosen_target(settings, words[0] if words else target)
        verdict: held.Answer = "confirmed" if confirm_deletes else "rejected"
        asked = held.Answering(name, verdict, by or person(), reason or "", dry_run, wait, as_json)
        held.answer(settings, asked)
        return
    if not words:
        raise OperatorError("No table is named.", "placemat resume [TARGET] TABLE", exit_code=2)
    with _opened(ctx, words, target) as (pauses, target, name):
        before = _find(pauses, name)
        if before is None:
            raise OperatorError(f"{name} of target {target} is not paused.", "placemat status shows what is.")
        if first := pauses.ahead(name):
            raise OperatorError(
                f"{name} of target {target} waits for {first.table}, by which its rows are told: {first.reason}",
                first.advice or f"placemat resume {target} {first.table}",
            )
        if not dry_run:
            _enter(ctx, "resume", by, reason, target, name)
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


def _enter(ctx: typer.Context, verb: str, by: str | None, reason: str | None, target: str, table: str) -> None:
    from daemon.audit.actions import record

    record(read_settings(ctx), verb, by, reason, target=target, entity=table)


@contextmanager
def _opened(ctx: typer.Context, words: Sequence[str], given: str | None) -> Iterator[tuple[Pauses, str, str]]:
    """`words`: a target and a table, or a table. With the pauses the names of both."""
    from daemon import wiring

    settings = read_settings(ctx)
    *before, table = words
    if len(before) > 1 or (before and given is not None):
        raise OperatorError(
            "Name one table, and its target once.", f"placemat {ctx.info_name} [TARGET] TABLE", exit_code=2
        )
    target = chosen_target(settings, before[0] if before else given)
    name = table if "." in table else f"public.{table}"
    needed = settings.targets[target].needed
    if name not in needed:
        raise OperatorError(
            f"Target {target} has no route for table {name}, and no condition of it names that.",
            f"Choose one of: {', '.join(sorted(needed))}.",
            exit_code=2,
        )
    with wiring.pauses(settings, target) as pauses:
        yield pauses, target, name


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
