"""What entries say of erasures: which values may be gone, and which were asked for and are not gone yet.

An erasure is two entries: `asked` before anything goes, `done` in the transaction in which the log's values go.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
import psycopg

from daemon.audit.erasing.row_names import Name
from daemon.audit.walk import Erasures

ASKED, DONE = "asked", "done"
_SAID = """
SELECT sequence, source, entity, key, outcome, who, reason, details FROM placemat.audit_entries
WHERE kind = 'action' AND op = 'erase' ORDER BY sequence
"""


class Details(msgspec.Struct, omit_defaults=True):
    """Of such an entry: what was there, then what went. `hubs` are counts by hub, `names` the row's other ones (source,
    table, key), `also` entries that are not the row's own, `asked` the number of the entry that `done` comes from,
    `left` hubs, present or former, that were not reached."""

    entries: int | None = None
    hubs: dict[str, dict[str, int]] = {}
    names: list[tuple[str | None, str, str]] = []
    also: list[int] = []
    asked: int | None = None
    left: list[str] = []


class Said(NamedTuple):
    """One entry. `details` are empty where they were altered: whoever goes along the chain names that."""

    sequence: int
    source: str | None
    entity: str
    key: str
    outcome: str
    who: str
    reason: str | None
    details: Details

    @property
    def names(self) -> list[Name]:
        """Of the row: as it was asked for, and its other ones."""
        return [Name(self.source, self.entity, self.key), *(Name(*one) for one in self.details.names)]


@dataclass(frozen=True, slots=True)
class Unfinished:
    """Asked for, and not done: the newest entry that asks, the numbers of all that do, what they ask for beside the
    row, and the hubs that kept something of it, as far as nobody has entered that they were reached."""

    said: Said
    asked: list[int]
    also: list[int]
    hubs: list[str]

    def to_json(self) -> dict[str, Any]:
        one = self.said
        return {
            "sequence": one.sequence, "source": one.source, "entity": one.entity, "key": one.key, "by": one.who,
            "reason": one.reason,
        }  # fmt: skip


def read(connection: psycopg.Connection[Any]) -> list[Said]:
    """Oldest first. Raises psycopg.Error."""
    rows: list[tuple[Any, ...]] = connection.execute(_SAID.encode()).fetchall()
    return [Said._make((*row[:-1], _details(row[-1]))) for row in rows]


def covering(said: Iterable[Said]) -> Erasures:
    """Which values may be gone. What was only asked for explains nothing: values go with the entry that it is done."""
    until: dict[tuple[str | None, str | None], dict[str | None, int]] = {}
    also: set[int] = set()
    for one in said:
        if one.outcome == DONE:
            for name in one.names:
                until.setdefault((name.entity, name.key), {})[name.source] = one.sequence
            also |= set(one.details.also)
    return Erasures(until, frozenset(also))


def erased(connection: psycopg.Connection[Any]) -> Erasures:
    """`covering`, of all entries. Raises psycopg.Error."""
    return covering(read(connection))


def unfinished(said: Iterable[Said]) -> list[Unfinished]:
    """In the order in which they were asked for last."""
    left: dict[Name, Unfinished] = {}
    for one in said:
        before = [left.pop(name) for name in one.names if name in left]
        asked = [number for each in before for number in each.asked]
        hubs = [hub for each in before for hub in each.hubs]
        if one.outcome != DONE:
            also = {*one.details.also, *(number for each in before for number in each.also)}
            hubs += [hub for hub, kept in one.details.hubs.items() if any(kept.values())] + one.details.left
            left[one.names[0]] = Unfinished(one, [*asked, one.sequence], sorted(also), sorted({*hubs}))
        elif one.details.left:
            newest = before[-1].said if before else one
            left[one.names[0]] = Unfinished(newest, asked or [one.sequence], [], one.details.left)
    return list(left.values())


def _details(text: str) -> Details:
    try:
        return msgspec.json.decode(text, type=Details)
    except msgspec.DecodeError:
        return Details()
