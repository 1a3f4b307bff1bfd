"""What a record that was read says: which row it is, and whether it shows anything new. Pure."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

import msgspec
import orjson

from connectors.fetching import Reading, Record
from connectors.pushing import Key, Seen
from connectors.service import Remote
from schemas.resolution import Fields, ReadEntry

MADE_THERE = uuid.UUID("8b0c7d0e-53a5-4f0b-9f0a-6f1f1d6a3c55")
"""Namespace of the keys of rows that people have made at a service: a record has the same one whoever reads it."""

LAG_US = 30_000_000
"""What a query has not told may have been edited so long before it began."""


@dataclass(frozen=True, slots=True)
class When:
    """`began`: when the read began, by the mirror's clock; `before`: an earlier moment through which whatever was
    edited has been read. In microseconds since 1970. `listed`: by a query, which may lag behind."""

    began: int
    before: int
    listed: bool = False

    @property
    def as_of(self) -> int:
        """What was read has been so then, or later."""
        return max(0, self.began - LAG_US) if self.listed else self.began


def minted(target: str, table: str, remote_id: str) -> str:
    """The key of a row that people have made at a service, as canonical text."""
    return f'"{uuid.uuid5(MADE_THERE, f"{target} {table} {remote_id}")}"'


def record_key(table: str, column: str, value: str) -> Key:
    """By the canonical text of its value."""
    return Key(table, f'{{"{column}":{value}}}')


def value_of(key: Key) -> str:
    """The value of a key, as a record holds it."""
    (value,) = orjson.loads(key.text).values()
    return str(value)


def one_way(remote: Remote, key: Key, when: When, *, keyed: bool) -> Reading:
    """Of a table that goes one way, it is only known which record is the row."""
    return _reading(remote, key, when, None, keyed=keyed)


def both_ways(
    remote: Remote, row: Fields, key: Key, record: Record | None, when: When, author: str | None, *, keyed: bool
) -> Reading:
    """`row` is what the record shows, the key's column among it; `record` what was known of it."""
    seen = None if record is None else record.seen
    read_at = 0 if record is None else record.read_at
    shown = None if remote.gone else row
    told: Seen | None = None
    if shown is None and seen is not None:
        told = _told(None, key, read_at, remote, when, author)
    elif shown is not None and (seen is None or any(seen.get(name) != value for name, value in shown.items())):
        told = _told(shown, key, read_at, remote, when, author)
    return _reading(remote, key, when, told, keyed=keyed)


def _reading(remote: Remote, key: Key, when: When, told: Seen | None, *, keyed: bool) -> Reading:
    return Reading(
        key.table, remote.id, key, remote.version, remote.gone, when.began, when.as_of, told, keyed, when.listed
    )  # fmt: skip


def _told(row: Fields | None, key: Key, read_at: int, remote: Remote, when: When, author: str | None) -> Seen:
    since = max(read_at, when.before) if read_at else 0
    latest = min(when.began, remote.latest) if remote.latest >= since else when.began
    entry = ReadEntry(*key, since=since, latest=max(latest, since), read=when.began, gone=row is None)
    return Seen(row, read=msgspec.json.encode(entry).decode(), author=author)
