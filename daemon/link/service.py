"""A service that was full before it was linked (`connectors.linking.LinkSpoke`): its records are read as they are now,
and their rows' keys are theirs once the mirror says so; the ordinary flow writes them there."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import orjson

from connectors.errors import Unavailable
from connectors.fetching import Adopted, Linked
from connectors.linking import Key, Linkable, LinkSide, Reference, Told
from connectors.mirroring import Mirrored
from connectors.pushing import Key as RowKey
from connectors.service import Done, Exhausted, NotDone, Page, Polled, Remote
from daemon.errors import OperatorError
from daemon.fetch.reading import When, record_key
from daemon.fetch.telling import Telling
from schemas.resolution import Fields

TOLD_TO_US = 60_000_000
"""Services tell times by the minute at the coarsest."""
PAGE_ROWS = 500


@dataclass(frozen=True, slots=True)
class Read:
    """A record as the row that it is, or will be where nothing links it; `edited` as `Adopted` has it."""

    remote_id: str
    row: Fields
    edited: int


@dataclass
class Records:
    """What was read of one table, by the key of the row that each record is, and which record has which key."""

    rows: dict[Key, Read] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)


class ServiceSpoke:
    """See `connectors.linking.LinkSpoke`. `waiting` is the mirror as a target of the hub: what comes of the hub's rows
    waits there. Raises as the service does, too."""

    def __init__(
        self, waiting: LinkSide, mirror: Linked, service: Polled, target: str, tables: Sequence[Mirrored]
    ) -> None:
        self._waiting = waiting
        self._mirror = mirror
        self._service = service
        self._target = target
        self._mirrored = {one.table: one for one in tables}
        self._telling = Telling(_Reading(mirror, self), target, self._mirrored)
        self._records: dict[str, Records] = {}

    def tables(self) -> Sequence[Linkable]:
        found = []
        for one in self._mirrored.values():
            if one.seen:
                references = [
                    Reference((column,), table)
                    for column, table in one.references.items()
                    if self._mirrored[table].seen
                ]
                found.append(Linkable(one.table, (one.key,), frozenset([one.key, *one.columns]), tuple(references)))
        return found

    def rows(self, table: str) -> Iterator[Sequence[Told]]:
        for referred in self._mirrored[table].references.values():
            self._read(referred)
        told = [Told(one.row, one.edited) for one in self._read(table).rows.values()]
        for at in range(0, len(told), PAGE_ROWS):
            yield told[at : at + PAGE_ROWS]

    def read(self, table: str, keys: Sequence[Key]) -> Mapping[Key, Fields]:
        rows = self._read(table).rows
        return {key: rows[key].row for key in keys if key in rows}

    def held(self, table: str) -> Collection[Key]:
        return self._waiting.held(table)

    def hold(self, table: str, reasons: Mapping[Key, str]) -> None:
        self._waiting.hold(table, reasons)

    def release(self, table: str, keys: Collection[Key], *, gone: bool) -> None:
        self._waiting.release(table, keys, gone=gone)

    def obstacle(self, _table: str) -> None:
        """Records have ids of their own: their rows' keys are ours to give."""

    def rekey(self, moves: Mapping[str, Mapping[Key, Key]], _by: str) -> None:
        self._mirror.adopt(
            [
                Adopted(record_key(table, self._mirrored[table].key, *new), one.remote_id, one.edited)
                for table, keys in moves.items()
                for old, new in keys.items()
                if (one := self._records[table].rows.get(old)) is not None
            ]
        )

    def close(self) -> None:
        self._waiting.close()
        self._mirror.close()

    def keys_of(self, table: str, remote_ids: Collection[str]) -> dict[str, str]:
        """Record keys by record, of what was read of a table."""
        keys = self._read(table).keys
        return {one: keys[one] for one in remote_ids if one in keys}

    def _read(self, table: str) -> Records:
        if (found := self._records.get(table)) is None:
            found = self._records[table] = Records()
            one = self._mirrored[table]
            for remotes in self._pages(table):
                there = [remote for remote in remotes if not remote.gone]
                readings, _ = self._telling.readings(table, there, When(self._mirror.now(), 0))
                found.keys |= {reading.remote_id: reading.key.text for reading in readings}
                if one.seen:
                    rows = self._telling.rows(table, there)
                    latest = {remote.id: remote.latest for remote in there}
                    found.rows |= dict(
                        _row(one, reading.key, reading.remote_id, rows[reading.remote_id], latest[reading.remote_id])
                        for reading in readings
                    )
        return found

    def _pages(self, table: str) -> Iterator[Sequence[Remote]]:
        """Every record."""
        cursor: str | None = None
        while True:
            match self._service.changed(table, 0, cursor):
                case Page() as page:
                    yield [*page.remotes, *(one for id_ in page.unread if (one := self._one(table, id_)) is not None)]
                    if (cursor := page.cursor) is None:
                        return
                case answer:
                    raise self._unanswered(answer)

    def _one(self, table: str, remote_id: str) -> Remote | None:
        match self._service.read(table, remote_id):
            case Done(remote):
                return remote
            case answer:
                raise self._unanswered(answer)

    def _unanswered(self, answer: NotDone | Exhausted) -> Exception:
        if isinstance(answer, Exhausted):
            return OperatorError(f"Target {self._target} lets nothing through: {answer.why}.", "Link when it does.")
        return Unavailable(f"target {self._target}: {answer.why}")


class _Reading:
    """The mirror (`connectors.fetching.Known`), with what is read now in the place of what it knows of relations."""

    def __init__(self, mirror: Linked, spoke: ServiceSpoke) -> None:
        self._mirror = mirror
        self._spoke = spoke
        self.records = mirror.records
        self.owners = mirror.owners
        self.canonical = mirror.canonical

    def keys_of(self, table: str, remote_ids: Collection[str]) -> dict[str, str]:
        return self._spoke.keys_of(table, remote_ids)


def _row(one: Mirrored, key: RowKey, remote_id: str, shown: Fields, latest: int) -> tuple[Key, Read]:
    """Of what cannot be told nothing is said."""
    (value,) = orjson.loads(key.text).values()
    text = orjson.dumps(value).decode()
    return (text,), Read(remote_id, {**shown, one.key: text}, latest - TOLD_TO_US)
