"""Under which names the audit log knows a row: at its source, and at every database that has it by a route."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
import psycopg

from daemon.errors import OperatorError
from daemon.keys import key_like

if TYPE_CHECKING:
    from daemon.config.settings import Settings

Samples = Mapping[str | None, str]
"""A key of a table as the log writes it, by source; None: entries that tell of no source."""
SampleOf = Mapping[tuple[str | None, str], str]
"""The same, by source and table."""

_SAMPLES = """
SELECT source, key FROM placemat.audit_entries
WHERE entity = %s AND sequence IN (
    SELECT max(sequence) FROM placemat.audit_entries
    WHERE entity = %s AND key IS NOT NULL AND kind <> 'action' GROUP BY source
)
"""


class Name(NamedTuple):
    """What a row is called: source, table (`schema.table`) and record key. Without a source nobody knows which."""

    source: str | None
    entity: str
    key: str


@dataclass(frozen=True, slots=True)
class Place:
    """A table that has the same rows as the one that was asked for, by the routes between the two."""

    source: str | None
    entity: str
    steps: tuple[Mapping[str, str], ...] = ()
    """Renamed columns of each route on the way."""

    def there(self, column: str) -> str:
        """The name here of a column of the table that was asked for."""
        for step in self.steps:
            column = step.get(column, column)
        return column

    def back(self, column: str) -> str:
        """The name there of a column of this table."""
        for step in reversed(self.steps):
            column = next((old for old, new in step.items() if new == column), column)
        return column


def samples(connection: psycopg.Connection[Any], entity: str) -> dict[str | None, str]:
    """The newest key of a table, by source."""
    return dict(connection.execute(_SAMPLES, [entity, entity]).fetchall())


def chosen(settings: Settings, entity: str, known: Iterable[str | None], given: str | None) -> str | None:
    """The source that is meant: the one that captures such a table, or of which something is `known`.

    None where entries tell of no source. Raises OperatorError (exit code 2) where there is none, or more than one.
    """
    having = [name for name, source in settings.sources.items() if entity in source.tables]
    having += [name for name in known if name is not None]
    names = list(dict.fromkeys(having))
    if given is not None:
        if given not in names:
            advice = f"Name one of: {', '.join(names)}." if names else "Name a table as schema.table."
            raise OperatorError(f"Source {given} has no table {entity}.", advice, exit_code=2)
        return given
    if len(names) > 1:
        raise OperatorError(
            f"Several sources have a table {entity}: {', '.join(names)}.",
            "Add --source with the one that names the row by this key.",
            exit_code=2,
        )
    return names[0] if names else None


def places(settings: Settings, source: str | None, entity: str) -> list[Place]:
    """The table itself, then every one that has its rows."""
    found = [Place(source, entity)]
    for one in found:  # which grows meanwhile
        for there in _next(settings, one):
            if (there.source, there.entity) not in {(each.source, each.entity) for each in found}:
                found.append(there)
    return found


def key_at(sides: Sequence[Place], known: SampleOf, given: str) -> str:
    """A key of the first of these tables from JSON or a plain value, like a sample of any of them.

    Raises OperatorError (exit code 2) where it is none, or nothing is known of the table.
    """
    for side in sides:
        sample = _sample(known, side)
        if sample is not None:
            columns = {side.back(column): like for column, like in orjson.loads(sample).items()}
            return _text(key_like(_text(columns), given))
    raise OperatorError(
        f"The audit log knows nothing of {sides[0].entity}.", "Name a table as schema.table.", exit_code=2
    )


def names(sides: Sequence[Place], known: SampleOf, key: str) -> list[Name]:
    """What the row of a key of the first of these tables is called in each: as records have the key, and as a hub has
    it, which sorts several columns."""
    columns: dict[str, Any] = orjson.loads(key)
    found: list[Name] = []
    for side in sides:
        here = {side.there(column): value for column, value in columns.items()}
        sample: dict[str, Any] = orjson.loads(_sample(known, side) or "{}")
        orders = [list(sample)] if sample.keys() == here.keys() else [list(here)]
        texts = [_text({column: here[column] for column in order}) for order in (*orders, sorted(here))]
        found += [Name(side.source, side.entity, text) for text in texts]
    return list(dict.fromkeys(found))


def keys_of(connection: psycopg.Connection[Any], entity: str, given: str) -> list[str]:
    """A key as the log writes those of a table: sources may call its columns differently.

    Raises OperatorError (exit code 2) as `key_like` does, where no source has such keys.
    """
    found: list[str] = []
    refused = OperatorError(f"The audit log knows nothing of {entity}.", "Name a table as schema.table.", exit_code=2)
    for sample in samples(connection, entity).values():
        try:
            found.append(_text(key_like(sample, given)))
        except OperatorError as error:
            refused = error
    if not found:
        raise refused
    return list(dict.fromkeys(found))


def _sample(known: SampleOf, side: Place) -> str | None:
    """Its own, or that of entries which tell of no source."""
    return known.get((side.source, side.entity), known.get((None, side.entity)))


def _next(settings: Settings, one: Place) -> Iterator[Place]:
    """Where a table goes from here, and what comes here: a target with the name of a source is the same database.

    What comes one way from several tables may have rows of each, so that nobody knows whose row it is.
    """
    for name, target in settings.targets.items():
        route = target.tables.get(one.entity)
        if route is not None and target.source == one.source and not settings.observes(name):
            to, table = _database(settings, name), route.table or one.entity
            if route.both_ways or len(_coming(settings, to, table)) == 1:
                yield Place(to, table, (*one.steps, route.columns))
    coming = _coming(settings, one.source, one.entity)
    if len(coming) == 1:
        ((source, table, columns),) = coming
        yield Place(source, table, (*one.steps, {new: old for old, new in columns.items()}))


def _coming(settings: Settings, to: str | None, table: str) -> list[tuple[str, str, Mapping[str, str]]]:
    """Source, table and renamed columns of what is routed to a table."""
    return [
        (target.source, entity, route.columns)
        for name, target in settings.targets.items()
        for entity, route in target.tables.items()
        if _database(settings, name) == to and (route.table or entity) == table and not settings.observes(name)
    ]


def _database(settings: Settings, target: str) -> str:
    """As records name it, where its changes are captured."""
    role = settings.role(target)
    return role.hub if role is not None and role.kind == "hub" else target


def _text(key: Mapping[str, Any]) -> str:
    return json.dumps(key, ensure_ascii=False, separators=(",", ":"))
