"""`placemat lag`: how far behind each target and each source is."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from daemon.cli.context import settings as read_settings
from daemon.cli.output import Json, write_json, write_table

if TYPE_CHECKING:
    from daemon.config.settings import Settings
    from daemon.observe.lag import SourceLag, TargetLag

Measured = tuple[dict[str, "SourceLag | None"], dict[str, "TargetLag"]]


def lag(
    ctx: typer.Context,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    interval: Annotated[float, typer.Option(help="Seconds between two measurements.", min=0.1)] = 1.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per measurement.")] = False,
) -> None:
    """Show lag in records, seconds and bytes."""
    settings = read_settings(ctx)
    with ExitStack() as stack:
        measure = _measure(settings, stack)
        show = _show_json if as_json else _Text(follow).show
        show(*measure())
        while follow:
            time.sleep(interval)
            show(*measure())


def _measure(settings: Settings, stack: ExitStack) -> Callable[[], Measured]:
    from daemon import wiring
    from daemon.errors import OperatorError, Unavailable
    from daemon.observe.measure import SourceMeasure, TargetMeasure
    from daemon.observe.topic_log import TopicLog

    topics = stack.enter_context(TopicLog(settings.kafka))
    targets, sources = {}, {}
    for name in settings.targets:
        progress = wiring.progress_reader(settings, name)
        stack.callback(progress.close)
        targets[name] = TargetMeasure(settings, name, topics, progress)
    for name, source in settings.sources.items():
        sources[name] = SourceMeasure(source)
        stack.callback(sources[name].close)

    def ask(source: SourceMeasure) -> SourceLag | None:
        try:
            return source()
        except Unavailable:
            return None

    def measure() -> Measured:
        try:
            return (
                {name: ask(source) for name, source in sources.items()},
                {name: target() for name, target in targets.items()},
            )
        except Unavailable as error:
            again = "Run placemat lag again when it answers."
            raise OperatorError(f"Lag cannot be measured: {error}.", again) from None

    return measure


def _show_json(sources: dict[str, SourceLag | None], targets: dict[str, TargetLag]) -> None:
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    write_json(
        {
            "at": at,
            "targets": {name: _target_json(one) for name, one in targets.items()},
            "sources": {name: _source_json(one) for name, one in sources.items()},
        }
    )


def _target_json(one: TargetLag) -> dict[str, Json]:
    return {
        "records": one.records,
        "seconds": one.seconds,
        "bytes": one.bytes,
        "parked": one.parked,
        "paused": one.paused,
        "known_from": one.known_from,
        "backlog": None if one.backlog is None else dict(one.backlog._asdict()),
    }


def _source_json(one: SourceLag | None) -> dict[str, Json]:
    if one is None:
        names = ("bytes", "seconds", "active", "wal_status", "wal_limit_bytes", "wal_safe_bytes", "seconds_left")
        return dict.fromkeys(names)
    return {
        "bytes": one.bytes,
        "seconds": one.seconds,
        "active": one.active,
        "wal_status": one.keep.wal_status,
        "wal_limit_bytes": one.keep.limit_bytes,
        "wal_safe_bytes": one.keep.safe_bytes,
        "seconds_left": one.seconds_left,
    }


class _Text:
    """One table, or, followed, one line per target and source with the time in front."""

    def __init__(self, follow: bool) -> None:
        self._follow = follow

    def show(self, sources: dict[str, SourceLag | None], targets: dict[str, TargetLag]) -> None:
        rows = [_target_cells(name, one) for name, one in targets.items()]
        rows += [_source_cells(name, one) for name, one in sources.items()]
        if not self._follow:
            write_table(("", "RECORDS", "SECONDS", "BYTES", "PARKED", ""), rows)
            for name, one in sources.items():
                if one is not None:
                    typer.echo(f"{name}: {one.keep}")
            return
        at = datetime.now().astimezone().strftime("%H:%M:%S")
        for name, records, seconds, size, parked, remark in rows:
            parts = [f"{records} records"] if records else []
            parts += [f"{seconds} s"] if records or seconds != "-" else []
            parts += [f"{size} bytes"] + ([f"{parked} parked"] if parked not in ("", "0") else [])
            typer.echo(f"{at}  {name}  {'  '.join(parts)}{f'  ({remark})' if remark else ''}")


def _target_cells(name: str, one: TargetLag) -> tuple[str, str, str, str, str, str]:
    remarks = {"target": "", "group": "the target does not answer", "beginning": "nothing applied yet"}
    waiting = [f"{table} is paused: {records:,} wait" for table, records in (one.paused or {}).items()]
    if one.backlog is not None and one.backlog.keys:
        waiting.append(f"{one.backlog.keys:,} rows to be told, the oldest for {one.backlog.seconds:,.1f} s")
    return (
        f"target {name}",
        _number(one.records),
        _number(one.seconds),
        _number(one.bytes),
        _number(one.parked),
        "; ".join([*filter(None, [remarks[one.known_from]]), *waiting]),
    )


def _source_cells(name: str, one: SourceLag | None) -> tuple[str, str, str, str, str, str]:
    if one is None:
        return f"source {name}", "", "-", "-", "", "the source does not answer, or has no such slot"
    remarks = [] if one.active else ["nobody captures"]
    if one.seconds_left is not None:
        remarks.append(f"{one.seconds_left / 60:,.0f} minutes until the slot is lost")
    remark = ", ".join(remarks)
    return f"source {name}", "", _number(one.seconds), _number(one.bytes), "", remark


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"
