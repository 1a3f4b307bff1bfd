"""`placemat rebuild`: the rows of a table as they were."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from daemon.cli.bar import progress_bar
from daemon.cli.context import Source
from daemon.cli.context import settings as read_settings
from daemon.cli.output import say
from daemon.errors import OperatorError, Unavailable

if TYPE_CHECKING:
    from daemon.config.settings import Settings
    from daemon.history.formats import Format
    from daemon.history.rebuild import Rebuilt

INCOMPLETE = 3
FORMATS = ("json", "csv", "table")


def rebuild(
    ctx: typer.Context,
    entity: Annotated[str, typer.Argument(metavar="ENTITY", help="A captured table: stories, or public.stories.")],
    at: Annotated[str, typer.Option("--at", metavar="TIME|LSN", help="A time with its zone, or an LSN.")],
    key: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="One row by its key; every row of the table if none.")
    ] = None,
    format_: Annotated[str, typer.Option("--format", help="json, csv or table.")] = "json",
    out: Annotated[Path | None, typer.Option(help="A file to write the rows to.")] = None,
    into: Annotated[
        str | None, typer.Option(metavar="TABLE", help="Write the rows as a table of this name beside the other one.")
    ] = None,
    source: Source = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print one JSON object for the whole, behind the rows where they are printed."),
    ] = False,
) -> None:
    """Show the rows of a table as they were. Exit status 3 where the topics do not tell all of them."""
    import msgspec

    from daemon.history.entity import entities
    from daemon.history.reading import Question
    from daemon.history.rebuild import rebuild as run
    from daemon.recover.window import parse_moment
    from daemon.state import engine as state
    from daemon.state import sources

    chosen = _format(format_, out, into, as_json=as_json)
    moment = parse_moment("--at", at)
    settings = read_settings(ctx)
    name, [table] = entities(settings, [entity], source)
    question = Question(name, [table], moment, keys=[key] if key is not None else [])
    with state.opened(settings.state.url.get_secret_value()) as engine:
        era = sources.eras(engine).get(name, 0)
    with ExitStack() as stack:
        try:
            with progress_bar() as on_progress:
                rebuilt = stack.enter_context(run(settings, era, question, on_progress))
        except Unavailable as error:
            raise OperatorError(f"The topics cannot be read: {error}.", "Run it again when Kafka answers.") from error
        if into is not None:
            _write_table(settings, rebuilt, into if "." in into else f"{table.partition('.')[0]}.{into}")
        else:
            _write(rebuilt, chosen, out)
        if as_json:
            typer.echo(msgspec.json.encode(rebuilt.to_json()).decode())
        else:
            _tell(rebuilt)
        complete = rebuilt.gaps.none
    if not complete:
        raise typer.Exit(INCOMPLETE)


def _format(given: str, out: Path | None, into: str | None, *, as_json: bool) -> Format:
    """Raises OperatorError (exit code 2) for one that there is not, or that does not go with the rest."""
    if given not in FORMATS:
        raise OperatorError(f"There is no format {given}.", f"Choose one of: {', '.join(FORMATS)}.", exit_code=2)
    if into is not None and out is not None:
        raise OperatorError("--into goes without --out.", "Leave out one of them.", exit_code=2)
    if as_json and given != "json" and out is None and into is None:
        raise OperatorError(f"--json does not go with {given} on the screen.", "Add --out FILE.", exit_code=2)
    return given  # type: ignore[return-value]


def _write(rebuilt: Rebuilt, format_: Format, out: Path | None) -> None:
    from daemon.history.formats import lines

    def write(file: TextIO) -> None:
        file.writelines(f"{line}\n" for line in lines(rebuilt, format_))

    if out is None:
        write(sys.stdout)
        return
    try:
        with out.open("x", encoding="utf-8", newline="") as file:
            write(file)
    except FileExistsError:
        raise OperatorError(f"{out} exists.", "Name another file.", exit_code=2) from None
    except OSError as error:
        raise OperatorError(f"{out} cannot be written: {error.strerror}.", "Name another file.") from None


def _write_table(settings: Settings, rebuilt: Rebuilt, into: str) -> None:
    from daemon import wiring

    for name in wiring.write_rebuilt(settings, rebuilt, into):
        say(f"{into} lacks {name}: {rebuilt.table} has no such column any more.")


def _tell(rebuilt: Rebuilt) -> None:
    what = "1 row" if rebuilt.rows == 1 else f"{rebuilt.rows:,} rows"
    say(f"{rebuilt.table} of {rebuilt.source}: {what}, from {rebuilt.records:,} events.")
    for line in rebuilt.gaps.render():
        say(line)
