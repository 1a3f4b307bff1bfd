"""`placemat audit`: what became of every change, who caused it, and whether that record is as it was written."""

from __future__ import annotations

import csv
import sys
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from daemon.cli.audit_erasure import erasure_json, nothing_erased, say_erased
from daemon.cli.bar import progress_bar
from daemon.cli.context import AsJson, By, Reason, Source
from daemon.cli.context import settings as read_settings
from daemon.cli.output import Json, json_text, json_value, local, say, write_json, write_table
from daemon.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daemon.audit.entry import Entry, Values
    from daemon.audit.erasing.row_names import Name
    from daemon.audit.search import Search
    from daemon.audit.segments import Segment

FINDINGS = 3
FIELDS_NAMED = 4

app = typer.Typer(help="The record of every change and action.", no_args_is_help=True, rich_markup_mode=None)

Who = Annotated[str | None, typer.Option(metavar="NAME", help="By whom.")]
Entity = Annotated[str | None, typer.Option(metavar="TABLE", help="With or without public.")]
Key = Annotated[str | None, typer.Option(help="With --entity: a key, as JSON or as its plain value.")]
Outcome = Annotated[str | None, typer.Option(help="What became of it, such as applied, parked or dropped.")]
OfTarget = Annotated[str | None, typer.Option("--target", help="Changes of one target.")]
Action = Annotated[str | None, typer.Option(help="Actions of people only: pause, replay, erase …")]
From = Annotated[str | None, typer.Option("--from", metavar="TIME", help="Entered then or later; with its zone.")]
To = Annotated[str | None, typer.Option("--to", metavar="TIME", help="Entered before.")]


@app.command()
def show(
    ctx: typer.Context,
    who: Who = None,
    entity: Entity = None,
    key: Key = None,
    outcome: Outcome = None,
    target: OfTarget = None,
    action: Action = None,
    start: From = None,
    end: To = None,
    before: Annotated[int | None, typer.Option(metavar="NUMBER", help="The page of entries before this one.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Entries of a page.")] = 50,
    values: Annotated[bool, typer.Option("--values", help="Show the values before and after.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show entries, newest first. Where there are more, it says how to see the next page."""
    from daemon.audit.search import to_json

    search = _search(ctx, who, entity, key, outcome, target, action, start, end, before)
    found = list(_found(ctx, search, limit + 1))
    page = found[:limit]
    open_ = _unfinished(ctx, [entry for entry, _ in page])
    if as_json:
        write_json(
            {"entries": [to_json(*one) for one in page], "more": len(found) > limit, "unfinished": sorted(open_)}
        )
        return
    if not page:
        say("There is no such entry.")
        return
    write_table(
        ("NO", "ENTERED", "WHO", "WHAT", "KEY", "FIELDS", "TARGET", "OUTCOME"), [_cells(one) for one, _ in page]
    )
    for entry, kept in page if values else ():
        _show_values(entry, kept)
    for entry in (entry for entry, _ in page if entry.sequence in open_):
        say(f"The erasure of entry {entry.sequence} is not finished: run placemat audit erase again.")
    if len(found) > limit:
        say(f"There are more: add --before {page[-1][0].sequence}")


@app.command()
def export(
    ctx: typer.Context,
    who: Who = None,
    entity: Entity = None,
    key: Key = None,
    outcome: Outcome = None,
    target: OfTarget = None,
    action: Action = None,
    start: From = None,
    end: To = None,
    form: Annotated[
        Literal["jsonl", "csv"], typer.Option("--format", help="One JSON object a line, or CSV.")
    ] = "jsonl",
) -> None:
    """Print entries, oldest first, all of them that fit."""
    from daemon.audit.search import to_json

    search = _search(ctx, who, entity, key, outcome, target, action, start, end, None)
    writer: Any = None
    for entry, values in _found(ctx, search, None, newest_first=False):
        said = to_json(entry, values)
        if form == "jsonl":
            write_json(said)
            continue
        if writer is None:
            writer = csv.DictWriter(sys.stdout, list(said), lineterminator="\n")
            writer.writeheader()
        writer.writerow({name: _cell(value) for name, value in said.items()})


@app.command()
def verify(
    ctx: typer.Context,
    public_key: Annotated[
        str | None, typer.Option(help="Public key, as placemat audit key prints it; several with commas between.")
    ] = None,
    segments: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Look at the files of sealed months too.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Look whether the log is as it was written, and name the place where it is not. Exit status 3 then."""
    from daemon.audit.verify import verify as look
    from daemon.progress import Progress

    settings = read_settings(ctx)
    with progress_bar() as on_progress:

        def tell(done: int, count: int) -> None:
            if on_progress is not None:
                on_progress(Progress("entries", done, count))

        report = look(settings, public=public_key, files=segments or settings.audit.segments, on_progress=tell)
    if as_json:
        write_json(report.to_json())
    else:
        typer.echo(report.render())
    if not report.clean:
        raise typer.Exit(FINDINGS)


@app.command()
def erase(
    ctx: typer.Context,
    entity: Annotated[str, typer.Argument(metavar="TABLE", help="With or without public.")],
    key: Annotated[str, typer.Argument(metavar="KEY", help="As JSON, or its plain value.")],
    reason: Annotated[str, typer.Option(help="Why; it stands in the log.")],
    source: Source = None,
    also: Annotated[
        list[int] | None,
        typer.Option("--entry", metavar="NUMBER", help="Also the conditions of this entry, one that it has listed."),
    ] = None,
    by: By = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be erased.")] = False,
    as_json: AsJson = False,
) -> None:
    """Erase the values of a row from all of its entries, and from what hubs keep of it, for good; under every name that
    it has where its table goes both ways. The entries stay, and still verify. The same again finishes what broke off.
    """
    from daemon.audit.erasing.erasable import Beside
    from daemon.audit.erasing.erase import erase as run
    from daemon.wiring import erasing

    settings = read_settings(ctx)

    def parked(names: Sequence[Name]) -> dict[str, int]:
        with nothing_erased():
            return erasing.parked(settings, names)

    with ExitStack() as stack:
        with nothing_erased():
            beside = Beside(stack.enter_context(erasing.hubs(settings)), parked)
        done = run(settings, beside, _table(entity), key, reason, by, source=source, also=also or (), dry_run=dry_run)
    if as_json:
        write_json(erasure_json(done, dry_run=dry_run))
    else:
        say_erased(done, dry_run=dry_run)
    if done.left and not dry_run:
        raise typer.Exit(1)


@app.command()
def seal(
    ctx: typer.Context,
    before: Annotated[str, typer.Option(metavar="DATE", help="Months that lie wholly before it, such as 2026-07-01.")],
    to: Annotated[Path | None, typer.Option(metavar="DIR", help="Where the files go; else audit.segments.")] = None,
    by: By = None,
    reason: Reason = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only name the months.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write old months to files and take them out of the database. Their hashes stay, and are verified."""
    from daemon.audit import chain, sealing, signing
    from daemon.audit.actions import person

    settings = read_settings(ctx)
    directory = to or settings.audit.segments
    if directory is None or not directory.is_dir():
        raise OperatorError("There is no directory for the files.", "Set audit.segments, or add --to DIR.", exit_code=2)
    signer = signing.signer(settings.audit)
    day = _date(before)
    sealed: list[Segment] = []
    with chain.opened(settings.state.url.get_secret_value()) as connection:
        if not dry_run:
            sealing.finish(connection, directory)
        months = sealing.months(connection, day)
        connection.commit()
        who = by or person()
        sealed += [sealing.seal(connection, one, directory, signer, who, reason) for one in months if not dry_run]
    if as_json:
        told: list[Json] = [
            {"month": f"{one.month:%Y-%m}", "first": one.first, "last": one.last, "file": str(directory / one.file),
             "signed": one.signature is not None}
            for one in sealed
        ]  # fmt: skip
        write_json({"dry_run": dry_run, "months": [f"{one:%Y-%m}" for one in months], "sealed": told})
        return
    for one in sealed:
        say(f"{one.month:%Y-%m}: entries {one.first} to {one.last} are in {directory / one.file}")
    if dry_run or not months:
        say(f"Would seal: {', '.join(f'{one:%Y-%m}' for one in months)}." if months else "No month lies before that.")


@app.command("key")
def make_key(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file, kept off the state database's host.")],
) -> None:
    """Make a key that signs the log. Prints its public half, by which others verify."""
    from daemon.audit.signing import make

    typer.echo(make(file))
    say(f"Set audit.signing_key = {str(file)!r} where the workers run; keep the public key elsewhere.")
    say(
        "Where an audit log is there already: stop placemat run audit, set the key, placemat init --new-audit-log"
        " --reason TEXT, and start it again."
    )


def _found(ctx: typer.Context, search: Search, limit: int | None, *, newest_first: bool = True) -> Any:
    from daemon.audit import chain
    from daemon.audit.search import find

    with chain.opened(read_settings(ctx).state.url.get_secret_value()) as connection:
        yield from find(connection, search, limit, newest_first=newest_first)


def _unfinished(ctx: typer.Context, entries: Sequence[Entry]) -> set[int]:
    """Those of them that ask for an erasure which has not come to its end."""
    from daemon.audit import chain
    from daemon.audit.erasing import erasures

    asked = {one.sequence for one in entries if (one.kind, one.op, one.outcome) == ("action", "erase", erasures.ASKED)}
    if not asked:
        return asked
    with chain.opened(read_settings(ctx).state.url.get_secret_value()) as connection:
        return asked & {number for one in erasures.unfinished(erasures.read(connection)) for number in one.asked}


def _search(
    ctx: typer.Context, who: str | None, entity: str | None, key: str | None, outcome: str | None, target: str | None,
    action: str | None, start: str | None, end: str | None, before: int | None,
) -> Search:  # fmt: skip
    from daemon.audit import chain
    from daemon.audit.erasing.row_names import keys_of
    from daemon.audit.search import Search

    table = _table(entity) if entity is not None else None
    if key is not None and table is None:
        raise OperatorError("A key is one of a table.", "Name it with --entity.", exit_code=2)
    keys = None
    if key is not None and table is not None:
        with chain.opened(read_settings(ctx).state.url.get_secret_value()) as connection:
            keys = keys_of(connection, table, key)
    since, until = _time("--from", start), _time("--to", end)
    return Search(who, table, keys, outcome, target, action, since, until, before)


def _table(name: str) -> str:
    return name if "." in name else f"public.{name}"


def _time(option: str, text: str | None) -> datetime | None:
    from daemon.recover.window import Moment, parse_moment

    if text is None:
        return None
    if not isinstance(parse_moment(option, text), Moment):
        raise OperatorError(f"{option} {text} is no time.", "Write it like 2026-11-22T10:00:00+10:00.", exit_code=2)
    return datetime.fromisoformat(text)


def _date(text: str) -> Any:
    try:
        return datetime.fromisoformat(text).date()
    except ValueError:
        raise OperatorError(f"--before {text} is no date.", "Write it like 2026-07-01.", exit_code=2) from None


def _cells(entry: Entry) -> tuple[str, ...]:
    fields = json_value(entry.fields)
    more = f" +{len(fields) - FIELDS_NAMED}" if len(fields) > FIELDS_NAMED else ""
    what = f"{entry.op} {entry.entity or ''}".strip()
    key = ", ".join(str(one) for one in json_value(entry.key).values()) if entry.key else ""
    return (
        str(entry.sequence), local(entry.entered_at), entry.who, what, key, ", ".join(fields[:FIELDS_NAMED]) + more,
        entry.target or "", entry.outcome,
    )  # fmt: skip


def _show_values(entry: Entry, values: Values | None) -> None:
    typer.echo(f"{entry.sequence}: {entry.reason or entry.outcome}")
    if values is None:
        typer.echo("  values were erased" if entry.values_hash is not None else "  no values")
        return
    content = json_value(values.content)
    before, after = content["before"] or {}, content["after"] or {}
    asked = after if entry.kind == "action" else {}
    for name in dict.fromkeys([*json_value(entry.fields), *before, *asked]):
        old = json_text(before[name]) if name in before else "?" if entry.op != "c" else "-"
        new = json_text(after[name]) if name in after else "-"
        typer.echo(f"  {name}: {old} → {new}")


def _cell(value: Any) -> Any:
    return json_text(value) if isinstance(value, dict | list) else value
