"""What somebody is told: how many wait, and the first of them; of their fields the names. The only value is that of
the field which the route names as title. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from connectors.conflicts import Key, Refusal, Waiting
from daemon.conflicts.titles import refused_id
from daemon.keys import key_text

NAMED = 10


@dataclass(frozen=True, slots=True)
class Message:
    """`again`: of those that were told of before."""

    hub: str
    fresh: int
    again: int
    conflicts: Sequence[Mapping[str, object]]
    refused: Sequence[Mapping[str, object]] = ()
    """What the hub does not take of its spokes' changes."""

    @property
    def summary(self) -> str:
        parts = [f"{self.fresh:,} new" if self.fresh else "", f"{self.again:,} still waiting" if self.again else ""]
        return f"conflicts at {self.hub}: {', '.join(part for part in parts if part)}"

    @property
    def text(self) -> str:
        """The body of an e-mail."""
        lines = [f"A person has to decide {self.summary}.", ""]
        for one in self.conflicts:
            fields = one["fields"]
            assert isinstance(fields, list)
            lines.append(
                f"{one['id']}  {one['table']}  {one['title'] or one['key_text']}: {', '.join(fields) or 'row'}"
            )
        lines += [
            f"{one['id']}  {one['table']}  {one['title'] or one['key_text']}: refused of {one['spoke']}, {one['kind']}"
            for one in self.refused
        ]
        if (more := self.fresh + self.again - len(self.conflicts) - len(self.refused)) > 0:
            lines.append(f"… and {more:,} more")
        return "\n".join([*lines, "", "placemat conflicts list", ""])

    @property
    def content(self) -> bytes:
        """As JSON."""
        return json.dumps(
            {
                "event": "conflicts_waiting",
                "hub": self.hub,
                "text": f"placemat: {self.summary}",
                "new": self.fresh,
                "still_waiting": self.again,
                "conflicts": _without_text(self.conflicts),
                "refused": _without_text(self.refused),
            },
            ensure_ascii=False,
        ).encode()


def compose(hub: str, some: Sequence[Waiting | Refusal], titles: Mapping[Key, str | None]) -> Message:
    """Of all that somebody is to be told of now, new ones first."""
    fresh, named = sum(one.notified_at is None for one in some), first(some)
    return Message(
        hub, fresh, len(some) - fresh,
        [_named(one, titles) for one in named if isinstance(one, Waiting)],
        [_refused(one, titles) for one in named if isinstance(one, Refusal)],
    )  # fmt: skip


def first(some: Sequence[Waiting | Refusal]) -> list[Waiting | Refusal]:
    """Those that are named."""
    return sorted(some, key=lambda one: one.notified_at is not None)[:NAMED]


def _without_text(some: Sequence[Mapping[str, object]]) -> list[dict[str, object]]:
    return [{name: value for name, value in one.items() if name != "key_text"} for one in some]


def _refused(one: Refusal, titles: Mapping[Key, str | None]) -> dict[str, object]:
    """Without the reason, which may name what a value has named."""
    return {
        "id": refused_id(one.number),
        "dlq": one.number,
        "target": one.target,
        "table": one.table_name,
        "key": json.loads(one.key),
        "key_text": key_text(one.key),
        "title": titles.get((one.table_name, one.key)),
        "spoke": one.spoke,
        "kind": one.kind,
        "since": one.parked_at.isoformat(),
    }


def _named(one: Waiting, titles: Mapping[Key, str | None]) -> dict[str, object]:
    waiting = json.loads(one.state).get("fields", {})
    return {
        "id": one.id,
        "table": one.table_name,
        "key": json.loads(one.key),
        "key_text": key_text(one.key),
        "title": titles.get((one.table_name, one.key)),
        "fields": sorted({name for own in waiting.values() for name in own}),
        "opened_at": one.opened_at.isoformat(),
    }
