"""Rows between the mirror's form and the service's: canonical texts by column, records with references to others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from connectors.mirroring import Mirrored
from connectors.pushing import Key, Mirror
from connectors.service import Reference, Remote, Rows, Service, keys_of
from schemas.resolution import Fields


class Forms:
    """Looks into the mirror for what stands for what."""

    def __init__(self, mirror: Mirror, service: Service, tables: Mapping[str, Mirrored]) -> None:
        self._mirror = mirror
        self._service = service
        self._tables = tables

    def rows(self, table: str, wanted: Iterable[Fields]) -> Rows:
        """The records that these rows refer to, as far as there are any."""
        found: dict[tuple[str, str], str] = {}
        for other, keys in keys_of(self._service.references(table, wanted)).items():
            by_text = {self.record_key(other, key).text: key for key in keys}
            ids = self._mirror.remote_ids(other, by_text)
            found |= {(other, by_text[text]): remote_id for text, remote_id in ids.items()}
        return found

    def missing(self, table: str, wanted: Fields, rows: Rows) -> list[Key]:
        """Rows that it refers to, and that have no record."""
        return [
            self.record_key(other, key)
            for other, key in sorted(self._service.references(table, [wanted]))
            if (other, key) not in rows
        ]

    def shown(self, key: Key, wanted: Fields, rows: Rows) -> Fields:
        """A row as the service will show it; with its key, where it goes both ways."""
        [found] = self._canonical(key.table, [self._service.shown(key.table, wanted, rows)])
        return self._whole(key, found)

    def current(self, key: Key, remote: Remote) -> Fields:
        """A record as it is. A reference to what is no row of ours is left out."""
        [found] = self._canonical(key.table, [remote.fields])
        return self._whole(key, found)

    def _whole(self, key: Key, row: Fields) -> Fields:
        """A record is known by its key, and holds it as no field of its own."""
        if not self._tables[key.table].seen:
            return row
        (value,) = orjson.loads(key.text).values()
        return {**row, self._tables[key.table].key: orjson.dumps(value).decode()}

    def _canonical(self, table: str, rows: Sequence[Mapping[str, Any]]) -> list[Fields]:
        referred: dict[str, set[str]] = {}
        for row in rows:
            for value in row.values():
                if isinstance(value, Reference):
                    referred.setdefault(value.table, set()).add(value.remote_id)
        keys = {other: self._mirror.keys_of(other, ids) for other, ids in referred.items()}
        return self._mirror.canonical(table, [self._resolved(row, keys) for row in rows])

    def key_of(self, table: str, held: str) -> Key | None:
        """The row whose key a record holds; None where that is no key of the table's."""
        column = self._tables[table].key
        [found] = self._mirror.canonical(table, [{column: held}])
        value = found.get(column)
        return None if value is None else self.record_key(table, value)

    def record_key(self, table: str, value: str) -> Key:
        """The key of a row by the canonical text of its value."""
        return Key(table, f'{{"{self._tables[table].key}":{value}}}')

    def _resolved(self, row: Mapping[str, Any], keys: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
        found = {}
        for name, value in row.items():
            if not isinstance(value, Reference):
                found[name] = value
            elif (text := keys[value.table].get(value.remote_id)) is not None:
                found[name] = orjson.loads(text)[self._tables[value.table].key]
        return found
