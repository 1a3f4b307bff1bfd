"""`placemat tail`: events as they pass, one line each."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from daemon.cli.context import settings as read_settings
from daemon.cli.output import Json, json_text, write_json
from daemon.errors import OperatorError

if TYPE_CHECKING:
    from daemon.config.settings import Settings
    from daemon.observe.stream import Event


def tail(
    ctx: typer.Context,
    topic: Annotated[
        str | None,
        typer.Argument(
            metavar="[TOPIC]", help="A topic, or a table such as stories or public.stories; all tables if none."
        ),
    ] = None,
    from_beginning: Annotated[bool, typer.Option("--from-beginning", help="Begin with the oldest event kept.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="End after so many events.")] = None,
    values: Annotated[bool, typer.Option("--values", help="Show the values too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per event.")] = False,
) -> None:
    """Show events as they pass, until Ctrl-C. Time, topic, operation, key and columns of each."""
    from daemon.observe.stream import events

    settings = read_settings(ctx)
    fit = fitting()
    passing = events(settings.kafka, _topics(settings, topic), from_beginning=from_beginning)
    for event in islice(passing, limit):
        if as_json:
            write_json(_json(event, values=values))
        else:
            typer.echo(fit(_line(event, values=values)))


def _topics(settings: Settings, wanted: str | None) -> list[str]:
    from schemas.topics import PREFIX, table_topic

    known = [
        table_topic(name, *table.split(".", 1)) for name, source in settings.sources.items() for table in source.tables
    ]
    if wanted is None:
        return known
    if wanted.startswith(f"{PREFIX}.") and wanted.count(".") >= 2:
        return [wanted]
    found = [topic for topic in known if topic.endswith(f".{wanted}")]
    if not found:
        raise OperatorError(f"There is no topic {wanted}.", f"Choose one of: {', '.join(known)}.", exit_code=2)
    return found


def _json(event: Event, *, values: bool) -> dict[str, Json]:
    told: dict[str, Json] = {
        "topic": event.topic,
        "partition": event.partition,
        "offset": event.offset,
        "position": event.position,
        "ts_ms": event.ts_ms,
        "op": event.op,
        "key": event.key,
        "columns": event.columns,
    }
    return {**told, "before": event.value.get("before"), "after": event.value.get("after")} if values else told


def fitting() -> Callable[[str], str]:
    """What makes a line fit a terminal, as wide as that is by then; where nobody looks, lines stay whole."""
    if not sys.stdout.isatty():
        return lambda line: line
    from rich.cells import cell_len, set_cell_size

    def fit(line: str) -> str:
        width = shutil.get_terminal_size().columns
        return line if cell_len(line) <= width else set_cell_size(line, width - 1).rstrip() + "…"

    return fit


def _line(event: Event, *, values: bool) -> str:
    at = _time(event.ts_ms)
    what = _values(event.value) if values else ", ".join(event.columns)
    return f"{at}  {event.topic}  {event.op}  {_key(event.key)}  {what}".rstrip()


def _time(ts_ms: int | None) -> str:
    if ts_ms is None:
        return "-"
    moment = datetime.fromtimestamp(ts_ms / 1_000, UTC).astimezone()
    return moment.strftime("%Y-%m-%d %H:%M:%S.") + f"{ts_ms % 1_000:03}"


def _key(key: Json) -> str:
    return ",".join(f"{name}={value}" for name, value in key.items()) if isinstance(key, dict) else "-"


def _values(value: dict[str, Any]) -> str:
    # What is no event of a row, such as a transaction's end, is shown whole.
    shown = (value.get("after") or value.get("before")) if "op" in value else value
    return json_text(shown)
