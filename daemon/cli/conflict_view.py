"""How conflicts are shown: as JSON, and to a person."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

import typer

from daemon.cli.output import Json, local, write_table
from daemon.conflicts.titles import HUB, key_text, label, plain

if TYPE_CHECKING:
    from connectors.conflicts import Decision, Done, Key, Logged, Waiting
    from daemon.conflicts.desk import Before, Shown
    from daemon.resolve.interval import Interval

LONGEST_CELL = 60


@dataclass(frozen=True, slots=True)
class Behind:
    """Who is behind the sides: at the hub by field, at spokes by spoke and field, or by spoke and "" for the row."""

    hub: Mapping[str, str]
    spokes: Mapping[tuple[str, str], str]


def waiting_json(one: Waiting, title: str | None) -> dict[str, Json]:
    content = json.loads(one.state)
    waiting = content.get("fields", {})
    return {
        "id": one.id,
        "table": one.table_name,
        "key": json.loads(one.key),
        "title": title,
        "fields": sorted({name for own in waiting.values() for name in own}),
        "spokes": sorted({*waiting, *content.get("deletions", {})}),
        "deleted_by": sorted(content.get("deletions", {})),
        "opened_at": one.opened_at.isoformat(),
        "changed_at": one.changed_at.isoformat(),
        "notified_at": one.notified_at.isoformat() if one.notified_at else None,
    }


def logged_json(one: Logged) -> dict[str, Json]:
    return {
        "number": one.id,
        "at": one.at.isoformat(),
        "spoke": one.spoke,
        "table": one.table_name,
        "key": json.loads(one.key),
        "field": one.field,
        "kind": one.kind,
        "rule": one.rule,
        "resolution": one.resolution,
        "won": one.won,
        "base": _told(one.base, one.field),
        "ours": _told(one.ours, one.field),
        "theirs": _told(one.theirs, one.field),
        "ours_at": one.ours_at.isoformat() if one.ours_at else None,
        "theirs_at": one.theirs_at.isoformat() if one.theirs_at else None,
    }


def decision_json(one: Decision) -> dict[str, Json]:
    return {
        "number": one.id,
        "at": one.at.isoformat(),
        "by": one.decided_by,
        "reason": one.reason,
        "row": one.keeps_row,
        "fields": _row(json.loads(one.fields)),
        "before": _row(json.loads(one.before)),
        "undone_at": one.undone_at.isoformat() if one.undone_at else None,
        "undone_by": one.undone_by,
        "undone_reason": one.undone_reason,
    }


def shown_json(
    shown: Shown, behind: Behind, logged: Sequence[Logged], decisions: Sequence[Decision]
) -> dict[str, Json]:
    case, one = shown.case, shown.waiting
    return {
        **waiting_json(one, shown.title),
        "waits": one.waits,
        "seen": case.seen,
        "row": {
            HUB: case.has_row(HUB),
            **{spoke: case.has_row(spoke) for spoke in shown.sides},
        },
        "deletions": [
            {"spoke": spoke, "at": moment(deletion.time), "by": behind.spokes.get((spoke, ""))}
            for spoke, deletion in sorted(case.conflict.deletions.items())
        ],
        "waiting": [_field_json(shown, behind, name) for name in case.fields],
        "history": [logged_json(each) for each in logged],
        "decisions": [decision_json(each) for each in decisions],
    }


def _field_json(shown: Shown, behind: Behind, name: str) -> dict[str, Json]:
    case = shown.case
    state = case.hub.state.fields.get(name)
    sides: list[Json] = [
        {
            "spoke": spoke,
            "value": _plain(case.value(spoke, name)),
            "base": _plain(cast("str | None", own[name].base)),
            "at": moment(own[name].time),
            "by": behind.spokes.get((spoke, name)),
            "rule": shown.rules.get(spoke, {}).get(name),
        }
        for spoke, own in sorted(case.conflict.fields.items())
        if name in own
    ]
    return {
        "field": name,
        "label": label(name),
        HUB: {
            "value": _plain(case.known.get(name)),
            "at": moment(state.time) if state is not None else None,
            "by": behind.hub.get(name),
        },
        "spokes": sides,
    }


def write_shown(told: Mapping[str, Json]) -> None:
    """What `shown_json` holds, for a person."""
    found = cast("dict[str, object]", told)
    typer.echo(f"Conflict {found['id']}: {found['table']}, {_named(found['title'], found['key'])}")
    if not found["waits"]:
        typer.echo("Nothing waits any more.")
    for deletion in _dicts(found["deletions"]):
        typer.echo(f"{deletion['spoke']} has deleted the row {when(deletion['at'])}, by {deletion['by'] or 'unknown'}.")
    row = cast("dict[str, bool]", found["row"])
    if found["waits"] and not row[HUB]:
        typer.echo("The hub has deleted the row.")
    for one in _dicts(found["waiting"]):
        _write_field(one)
    for one in _dicts(found["decisions"]):
        undone = f"; taken back by {one['undone_by']} {when(one['undone_at'])}" if one["undone_at"] else ""
        why = f" ({one['reason']})" if one["reason"] else ""
        typer.echo(f"Decided {when(one['at'])} by {one['by']}{why}: {_decision(one)}{undone}")
    for one in _dicts(found["history"]):
        what = one["field"] or "the row"
        typer.echo(
            f"Met {when(one['at'])} from {one['spoke']}: {what}, {one['kind']}, {one['rule']}: {one['resolution']}"
        )


def _write_field(one: Mapping[str, object]) -> None:
    hub = cast("dict[str, object]", one[HUB])
    rows = [(HUB, cell(hub["value"]), when(hub["at"]), str(hub["by"] or "unknown"))]
    bases = []
    for side in _dicts(one["spokes"]):
        rows.append((str(side["spoke"]), cell(side["value"]), when(side["at"]), str(side["by"] or "unknown")))
        bases.append((f"base of {side['spoke']}", cell(side["base"]), "", f"rule {side['rule']}"))
    typer.echo(f"{one['label']} ({one['field']})")
    write_table(("  SIDE", "VALUE", "SINCE", "BY"), [(f"  {first}", *rest) for first, *rest in [*rows, *bases]])


def effect_json(shown: Shown, done: Done) -> dict[str, Json]:
    """What each side has now, and what all will have."""
    case, stored = shown.case, done.stored
    names = dict.fromkeys([*case.fields, *done.ruled.fields])
    return {
        "row": {
            "now": {side: case.has_row(side) for side in (HUB, *shown.sides)},
            "then": stored is not None,
        },
        "fields": {
            name: {
                "now": {
                    side: _plain(case.value(side, name)) if case.has_row(side) else None for side in (HUB, *shown.sides)
                },
                "then": _plain(stored.get(name)) if stored is not None else None,
            }
            for name in names
        },
    }


def undone_json(before: Before, done: Done) -> dict[str, Json]:
    """What the hub has now, and will have."""
    row, stored = before.case.row, done.stored
    return {
        "decision": before.decision.id,
        "row": {"now": {HUB: row is not None}, "then": stored is not None},
        "fields": {
            name: {
                "now": {HUB: _plain(row.get(name)) if row is not None else None},
                "then": _plain(stored.get(name)) if stored is not None else None,
            }
            for name in done.ruled.fields
        },
    }


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


def write_logged(found: Sequence[Mapping[str, Json]]) -> None:
    rows = [
        (
            str(one["number"]), when(one["at"]), str(one["table"]), _key(one["key"]), str(one["field"] or "the row"),
            str(one["spoke"]), str(one["rule"]), str(one["resolution"]),
        )
        for one in found
    ]  # fmt: skip
    write_table(("NUMBER", "AT", "TABLE", "KEY", "FIELD", "WITH", "RULE", "RESOLUTION"), rows)


def keys(found: Sequence[Waiting]) -> list[Key]:
    return [(one.table_name, one.key) for one in found]


def cell(value: object) -> str:
    """A value for a person: texts as they are, all else as JSON; on one line."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    line = " ".join(text.split()) if isinstance(value, str) else text
    return line if len(line) <= LONGEST_CELL else f"{line[: LONGEST_CELL - 1]}…"


def _decision(one: Mapping[str, object]) -> str:
    if not one["row"]:
        return "the row goes"
    fields = cast("dict[str, object]", one["fields"])
    return ", ".join(f"{name} = {cell(value)}" for name, value in fields.items()) or "the row stays"


def _named(title: object, key: object) -> str:
    return f"{title} ({_key(key)})" if title else _key(key)


def _key(key: object) -> str:
    return key_text(json.dumps(key))


def _dicts(found: object) -> Iterator[dict[str, object]]:
    yield from cast("list[dict[str, object]]", found)


def when(told: object) -> str:
    return local(datetime.fromisoformat(told)) if isinstance(told, str) else "at an unknown time"


def moment(time: Interval) -> str | None:
    """The latest moment it may have been; None where nobody knows."""
    return None if time.hi < 0 else datetime.fromtimestamp(time.hi / 1_000_000, UTC).isoformat()


def _row(values: Mapping[str, str | None]) -> dict[str, Json]:
    return {name: _plain(text) for name, text in values.items()}


def _told(text: str | None, field: str | None) -> Json:
    """A value; where it is about the row, that, or the sentence for what the hub has refused."""
    try:
        found = plain(text)
    except ValueError:
        return text
    return _row(found) if field is None and isinstance(found, dict) else cast(Json, found)


def _plain(text: str | None) -> Json:
    return cast(Json, plain(text))
