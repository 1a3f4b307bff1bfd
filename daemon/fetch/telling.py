"""What records that were read say: which rows they are, and what is new of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import structlog

from connectors.fetching import Dirty, Known, Reading, Record, Stray
from connectors.mirroring import Mirrored
from connectors.pushing import Key
from connectors.service import Reference, Remote
from daemon.fetch.reading import When, both_ways, minted, one_way, record_key
from daemon.fetch.strays import stray
from schemas.resolution import Fields

log = structlog.get_logger(__name__)


class Telling:
    """One worker's. Raises what the mirror raises."""

    def __init__(self, mirror: Known, target: str, tables: Mapping[str, Mirrored]) -> None:
        self._mirror = mirror
        self._target = target
        self._tables = tables

    def readings(self, table: str, remotes: Sequence[Remote], when: When) -> tuple[list[Reading], list[Stray]]:
        """What these records say of their rows, and those of them that are no row."""
        known = self._mirror.records(table, [one.id for one in remotes])
        keys, strays = self._keys(table, remotes, known)
        if not self._tables[table].seen:
            one_ways = [one_way(one, keys[one.id][0], when, keyed=keys[one.id][1]) for one in remotes if one.id in keys]
            return one_ways, strays
        rows = self.rows(table, remotes)
        readings = [
            both_ways(
                one, {**rows[one.id], self._tables[table].key: _value(keys[one.id][0])}, keys[one.id][0],
                known.get(one.id), when, one.author, keyed=keys[one.id][1],
            )
            for one in remotes
            if one.id in keys
        ]  # fmt: skip
        return readings, strays

    def _keys(
        self, table: str, remotes: Sequence[Remote], known: Mapping[str, Record]
    ) -> tuple[dict[str, tuple[Key, bool]], list[Stray]]:
        """By record, the row that it is, and whether the record says so. A record without a key is a row that people
        have made there; so is one that they have made and that has the key of another record, as a copy has. Where they
        make no rows, and where we have made it, that is a stray."""
        told, seen = self.told(table, remotes), self._tables[table].seen
        owners = self._mirror.owners(table, [key.text for key in told.values()])
        found: dict[str, tuple[Key, bool]] = {}
        strays: list[Stray] = []
        for one in sorted(remotes, key=lambda one: one.created):
            record, key = known.get(one.id), told.get(one.id)
            if record is not None and record.key is not None:
                found[one.id] = record.key, key == record.key
            elif key is not None and owners.setdefault(key.text, one.id) == one.id:
                found[one.id] = key, True
            elif one.gone:
                pass
            elif key is not None and (one.ours or not seen):
                strays.append(stray(one, key))
            elif seen:
                made = minted(self._target, table, one.id)
                found[one.id] = record_key(table, self._tables[table].key, made), False
        return found, strays

    def told(self, table: str, remotes: Sequence[Remote]) -> dict[str, Key]:
        """By record, the row whose key it holds."""
        column = self._tables[table].key
        given = {one.id: one.key for one in remotes if one.key is not None}
        texts = self._mirror.canonical(table, [{column: value} for value in given.values()])
        return {
            remote_id: record_key(table, column, str(fields[column]))
            for remote_id, (fields, _) in zip(given, texts, strict=True)
            if fields.get(column) is not None
        }

    def rows(self, table: str, remotes: Sequence[Remote]) -> dict[str, Fields]:
        """What records show, in canonical form; what cannot be told is left out, and said in the log."""
        referred: dict[str, set[str]] = {}
        for one in remotes:
            for value in one.fields.values():
                if isinstance(value, Reference):
                    referred.setdefault(value.table, set()).add(value.remote_id)
        keys = {other: self._mirror.keys_of(other, ids) for other, ids in referred.items()}
        canonical = self._mirror.canonical(table, [self._resolved(one, keys) for one in remotes])
        for one, (_, wrong) in zip(remotes, canonical, strict=True):
            for name, why in {**one.untold, **wrong}.items():
                log.warning(
                    "a field cannot be told", target=self._target, table=table, record=one.id, field=name, why=why
                )
        return {one.id: row for one, (row, _) in zip(remotes, canonical, strict=True)}

    def _resolved(self, remote: Remote, keys: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in remote.fields.items():
            if not isinstance(value, Reference):
                found[name] = value
            elif (text := keys[value.table].get(value.remote_id)) is not None:
                found[name] = orjson.loads(text)[self._tables[value.table].key]
        return found

    def gone(self, dirty: Dirty, began: int) -> list[Reading]:
        """A record that is gone for good, if we knew of it."""
        record = self._mirror.records(dirty.table, [dirty.remote_id]).get(dirty.remote_id)
        if record is None or record.key is None:
            return []
        remote = Remote(dirty.remote_id, "", {}, None, began, gone=True)
        if not self._tables[dirty.table].seen:
            return [one_way(remote, record.key, When(began, 0), keyed=True)]
        return [both_ways(remote, {}, record.key, record, When(began, 0), None, keyed=True)]


def _value(key: Key) -> str:
    """Its canonical text."""
    (value,) = orjson.loads(key.text).values()
    return orjson.dumps(value).decode()
