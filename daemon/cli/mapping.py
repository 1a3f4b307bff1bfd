"""`placemat mapping`: whether a service fits the configuration, and what telling it would come to."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from daemon.cli.context import AsJson
from daemon.cli.context import settings as read_settings
from daemon.cli.output import Json, say, write_json, write_table
from daemon.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from daemon.config.settings import Settings
    from daemon.push.preview import Preview

DIFFERS = 3
KINDS = ("create", "change", "same", "twice", "only_there")

app = typer.Typer(help="How tables of the hub are databases of a service.", no_args_is_help=True, rich_markup_mode=None)
Target = Annotated[str, typer.Argument(metavar="TARGET", help="A target that is a service.")]


@app.command()
def check(ctx: typer.Context, target: Target, as_json: AsJson = False) -> None:
    """Compare the service's own schema with the configuration; nothing is changed. Exit status 3 where they differ."""
    from daemon.wiring import services

    settings = read_settings(ctx)
    _known(settings, target)
    found = services.differences(settings, target)
    if as_json:
        write_json({"target": target, "differences": [_difference(*one) for one in found]})
    else:
        for _, _, sentence, advice in found:
            say(f"{sentence} Try: {advice}")
        if not found:
            say(f"{target} is as the configuration takes it to be.")
    if found:
        raise typer.Exit(DIFFERS)


@app.command()
def plan(
    ctx: typer.Context, target: Target,
    limit: Annotated[int, typer.Option(min=0, help="Rows of each table that are named.")] = 10,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Read all of a service, and say what it would be told, before it is. Exit status 3 where that is anything.

    The rows are those of the mirror: have capture and apply fill it first.
    """
    from daemon.wiring import services

    settings = read_settings(ctx)
    _known(settings, target)
    found = {table: list(previews) for table, previews in services.preview(settings, target)}
    counts = {table: Counter[str](one.what for one in previews) for table, previews in found.items()}
    named = {table: [one for one in previews if one.what != "same"][:limit] for table, previews in found.items()}
    if as_json:
        write_json({"target": target, "tables": {table: _told(counts[table], named[table]) for table in found}})
    else:
        _write(counts, named)
    if any(set(one) - {"same"} for one in counts.values()):
        raise typer.Exit(DIFFERS)


def _write(counts: Mapping[str, Counter[str]], named: Mapping[str, Sequence[Preview]]) -> None:
    header = ["TABLE", "TO MAKE", "TO CHANGE", "AS IT IS", "TWICE", "ONLY THERE"]
    write_table(header, [[table, *(f"{one[kind]:,}" for kind in KINDS)] for table, one in counts.items()])
    for table, several in named.items():
        for one in several:
            what = one.what.replace("_", " ")
            say(f"{table} {one.key or one.records[0]}: {what} {', '.join(one.fields)}".rstrip())


def _told(counts: Counter[str], named: Sequence[Preview]) -> dict[str, Json]:
    rows: list[Json] = [
        {"what": one.what, "key": one.key or None, "fields": list(one.fields), "records": list(one.records)}
        for one in named
    ]
    return {**{kind: counts[kind] for kind in KINDS}, "rows": rows}


def _difference(table: str, column: str | None, sentence: str, advice: str) -> dict[str, Json]:
    return {"table": table, "column": column, "sentence": sentence, "advice": advice}


def _known(settings: Settings, target: str) -> None:
    """Raises OperatorError (exit code 2) for a target that is no service."""
    if target not in settings.services:
        names = list(settings.services)
        raise OperatorError(
            f"There is no target {target} that is a service.",
            f"Choose one of: {', '.join(names)}." if names else "connectors/notion/README.md shows how to add one.",
            exit_code=2,
        )
