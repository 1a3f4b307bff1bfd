"""`placemat dlq`: keys that a target has refused, and what is to be done with them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Annotated

import typer

from daemon.cli.context import AsJson, By, DryRun, Reason, Target, Wait
from daemon.cli.context import settings as read_settings
from daemon.cli.context import target as chosen_target
from daemon.cli.output import Json, json_text, json_value, local, say, write_json, write_table
from daemon.errors import OperatorError
from daemon.keys import key_text

if TYPE_CHECKING:
    from connectors.postgres.bookkeeping import ParkedKey, Request
    from connectors.postgres.dead_letters import DeadLetters

app = typer.Typer(help="Keys that a target has refused.", no_args_is_help=True, rich_markup_mode=None)

Ids = Annotated[list[int] | None, typer.Argument(metavar="[ID]...", help="Numbers as placemat dlq list shows them.")]
Every = Annotated[bool, typer.Option("--all", help="Every parked key.")]

POLL_SECONDS = 0.1
IDS_NAMED = 20


@app.command("list")
def list_(ctx: typer.Context, target: Target = None, as_json: AsJson = False) -> None:
    """Show the parked keys, oldest first."""
    with _opened(ctx, target) as letters:
        keys = letters.parked()
    if as_json:
        write_json({"parked": [_key_json(key) for key in keys]})
        return
    if not keys:
        say("No key is parked.")
        return
    rows = [
        (str(key.id), key.table_name, key_text(key.key), key.kind, str(key.events), local(key.parked_at))
        for key in keys
    ]
    write_table(("ID", "TABLE", "KEY", "KIND", "EVENTS", "SINCE"), rows)
    by_reason: dict[str, list[int]] = {}
    for key in keys:
        by_reason.setdefault(key.reason, []).append(key.id)
    for reason, ids in by_reason.items():
        typer.echo(f"{_ids(ids)}: {reason}")


@app.command()
def show(
    ctx: typer.Context,
    parked_id: Annotated[int, typer.Argument(metavar="ID")],
    target: Target = None,
    values: Annotated[bool, typer.Option("--values", help="Show the events whole, values and all.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show one parked key and the events that wait behind it."""
    with _opened(ctx, target) as letters:
        key = next((key for key in letters.parked() if key.id == parked_id), None)
        queue, wanted = letters.queue(parked_id), letters.wanted(parked_id) if values else None
    if key is None:
        raise OperatorError(f"No key is parked under {parked_id}.", "placemat dlq list shows those that are.")
    events: list[dict[str, Json]] = []
    for place in queue:
        event = None if place.event is None else json_value(place.event)
        told: dict[str, Json] = {
            "topic": place.topic,
            "partition": place.partition,
            "offset": place.offset,
            "op": None if event is None else event["op"],
        }
        events.append({**told, "event": event} if values else told)
    if as_json:
        row: dict[str, Json] = {} if wanted is None else {"wanted": json_value(wanted)}
        write_json({**_key_json(key), **row, "queue": events})
        return
    for name, value in {**_key_json(key), "key": key_text(key.key)}.items():
        if value is not None:
            typer.echo(f"{name}: {value}")
    if wanted is not None:
        typer.echo(f"wanted: {wanted}")
    for told in events:
        whole = f"  {json_text(told['event'])}" if told.get("event") is not None else ""
        typer.echo(f"  {told['op'] or '-'}  {told['topic']}[{told['partition']}]@{told['offset']}{whole}")


def _verb(request: Request) -> Callable[..., None]:
    def ask(
        ctx: typer.Context,
        ids: Ids = None,
        every: Every = False,
        target: Target = None,
        by: By = None,
        reason: Reason = None,
        dry_run: DryRun = False,
        wait: Wait = 30,
        as_json: AsJson = False,
    ) -> None:
        from daemon.audit.actions import enter as enter_all
        from daemon.audit.actions import person
        from daemon.audit.entry import Draft

        settings = read_settings(ctx)
        name = chosen_target(settings, target)

        def enter(keys: Sequence[ParkedKey]) -> None:
            who, done = by or person(), f"dlq {request}"
            drafts = [
                Draft(
                    "action", done, "asked", who, target=name, source=key.source, entity=key.table_name, key=key.key,
                    reason=reason, details={"id": key.id},
                )
                for key in keys
            ]  # fmt: skip
            enter_all(settings, drafts)

        with _opened(ctx, target) as letters:
            _ask(letters, ids, every, request, dry_run, wait, as_json, enter)

    return ask


app.command("redrive", help="Ask the worker to apply the events of parked keys, in order.")(_verb("redrive"))
app.command(
    "discard",
    help="Ask the worker to forget what waits of parked keys. The target then differs until the key changes again.",
)(_verb("discard"))


def _opened(ctx: typer.Context, target: str | None) -> AbstractContextManager[DeadLetters]:
    from daemon import wiring

    settings = read_settings(ctx)
    return wiring.dead_letters(settings, chosen_target(settings, target))


def _ask(
    letters: DeadLetters,
    ids: Sequence[int] | None,
    every: bool,
    request: Request,
    dry_run: bool,
    wait: float,
    as_json: bool,
    enter: Callable[[Sequence[ParkedKey]], None],
) -> None:
    """`enter` takes down what is asked for, before it is."""
    if ids and every:
        raise OperatorError("Keys are named beside --all.", f"placemat dlq {request} ID…, or --all", exit_code=2)
    if not ids and not every:
        raise OperatorError(f"Say which keys to {request}.", f"placemat dlq {request} ID…, or --all", exit_code=2)
    keys = letters.parked()
    parked = {key.id for key in keys}
    wanted = sorted(parked) if every else list(dict.fromkeys(ids or ()))
    if unknown := [number for number in wanted if number not in parked]:
        raise OperatorError(f"No key is parked under {unknown[0]}.", "placemat dlq list shows those that are.")
    if dry_run:
        _tell(request, wanted, [], [], as_json, dry_run=True)
        return
    enter([key for key in keys if key.id in wanted])
    asked = letters.ask(wanted, request)
    pending, refused = _outcome(letters, asked, wait)
    _tell(request, asked, pending, refused, as_json)
    if pending and wait:
        raise OperatorError(
            f"The worker has not done it within {wait:g} seconds: {len(pending)} of {len(asked)} are still to come.",
            "The request stays; placemat status shows whether the worker runs.",
        )
    if refused:
        raise OperatorError(
            f"{len(refused)} of {len(asked)} were refused again: {refused[0].reason}",
            "Put right what refuses them, then redrive them again.",
        )


def _outcome(letters: DeadLetters, asked: Sequence[int], wait: float) -> tuple[list[int], list[ParkedKey]]:
    """Ids whose request nobody has taken up in time, or whose row has not come yet, and keys that were tried and are
    parked still."""
    deadline = time.monotonic() + wait
    while True:
        left = [key for key in letters.parked() if key.id in asked]
        pending = [key.id for key in left if key.request is not None or _is_asked_for(key)]
        if not pending or time.monotonic() >= deadline:
            return pending, [key for key in left if key.id not in pending]
        time.sleep(POLL_SECONDS)


def _is_asked_for(key: ParkedKey) -> bool:
    return key.kind == "needs_full_row" and key.sqlstate is None


def _tell(
    request: Request,
    asked: Sequence[int],
    pending: Sequence[int],
    refused: Sequence[ParkedKey],
    as_json: bool,
    *,
    dry_run: bool = False,
) -> None:
    left = {*pending, *(key.id for key in refused)}
    done = [] if dry_run else [number for number in asked if number not in left]
    if as_json:
        again: list[Json] = [{"id": key.id, "reason": key.reason} for key in refused]
        write_json(
            {
                "request": request,
                "dry_run": dry_run,
                "asked": list(asked),
                "done": done,
                "pending": list(pending),
                "refused": again,
            }
        )
    elif dry_run:
        say(f"Would {request} {len(asked)} of the parked keys{': ' if asked else ''}{_ids(asked)}.")
    else:
        say(f"{'Redriven' if request == 'redrive' else 'Discarded'}: {len(done)} of {len(asked)}.")


def _ids(ids: Sequence[int]) -> str:
    more = f" and {len(ids) - IDS_NAMED:,} more" if len(ids) > IDS_NAMED else ""
    return ", ".join(map(str, ids[:IDS_NAMED])) + more


def _key_json(key: ParkedKey) -> dict[str, Json]:
    return {
        "id": key.id,
        "source": key.source,
        "table": key.table_name,
        "key": json_value(key.key),
        "kind": key.kind,
        "sqlstate": key.sqlstate,
        "code": key.code,
        "reason": key.reason,
        "parked_at": key.parked_at.isoformat(),
        "attempts": key.attempts,
        "request": key.request,
        "events": key.events,
    }
