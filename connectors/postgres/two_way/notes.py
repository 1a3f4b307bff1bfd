"""Reads the stream of a database that goes both ways: each row's event with what our own transactions say of it.

Such a transaction begins with a message that says whose it is. At a spoke the marks of its rows follow them, so rows of
ours wait for their marks; at the hub answers do, which are events of their own, and rows that are made or deleted for a
spoke are named before that. The messages stand in a topic of their own, and come where the order of commits has them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime

import msgspec
import orjson

from connectors.contract import Place, Record
from connectors.postgres.rows import Change, Event, decode_change
from connectors.postgres.two_way.canonical import Canonical
from schemas.resolution import (
    ANSWERS_PREFIX,
    FORETOLD_PREFIX,
    LINKED_PREFIX,
    MARKS_PREFIX,
    ORIGIN_PREFIX,
    READS_PREFIX,
    ForetoldEntry,
    LinkedEntry,
    Origin,
)

ANSWER = "n"
"""Op of an event that says something of a row, and changes nothing."""


class _Message(msgspec.Struct):
    prefix: str
    content: bytes | None


class _Source(msgspec.Struct):
    ts_ms: int


class _MessageEvent(msgspec.Struct):
    message: _Message
    source: _Source


class _Head(msgspec.Struct):
    op: str
    source: _Source


class _Named(msgspec.Struct):
    table: str
    key: str


_message = msgspec.json.Decoder(_MessageEvent).decode
_head = msgspec.json.Decoder(_Head).decode
_notes = msgspec.json.Decoder(list[msgspec.Raw]).decode
_named = msgspec.json.Decoder(_Named).decode
_linked = msgspec.json.Decoder(list[LinkedEntry]).decode
_foretold = msgspec.json.Decoder(list[ForetoldEntry]).decode
_origin = msgspec.json.Decoder(Origin).decode


class Notes:
    """One per session. `tables` are those that go both ways, by the followed source's names."""

    def __init__(self, tables: Mapping[str, Canonical], times: Mapping[str, str], *, marked: bool) -> None:
        """`times` are the columns that tell when a row was changed, by table; `marked`: this follows a spoke."""
        self._tables = tables
        self._by_hub: Mapping[str, str] = {}
        self._times = times
        self._marked = marked
        self.narrow(tables)
        self.forget()

    def narrow(self, tables: Collection[str]) -> None:
        """Whose notes are read from now on."""
        self._by_hub = {one.hub: name for name, one in self._tables.items() if name in tables}

    def forget(self) -> None:
        """The transaction was rolled back."""
        self._place: Place = (0, 0)
        self._origin = b""
        self._by_triggers = b""
        self._foretold: set[tuple[str, str]] = set()
        """By table and key, rows that are made and deleted for the spoke."""
        self._rows: dict[tuple[str, str], list[tuple[Record, int]]] = {}
        self._changed_at: dict[tuple[str, str], int | None] = {}
        """By table and key, times of rows that have only got another key."""
        self._reads: dict[tuple[str, str], tuple[Record, bytes, int]] = {}
        """By table and key, what reads of a service say of rows that come behind them; none may."""

    def waiting(self) -> list[Event]:
        """Rows of ours that wait for their marks, as they came."""
        return [Event(table, one, Change("u")) for (table, _), some in self._rows.items() for one, _ in some]

    def message(self, record: Record) -> Iterator[Event]:
        """Events of a message: answers of the hub; rows of ours that have waited for their marks."""
        yield from self.arrive(record)
        event = _message(record.value)
        content = event.message.content
        if content is None:
            return  # too large even without values; rows of ours are taken as triggers' then
        prefix, ts_ms = event.message.prefix, event.source.ts_ms
        if prefix == ORIGIN_PREFIX:
            self._begin(content)
        elif self._marked:
            yield from self._said_by_spoke(prefix, content, record, ts_ms)
        else:
            yield from self._said_by_hub(prefix, content, record, ts_ms)

    def _said_by_spoke(self, prefix: str, content: bytes, record: Record, ts_ms: int) -> Iterator[Event]:
        if prefix == MARKS_PREFIX:
            for note in _notes(content):
                yield from self._mark(record, bytes(note), ts_ms)
        elif prefix == READS_PREFIX:
            for note in _notes(content):
                named = _named(note)
                if (table := self._by_hub.get(named.table)) is not None:
                    self._reads[table, named.key] = record, bytes(note), ts_ms
        elif prefix == LINKED_PREFIX:
            for one in _linked(content):
                if (table := self._by_hub.get(one.table)) is not None:
                    self._changed_at[table, one.key] = one.at

    def _said_by_hub(self, prefix: str, content: bytes, record: Record, ts_ms: int) -> Iterator[Event]:
        if prefix == FORETOLD_PREFIX:
            told = [one for one in _foretold(content) if one.table in self._by_hub]
            self._foretold.update((self._by_hub[one.table], one.key) for one in told)
        elif prefix == ANSWERS_PREFIX:
            for note in _notes(content):
                named = _named(note)
                if (table := self._by_hub.get(named.table)) is not None:
                    yield self._note(table, named.key, record, bytes(note), ts_ms)

    def row(self, table: str, record: Record) -> Iterator[Event]:
        """Events of a row's record; none yet of one that waits for its mark."""
        yield from self.arrive(record)
        head = _head(record.value)
        told = self._origin or self._changed_at or self._reads
        if not (self._marked and told and record.key and head.op in "cud"):
            yield self._event(table, record, self._time(table, head, record), origin=self._maker(table, record, head))
            return
        name = table, self._tables[table].key_text(record.key)
        if name in self._reads:
            _, note, _ = self._reads.pop(name)
            yield self._event(table, record, head.source.ts_ms * 1_000, note)
        elif name in self._changed_at:
            yield self._event(table, record, self._changed_at[name])
        elif self._origin:
            self._rows.setdefault(name, []).append((record, head.source.ts_ms))
        else:
            yield self._event(table, record, self._time(table, head, record))

    def arrive(self, record: Record) -> Iterator[Event]:
        """A record of any table: where it begins another transaction, what is left of the one before."""
        if record.position[:2] != self._place:
            yield from self.end()
            self._place = record.position[0], record.position[1]

    def end(self) -> Iterator[Event]:
        """Rows of ours that no mark has named: triggers have changed them."""
        rows, self._rows = self._rows, {}
        origin, self._origin = self._origin, b""
        self._by_triggers, self._foretold = b"", set()
        self._changed_at = {}
        reads, self._reads = self._reads, {}
        for (table, key), (record, note, ts_ms) in reads.items():
            yield self._note(table, key, record, note, ts_ms)
        for (table, _), records in rows.items():
            yield self._event(table, _last(records), records[-1][1] * 1_000, origin=origin)

    def _begin(self, content: bytes) -> None:
        """A transaction of ours. What triggers make and delete in it, the spoke knows nothing of."""
        self._origin = self._by_triggers = content
        if not self._marked and (origin := _origin(content)).tells:
            self._by_triggers = msgspec.json.encode(msgspec.structs.replace(origin, origin=""))

    def _maker(self, table: str, record: Record, head: _Head) -> bytes:
        """The transaction's origin, as far as this row is concerned."""
        if head.op not in "cd" or self._by_triggers == self._origin:
            return self._origin
        name = table, self._tables[table].key_text(record.key) if record.key else ""
        if name not in self._foretold:
            return self._by_triggers
        self._foretold.remove(name)  # what comes after that is a trigger's, or foretold anew
        return self._origin

    def _mark(self, record: Record, note: bytes, ts_ms: int) -> Iterator[Event]:
        """A row of ours, as it was in the end; or one that was only compared."""
        named = _named(note)
        if (table := self._by_hub.get(named.table)) is None:
            return
        records = self._rows.pop((table, named.key), None)
        if records is None:
            yield self._note(table, named.key, record, note, ts_ms)
            return
        event = self._event(table, _last(records), ts_ms * 1_000, note, self._origin)
        yield event
        if event.change.oversize is not None:  # its key waits; what was sent is known all the same
            yield self._note(table, named.key, record, note, ts_ms)

    def _note(self, table: str, key: str, record: Record, note: bytes, ts_ms: int) -> Event:
        """An event that has no row of its own."""
        value = b'{"op":"%b","after":null}' % ANSWER.encode()
        named = record._replace(key=self._tables[table].record_key(key), value=value)
        return self._event(table, named, ts_ms * 1_000, note, self._origin)

    def _event(
        self, table: str, record: Record, ts_us: int | None, note: bytes = b"", origin: bytes | None = None
    ) -> Event:
        """What is known of it stands in its content, so that it waits with that."""
        notice: dict[str, object] = {"at": list(record.position), "ts_us": ts_us}
        if origin := self._origin if origin is None else origin:
            notice["origin"] = orjson.Fragment(origin)
        if note:
            notice["note"] = orjson.Fragment(note)
        value = record.value[: record.value.rindex(b"}")] + b',"notice":%b}' % orjson.dumps(notice)
        change = decode_change(value)
        return Event(table, record._replace(value=value), change)

    def _time(self, table: str, head: _Head, record: Record) -> int | None:
        """The commit's; of a row that was read, what it says of itself."""
        if head.op != "r":
            return head.source.ts_ms * 1_000
        column = self._times.get(table)
        after = decode_change(record.value).after or {}
        return None if column is None or column not in after else _moment(bytes(after[column]))


def _moment(raw: bytes) -> int | None:
    """Microseconds since 1970; None where the text is no moment, or one without a zone."""
    try:
        found = datetime.fromisoformat(orjson.loads(raw))
    except (ValueError, TypeError):
        return None
    return None if found.tzinfo is None else round(found.timestamp() * 1_000_000)


def _last(records: Sequence[tuple[Record, int]]) -> Record:
    """A row as a transaction of ours has left it: triggers may have changed it once more, and left out what they did
    not touch."""
    last, _ = records[-1]
    content = orjson.loads(last.value)
    if len(records) == 1 or content["after"] is None or not content.get("unchanged"):
        return last
    for record, _ in reversed(records[:-1]):
        before = orjson.loads(record.value)
        content["after"] = {**(before["after"] or {}), **content["after"]}
        for name in ("json_null", "json_text"):
            content[name] = sorted({*content.get(name, ()), *before.get(name, ())})
    content["unchanged"] = [name for name in content["unchanged"] if name not in content["after"]]
    return last._replace(value=orjson.dumps(content))
