"""What there is to erase of a row: its names, where values stand under them, and what is not reached. Nothing goes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg

from connectors.erasing import Hubs
from daemon.audit.erasing import erasures, row_names
from daemon.audit.erasing.erasures import Said, Unfinished
from daemon.audit.erasing.mentions import OWN, Mention, mentions, named
from daemon.audit.erasing.row_names import Name
from daemon.errors import OperatorError

if TYPE_CHECKING:
    from connectors.erasing import Erasing, Held
    from daemon.config.settings import Settings

_COUNT = f"SELECT count(*) FROM ({OWN}) AS own JOIN placemat.audit_values USING (sequence, month)"
_OTHERS = f"""
SELECT entry.source, entry.entity, entry.key, count(*)
FROM placemat.audit_entries AS entry JOIN placemat.audit_values USING (sequence, month)
WHERE (entry.entity, entry.key) IN (SELECT * FROM unnest(%(entities)s::text[], %(keys)s::text[]))
  AND NOT EXISTS (SELECT FROM ({OWN}) AS own WHERE own.sequence = entry.sequence) GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
# A target with the name of a source is the same database: what came to it, and what it tells, are one row.
_WENT = """
SELECT DISTINCT other.source FROM placemat.audit_entries AS entry JOIN placemat.audit_entries AS other
 ON other.entity = entry.entity AND other.key = entry.key AND other.source = entry.target
WHERE entry.entity = %s AND entry.key = %s AND entry.source = %s AND entry.kind <> 'action'
"""
_CAME = """
SELECT DISTINCT source FROM placemat.audit_entries
WHERE entity = %s AND key = %s AND target = %s AND source IS NOT NULL AND kind <> 'action'
"""
_SEGMENTS = "SELECT file FROM placemat.audit_segments ORDER BY month"


def _none_parked(_names: Sequence[Name]) -> Mapping[str, int]:
    return {}


@dataclass(frozen=True, slots=True)
class Beside:
    """Where else values stand. `parked` tells the number under which a key waits with its events, by target."""

    hubs: Hubs = field(default_factory=Hubs)
    parked: Callable[[Sequence[Name]], Mapping[str, int]] = _none_parked


@dataclass(frozen=True, slots=True)
class Wanted:
    """See `daemon.audit.erasing.erase.erase`."""

    entity: str
    key: str
    reason: str
    by: str
    source: str | None
    also: Sequence[int]


class Other(NamedTuple):
    """Entries with values of such a key, of a source of which nobody knows whether it has the same row there."""

    source: str
    entity: str
    key: str
    entries: int


@dataclass(frozen=True, slots=True)
class Erasure:
    """`entries` had values; `names` are all that the row has, as it was asked for first; `hubs` what each of them kept;
    `files` are sealed segments, `mentions` and `others` entries, which this does not reach; `also` entries beside the
    row's."""

    names: list[Name]
    entries: int
    files: list[str]
    mentions: list[Mention]
    also: list[int]
    unfinished: list[Unfinished]
    """What was asked for before this, and was not finished."""
    others: list[Other]
    hubs: dict[str, Held] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)
    """Hubs, present or former, that kept something of the row, or may, and are not reached; and why not."""

    @property
    def something(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.entries or self.also or self.unfinished or any(one.count for one in self.hubs.values()))

    @property
    def source(self) -> str | None:
        return self.names[0].source

    @property
    def entity(self) -> str:
        return self.names[0].entity

    @property
    def key(self) -> str:
        return self.names[0].key


def found(connection: psycopg.Connection[Any], settings: Settings, beside: Beside, wanted: Wanted) -> Erasure:
    """What the log has. Raises OperatorError (exit code 2) where it is not clear what is meant."""
    names = _names(connection, settings, beside.hubs, wanted)
    said = erasures.read(connection)
    names = _all_names(names, said)
    count = connection.execute(_COUNT.encode(), named(names)).fetchone()
    told = mentions(connection, settings, names)
    unfinished = [one for one in erasures.unfinished(said) if set(one.said.names) & set(names)]
    files = [file for (file,) in connection.execute(_SEGMENTS).fetchall()]
    also = _also(told, wanted.also, [number for one in unfinished for number in one.also])
    others = [Other._make(row) for row in connection.execute(_OTHERS.encode(), named(names)).fetchall()]
    return Erasure(names, count[0] if count else 0, files, told, also, unfinished, others)


def left(hubs: Hubs, names: Sequence[Name], unfinished: Iterable[Unfinished], reached: Iterable[str]) -> dict[str, str]:
    """Hubs that are not reached, and why; of those that the row has a name at, or that were to be erased before."""
    wanted = {one.source for one in names} & hubs.closed.keys()
    wanted |= {hub for one in unfinished for hub in one.hubs}
    nowhere = "nothing of that name is configured"
    return {hub: hubs.closed.get(hub, nowhere) for hub in sorted(filter(None, wanted - {*reached} - hubs.empty))}


def _names(
    connection: psycopg.Connection[Any], settings: Settings, hubs: Hubs, wanted: Wanted
) -> list[Name]:  # fmt: skip
    """By the configuration; where it does not tell of a source, by what the log says went where, and by what hubs keep
    of it."""
    entity = wanted.entity
    known = {(source, entity): key for source, key in row_names.samples(connection, entity).items()}
    for hub in hubs.hubs:
        if (hub.hub, entity) not in known and (like := hub.key_like(entity)) is not None:
            known[hub.hub, entity] = like
    source = row_names.chosen(settings, entity, [source for source, _ in known], wanted.source)
    first, *sides = row_names.places(settings, source, entity)
    for side in sides:
        known |= {(of, side.entity): key for of, key in row_names.samples(connection, side.entity).items()}
    telling = {*settings.sources, *(hub.hub for hub in hubs.hubs), *(of for of, _ in known)}
    sides = [first, *(side for side in sides if side.source in telling)]
    names = row_names.names(sides, known, row_names.key_at(sides, known, wanted.key))
    linked = [*_linked(connection, names), *(new for hub in hubs.hubs for new in _kept(hub, names))]
    told = {name.source for name in names}
    return list(dict.fromkeys([*names, *(new for new in linked if new.source not in told)]))


def _linked(connection: psycopg.Connection[Any], names: Sequence[Name]) -> list[Name]:
    """Names at sources to which the row went by the log, or from which it came; not where it came from several."""

    def sources(query: str, name: Name) -> list[str]:
        return [one for (one,) in connection.execute(query.encode(), [name.entity, name.key, name.source]).fetchall()]

    found: list[Name] = []
    for name in names:
        went = (name._replace(source=one) for one in sources(_WENT, name))
        found += [there for there in went if sources(_CAME, there) == [name.source]]
        came = sources(_CAME, name)
        found += [name._replace(source=one) for one in came if len(came) == 1]
    return list(dict.fromkeys(found))


def _kept(hub: Erasing, names: Sequence[Name]) -> Iterator[Name]:
    """Names at the hub of rows that a spoke has, and at spokes of those that the hub has, as it has kept that."""
    for name in names:
        spokes = hub.spokes_with(name.entity, name.key) if name.source is not None else []
        if name.source == hub.hub:
            yield from (name._replace(source=spoke) for spoke in spokes)
        elif name.source in spokes:
            yield name._replace(source=hub.hub)


def _all_names(names: Sequence[Name], said: Sequence[Said]) -> list[Name]:
    """With those under which it was to be erased before."""
    before = [name for one in said if set(one.names) & set(names) for name in one.names]
    return list(dict.fromkeys([*names, *before]))


def _also(told: Sequence[Mention], wanted: Sequence[int], before: Sequence[int]) -> list[int]:
    """Entries beside the row's own, which were asked for now, or `before`. Raises OperatorError (exit code 2)."""
    erasable = {one.sequence for one in told if one.values}
    for number in wanted:
        if number not in erasable:
            listed = ", ".join(map(str, sorted(erasable)))
            raise OperatorError(
                f"Entry {number} is none with conditions that may name this row.",
                f"Those are: {listed}." if listed else "There is none.",
                exit_code=2,
            )
    return sorted({*wanted, *(number for number in before if number in erasable)})
