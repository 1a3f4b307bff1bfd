"""How conflicts are shown to a person: what `conflict_json` makes of them, in lines and tables."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, cast

import typer

from daemon.cli.output import Json, json_text, local, write_table
from daemon.conflicts.titles import HUB
from daemon.keys import key_text

if TYPE_CHECKING:
    pass

LONGEST_CELL = 60
IDS_NAMED = 20
AMBIGUOUS = "ambiguous"
"""The kind of which the reason says what to do."""


def write_shown(told: Mapping[str, Json]) -> None:
    """What `shown_json` holds, for a person."""
    found = cast("dict[str, object]", told)
    typer.echo(f"Conflict {found['id']}: {found['table']}, {_named(found['title'], found['key'])}")
    if not found["waits"]:
        typer.echo("Nothing waits any more.")
    for deletion in _dicts(found["deletions"] if found["waits"] else []):
        typer.echo(f"{deletion['side']} has deleted the row {when(deletion['at'])}, by {deletion['by'] or 'unknown'}.")
    for one in _dicts(found["waiting"]):
        _write_field(one)
    for one in _dicts(found["decisions"]):
        undone = f"; taken back by {one['undone_by']} {when(one['undone_at'])}" if one["undone_at"] else ""
        why = f" ({one['reason']})" if one["reason"] else ""
        typer.echo(f"Decided {when(one['at'])} by {one['by']}{why}: {_decision(one)}{undone}")
        for spoke, own in cast("dict[str, dict[str, object] | None]", one["over"]).items():
            typer.echo(f"  {spoke} had {'deleted the row' if own is None else _values(own)}")
    for one in _dicts(found["history"]):
        typer.echo(_closed(one) if one["resolution"] == "agreed" else _met(one))


def _write_field(one: Mapping[str, object]) -> None:
    hub = cast("dict[str, object]", one[HUB])
    rows = [(HUB, cell(hub["value"]), when(hub["at"]), str(hub["by"] or "unknown"))]
    bases = []
    for side in _dicts(one["spokes"]):
        rows.append((str(side["spoke"]), cell(side["value"]), when(side["at"]), str(side["by"] or "unknown")))
        bases.append((f"base of {side['spoke']}", cell(side["base"]), "", f"rule {side['rule']}"))
    typer.echo(f"{one['label']} ({one['field']})")
    write_table(("  SIDE", "VALUE", "SINCE", "BY"), [(f"  {first}", *rest) for first, *rest in [*rows, *bases]])


def write_effect(told: Mapping[str, Json]) -> None:
    """What `effect_json` holds, for a person."""
    found = cast("dict[str, dict[str, object]]", told)
    before, then = cast("dict[str, bool]", found["row"]["now"]), found["row"]["then"]
    if not (then and all(before.values())):
        there = ", ".join(f"{side} {'has' if has else 'does not have'} it" for side, has in before.items())
        typer.echo(f"The row {'stays' if then else 'goes'} on all sides ({there} now).")
    rows: list[tuple[str, str, str]] = []
    for name, one in cast("dict[str, dict[str, object]]", found["fields"]).items():
        for side, value in cast("dict[str, object]", one["now"]).items():
            rows.append((f"{name} at {side}", cell(value), cell(one["then"]) if then else "-"))
    if rows:
        write_table(("FIELD", "NOW", "THEN"), rows)


def write_waiting(found: Sequence[Mapping[str, Json]]) -> None:
    rows = []
    for one in cast("list[dict[str, object]]", list(found)):
        fields = ", ".join(cast("list[str]", one["fields"])) or "the row"
        named = _named(one["title"], one["key"])
        since = when(one["opened_at"])
        rows.append(
            (str(one["id"]), str(one["table"]), named, fields, ", ".join(cast("list[str]", one["spokes"])), since)
        )
    write_table(("ID", "TABLE", "ROW", "FIELDS", "WITH", "SINCE"), rows)


def write_refusals(found: Sequence[Mapping[str, Json]]) -> None:
    """What the hub refuses, why, and what to do about it."""
    listed = cast("list[dict[str, object]]", list(found))
    rows = [
        (
            str(one["id"]), str(one["table"]), _named(one["title"], one["key"]), str(one["kind"]), str(one["spoke"]),
            when(one["since"]),
        )
        for one in listed
    ]  # fmt: skip
    write_table(("ID", "TABLE", "ROW", "REFUSED AS", "FROM", "SINCE"), rows)
    by_reason: dict[str, list[str]] = {}
    for one in listed:
        by_reason.setdefault(str(one["reason"]), []).append(str(one["id"]))
    for reason, ids in by_reason.items():
        more = f" and {len(ids) - IDS_NAMED:,} more" if len(ids) > IDS_NAMED else ""
        typer.echo(f"{', '.join(ids[:IDS_NAMED])}{more}: {reason}")
    told = [one for one in listed if one["kind"] != AMBIGUOUS]
    for spoke, target in dict.fromkeys((str(one["spoke"]), str(one["target"])) for one in told):
        typer.echo(_advice(spoke, target, "N"))


def write_refused(told: Mapping[str, Json]) -> None:
    """What `refused_json` holds, for a person."""
    one = cast("dict[str, object]", told)
    number, spoke, target = str(one["dlq"]), str(one["spoke"]), str(one["target"])
    typer.echo(f"{one['id']}: {one['table']}, {_named(one['title'], one['key'])}")
    typer.echo(f"The hub refuses what {spoke} has since {when(one['since'])} ({one['kind']}): {one['reason']}")
    queued, hub = (cast("dict[str, object] | None", one[side]) for side in ("queued", HUB))
    if hub is None:
        typer.echo("The hub has no such row.")
    if one["op"] == "d":
        typer.echo(f"{spoke} has deleted the row.")
    differing = [name for name in queued or {} if hub is None or name not in hub or hub[name] != (queued or {})[name]]
    if differing:
        rows = [
            (name, cell(hub[name]) if hub and name in hub else "-", cell((queued or {})[name])) for name in differing
        ]
        write_table(("FIELD", "HUB", spoke.upper()), rows)
    events = f"{one['events']} event{'s' if one['events'] != 1 else ''}"
    typer.echo(f"Tried {one['attempts']} times; {events}: placemat dlq show {number} --target {target} --values")
    if one["kind"] != AMBIGUOUS:
        typer.echo(_advice(spoke, target, number))


def _advice(spoke: str, target: str, number: str) -> str:
    return (
        f"Correct the row in {spoke}, and it is tried again; or what stands in its way in the hub, then:\n"
        f"  placemat dlq redrive {number} --target {target}\n"
        f"Or let the hub's row stand; one that the hub does not have goes in {spoke}:\n"
        f"  placemat dlq discard {number} --target {target}"
    )


def write_logged(found: Sequence[Mapping[str, Json]]) -> None:
    rows = [
        (
            str(one["number"]), when(one["at"]), str(one["table"]), _key(one["key"]), str(one["field"] or "the row"),
            str(one["spoke"]), str(one["rule"]), str(one["resolution"]),
        )
        for one in found
    ]  # fmt: skip
    write_table(("NUMBER", "AT", "TABLE", "KEY", "FIELD", "WITH", "RULE", "RESOLUTION"), rows)


def cell(value: object) -> str:
    """A value for a person: texts as they are, all else as JSON; on one line."""
    text = value if isinstance(value, str) else json_text(cast(Json, value))
    line = " ".join(text.split()) if isinstance(value, str) else text
    return line if len(line) <= LONGEST_CELL else f"{line[: LONGEST_CELL - 1]}…"


def _met(one: Mapping[str, object]) -> str:
    what = one["field"] or "the row"
    erased = "; values were erased" if one["erased_at"] else ""
    return (
        f"Met {when(one['at'])} from {one['spoke']}: {what}, {one['kind']}, {one['rule']}: {one['resolution']}{erased}"
    )


def _closed(one: Mapping[str, object]) -> str:
    first, other = (HUB, one["spoke"]) if one["won"] == "theirs" else (one["spoke"], HUB)
    if one["field"] is None:
        has = "has deleted the row too" if one["ours"] is None else "has the row again"
        return f"Closed {when(one['at'])}: {first} {has}, as {other}"
    return f"Closed {when(one['at'])}: {first} has the same {one['field']} as {other}: {cell(one['ours'])}"


def _decision(one: Mapping[str, object]) -> str:
    if not one["row"]:
        return "the row goes; values were erased" if one["erased_at"] else "the row goes"
    fields = cast("dict[str, object]", one["fields"])
    if one["erased_at"]:
        return f"{', '.join(fields) or 'the row stays'}; values were erased"
    return _values(fields) or "the row stays"


def _values(fields: Mapping[str, object]) -> str:
    return ", ".join(f"{name} = {cell(value)}" for name, value in fields.items())


def _named(title: object, key: object) -> str:
    return f"{title} ({_key(key)})" if title else _key(key)


def _key(key: object) -> str:
    return key_text(json.dumps(key))


def _dicts(found: object) -> Iterator[dict[str, object]]:
    yield from cast("list[dict[str, object]]", found)


def when(told: object) -> str:
    return local(datetime.fromisoformat(told)) if isinstance(told, str) else "at an unknown time"
