"""Conflicts as the command's JSON has them: what scripts rely on stands in daemon/cli/README.md."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

from daemon.cli.output import Json
from daemon.conflicts.titles import HUB, label, plain, refused_id

if TYPE_CHECKING:
    from connectors.conflicts import Decision, Done, Logged, Refusal, Waiting
    from daemon.conflicts.desk import Before, Refused, Shown
    from daemon.resolve.interval import Interval


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


def refusal_json(one: Refusal, title: str | None) -> dict[str, Json]:
    return {
        "id": refused_id(one.number),
        "dlq": one.number,
        "target": one.target,
        "number": one.listed,
        "table": one.table_name,
        "key": json.loads(one.key),
        "title": title,
        "spoke": one.spoke,
        "kind": one.kind,
        "sqlstate": one.sqlstate,
        "reason": one.reason,
        "since": one.parked_at.isoformat(),
        "attempts": one.attempts,
        "request": one.request,
        "events": one.events,
        "op": one.op,
        "notified_at": one.notified_at.isoformat() if one.notified_at else None,
    }


def refused_json(one: Refused) -> dict[str, Json]:
    """With what waits, and what the hub has in the same fields."""
    queued, row = one.queued, one.row
    shown = None if row is None else {name: row[name] for name in row if queued is None or name in queued}
    return {
        **refusal_json(one.refusal, one.title),
        "queued": None if queued is None else values(queued),
        HUB: None if shown is None else values(shown),
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
        "erased_at": one.erased_at.isoformat() if one.erased_at else None,
    }


def decision_json(one: Decision) -> dict[str, Json]:
    from daemon.conflicts.decided_over import decided_over

    return {
        "number": one.id,
        "at": one.at.isoformat(),
        "by": one.decided_by,
        "reason": one.reason,
        "row": one.keeps_row,
        "fields": values(json.loads(one.fields)),
        "before": values(json.loads(one.before)),
        "over": {spoke: None if own is None else values(own) for spoke, own in decided_over(one).items()},
        "undone_at": one.undone_at.isoformat() if one.undone_at else None,
        "undone_by": one.undone_by,
        "undone_reason": one.undone_reason,
        "erased_at": one.erased_at.isoformat() if one.erased_at else None,
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
            {"side": side, "at": moment(at), "by": behind.spokes.get((side, ""))} for side, at in _deletions(shown)
        ],
        "waiting": [_field_json(shown, behind, name) for name in case.fields],
        "history": [logged_json(each) for each in logged],
        "decisions": [decision_json(each) for each in decisions],
    }


def _deletions(shown: Shown) -> list[tuple[str, Interval]]:
    """Who has deleted the row, and when."""
    case = shown.case
    at_hub = [(HUB, case.hub.state.time)] if case.row is None else []
    return at_hub + [(spoke, one.time) for spoke, one in sorted(case.conflict.deletions.items())]


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


def moment(time: Interval) -> str | None:
    """The latest moment it may have been; None where nobody knows."""
    return None if time.hi < 0 else datetime.fromtimestamp(time.hi / 1_000_000, UTC).isoformat()


def values(row: Mapping[str, str | None]) -> dict[str, Json]:
    return {name: _plain(text) for name, text in row.items()}


def _told(text: str | None, field: str | None) -> Json:
    """A value; where it is about the row, that, or the sentence for what the hub has refused."""
    try:
        found = plain(text)
    except ValueError:
        return text
    return values(found) if field is None and isinstance(found, dict) else cast(Json, found)


def _plain(text: str | None) -> Json:
    return cast(Json, plain(text))
