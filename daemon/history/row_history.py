"""`placemat history`: every version of a row, who caused it, and what became of it at each target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from connectors.event_outcomes import EventPlace, Outcome, OutcomesOf
from daemon.actors import Actors, Commit, actor
from daemon.config.settings import Settings
from daemon.history.events import JSON_NULL, plain
from daemon.history.reading import read_events
from daemon.history.versions import FieldChange, Version, versions
from daemon.keys import key_text
from daemon.progress import OnProgress, Tracker
from schemas.position import format_lsn
from schemas.topics import table_topic

SHOWN = 60
"""Characters of a value that are shown to a person."""
_OPS = {
    "c": "created", "u": "updated", "d": "deleted", "r": "read by a copy", "t": "emptied with its table",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Told:
    """One version, who caused it, and by target what it did with it: None where a target could not be asked."""

    version: Version
    topic: str
    who: str
    outcomes: Mapping[str, Outcome | None]

    def to_json(self, field: str | None) -> dict[str, Any]:
        one = self.version
        return {
            "key": msgspec.Raw(one.key),
            "position": one.position.to_header().decode(),
            "commit_lsn": format_lsn(one.position.commit_lsn),
            "topic": self.topic,
            "partition": one.seen.partition,
            "offset": one.seen.offset,
            "at": _time(one.ts_ms).isoformat(),
            "op": one.op,
            "who": self.who,
            "fields": [_field_json(change) for change in one.fields if field in (None, change.name)],
            "unchanged": list(one.unchanged),
            "unknown": list(one.unknown),
            "moved_from": msgspec.Raw(one.moved_from or b"null"),
            "moved_to": msgspec.Raw(one.moved_to or b"null"),
            "oversize": one.oversize,
            "known_since": one.since,
            "targets": {name: _outcome_json(outcome) for name, outcome in self.outcomes.items()},
        }

    def render(self, field: str | None) -> list[str]:
        one = self.version
        at = _time(one.ts_ms).astimezone().strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
        lines = [f"{at}  {_OPS.get(one.op, one.op)}  by {self.who}  ({one.position})"]
        if one.since:
            lines.append("  the topic tells nothing of this row before")
        if one.moved_from:
            lines.append(f"  its key was {key_text(one.moved_from)}")
        if one.moved_to:
            lines.append(f"  its key is {key_text(one.moved_to)} from here on")
        lines += [
            f"  {_field_text(change, there=one.op != 'c')}" for change in one.fields if field in (None, change.name)
        ]
        if one.oversize is not None:
            lines.append(f"  {one.oversize:,} bytes: too large to publish, its values are not told")
        if one.unchanged and field is None:
            lines.append(f"  unchanged, not sent: {', '.join(one.unchanged)}")
        for target, outcome in self.outcomes.items():
            what = "does not answer" if outcome is None else outcome.outcome
            detail = f" ({outcome.detail})" if outcome is not None and outcome.detail else ""
            lines.append(f"  {target}: {what}{detail}")
        return lines


@dataclass(frozen=True, slots=True)
class RowHistory:
    """`key` is the record key; versions are in the order of their commits."""

    source: str
    table: str
    key: bytes
    versions: tuple[Told, ...]
    away: Mapping[str, str]
    """Targets that could not be asked, and why."""

    def to_json(self, field: str | None = None) -> dict[str, Any]:
        """The documented contract; values are JSON as it stands in the topics."""
        return {
            "source": self.source,
            "table": self.table,
            "key": msgspec.Raw(self.key),
            "versions": [one.to_json(field) for one in self.versions],
            "away": dict(self.away),
        }


def row_history(
    settings: Settings,
    source: str,
    table: str,
    text: str,
    targets: Mapping[str, OutcomesOf | str],
    *,
    field: str | None = None,
    on_progress: OnProgress | None = None,
) -> RowHistory:
    """The history of the row with this key, as a person writes it. A target that cannot be asked stands with why.

    With `field` only versions that changed it. Raises OperatorError for what is no key, and Unavailable when Kafka does
    not answer.
    """
    key, events = read_events(settings, source, table, text, Tracker(on_progress))
    found = [one for one in versions(events, key) if field is None or any(one_.name == field for one_ in one.fields)]
    topic = table_topic(source, *table.split(".", 1))
    places = [EventPlace(topic, one.seen.partition, one.seen.offset) for one in found]
    who = _who(settings, source, table, found)
    away = {name: asked for name, asked in targets.items() if isinstance(asked, str)}
    done = {name: asked.of(table, places) for name, asked in targets.items() if not isinstance(asked, str)}
    told = tuple(
        Told(one, topic, by, _outcomes(place, done, away)) for one, place, by in zip(found, places, who, strict=True)
    )
    return RowHistory(source, table, key, told, away)


def _outcomes(
    place: EventPlace, done: Mapping[str, Mapping[EventPlace, Outcome]], away: Mapping[str, str]
) -> dict[str, Outcome | None]:
    return {name: found[place] for name, found in done.items() if place in found} | dict.fromkeys(away)


def _who(settings: Settings, source: str, table: str, found: Sequence[Version]) -> list[str]:
    """By the messages of the transactions, else by the column that a route names."""
    columns = [
        one.tables[table].actor for one in settings.targets.values() if one.source == source and table in one.tables
    ]
    column = next((name for name in columns if name is not None), None)
    commits = {one.position[:2]: Commit(one.position[:2], one.ts_ms) for one in found if one.op != "r"}
    with closing(Actors(settings.kafka, source)) as actors:
        named = actors.find(commits.values())
    return [
        actor(
            named.get(one.position[:2], ()) if one.op != "r" else (),
            one.position.ordinal,
            one.op,
            plain((name, raw) for name, raw in one.row.items() if name == column),
            column,
        )
        for one in found
    ]


def _field_json(change: FieldChange) -> dict[str, Any]:
    sides = {"before": change.before, "after": change.after}
    told: dict[str, Any] = {"field": change.name, **{side: raw for side, raw in sides.items() if raw is not None}}
    nulls = [side for side, raw in sides.items() if raw is not None and bytes(raw) == bytes(JSON_NULL)]
    return {**told, "json_null": nulls} if nulls else told


def _field_text(change: FieldChange, *, there: bool) -> str:
    """`there`: the row was there before."""
    before = "?" if there and change.before is None else _value(change.before)
    return f"{change.name}: {before} → {_value(change.after)}"


def _value(raw: msgspec.Raw | None) -> str:
    if raw is None:
        return "-"
    if bytes(raw) == b"null":
        return "NULL"
    text = bytes(raw).decode().strip()
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


def _outcome_json(outcome: Outcome | None) -> dict[str, Any] | None:
    return None if outcome is None else {"outcome": outcome.outcome, "detail": outcome.detail}


def _time(ts_ms: int) -> datetime:
    return datetime.fromtimestamp(ts_ms / 1_000, UTC)
