"""From the cells of one relation to the bytes of a key and an envelope, without a dict between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
import orjson
from psycopg import sql

from daemon import VERSION
from daemon.capture import masking
from daemon.capture.masking import Masks
from daemon.capture.pgoutput import UNCHANGED, Cell, Relation
from daemon.capture.values import JSON_DEPTH, JSON_TYPES, Encoder, encoder, is_deep
from daemon.errors import GAP_ADVICE, OperatorError
from schemas.topics import table_topic


class Record(NamedTuple):
    """What goes into a topic: key and value."""

    key: bytes
    value: bytes


_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def without_before(record: Record) -> Record:
    """The same event with no more of the old row than the key of a deleted one: enough to apply it."""
    fields = _fields(record.value)
    deleted = bytes(fields["op"]) == b'"d"'
    return Record(
        record.key, msgspec.json.encode({**fields, "before": msgspec.Raw((deleted and record.key) or b"null")})
    )


def placeholder(record: Record) -> Record:
    """What stands for a record that is larger than the topic takes: same key, same place, no row."""
    fields = _fields(record.value)
    kept = {name: fields[name] for name in ("source", "op", "ts_ms", "transaction")}
    if bytes(kept["op"]) != b'"r"':
        kept["op"] = msgspec.Raw(b'"u"')
    value = {"before": None, "after": msgspec.Raw(record.key or b"null"), "oversize": len(record.value), **kept}
    return Record(record.key, msgspec.json.encode(value))


@dataclass(slots=True)
class Head:
    """What all records of one transaction share."""

    timeline: int
    commit_lsn: int
    ts_us: int
    xid: int | None
    snapshot: bool = False
    origin: str | None = None
    orders: dict[str, int] = field(default_factory=dict)
    """Records so far by table: the envelope's data_collection_order."""
    fragments: dict[str, bytes] = field(default_factory=dict)
    """The constant part of `source`, by table."""


class Tail:
    """Writes what stands at the end of every envelope of one table: source, operation, time and transaction.

    `collection` is what the records of a transaction are counted by. `schema` and `table` are empty for messages.
    """

    def __init__(self, source: str, database: str, collection: str, schema: str, table: str) -> None:
        self._collection = collection
        self._constant = {
            "version": VERSION,
            "connector": "postgresql",
            "name": source,
            "db": database,
            "schema": schema,
            "table": table,
        }

    def write(self, head: Head, lsn: int, ordinal: int, now_ms: int, op: bytes) -> bytes:
        """The rest of an envelope, from the comma before `source`. Call once for every record of the transaction."""
        collection = self._collection
        order = head.orders[collection] = head.orders.get(collection, 0) + 1
        fragment = head.fragments.get(collection) or self._fragment(head)
        return b'%b"sequence":"[\\"%d\\",\\"%d\\"]","lsn":%d,"ordinal":%d},"op":"%b","ts_ms":%d,"transaction":%b}' % (
            fragment,
            head.commit_lsn,
            lsn,
            lsn,
            ordinal,
            op,
            now_ms,
            b"null"
            if head.xid is None
            else b'{"id":"%d:%d","total_order":%d,"data_collection_order":%d}'
            % (head.xid, head.commit_lsn, ordinal, order),
        )

    def _fragment(self, head: Head) -> bytes:
        values = {
            **self._constant,
            "ts_ms": head.ts_us // 1000,
            "snapshot": "incremental" if head.snapshot else "false",
            "txId": head.xid,
            "timeline": head.timeline,
            "commit_lsn": head.commit_lsn,
            "origin": head.origin,
        }
        fragment = b',"source":%b,' % orjson.dumps(values)[:-1]
        head.fragments[self._collection] = fragment
        return fragment


class Codec:
    """Writes the records of one version of one relation.

    `key_columns` are the names that make the record key; a table without a key has records without one. One codec
    serves one source; it is not shared by threads.
    """

    def __init__(
        self, source: str, database: str, relation: Relation, key_columns: Sequence[str], masks: Masks | None = None
    ) -> None:
        names = [column.name for column in relation.columns]
        flagged = {column.name for column in relation.columns if column.key}
        self.relation = relation
        self.topic = self.topic_of(source, relation)
        self.key_columns = tuple(key_columns)
        self._tail = Tail(source, database, relation.name, relation.schema, relation.table).write
        self._identified = relation.identity == "f" or (bool(flagged) and flagged.issuperset(key_columns))
        self._names = names
        self._labels = [orjson.dumps(name) + b":" for name in names]
        self._encoders: list[Encoder] = [encoder(column.type_oid) for column in relation.columns]
        self._json = [at for at, column in enumerate(relation.columns) if column.type_oid in JSON_TYPES]
        self._keys = [names.index(name) for name in key_columns]
        self._dropped: frozenset[int] = frozenset()
        if masks:
            self._mask(masks)

    @staticmethod
    def topic_of(source: str, relation: Relation) -> str:
        """The topic of a relation's changes."""
        return table_topic(source, relation.schema, relation.table)

    def insert(self, head: Head, lsn: int, ordinal: int, now_ms: int, row: Sequence[Cell]) -> Record:
        tail = self._tail(head, lsn, ordinal, now_ms, b"c")
        return Record(self.key(row), b'{"before":null,"after":%b%b%b' % (self._object(row), self._marks(row), tail))

    def read(self, head: Head, ordinal: int, now_ms: int, row: Sequence[Cell]) -> Record:
        """A row of a snapshot."""
        tail = self._tail(head, head.commit_lsn, ordinal, now_ms, b"r")
        return Record(self.key(row), b'{"before":null,"after":%b%b%b' % (self._object(row), self._marks(row), tail))

    def absent(self, head: Head, ordinal: int, now_ms: int, key: bytes) -> Record:
        """A key that was asked for and has no row."""
        return Record(key, b'{"before":null,"after":null%b' % self._tail(head, head.commit_lsn, ordinal, now_ms, b"r"))

    def delete(self, head: Head, lsn: int, ordinal: int, now_ms: int, kind: str, old: Sequence[Cell]) -> Record:
        """Raises OperatorError when the log does not tell which row it was."""
        self._check_identity()
        tail = self._tail(head, lsn, ordinal, now_ms, b"d")
        return Record(self.key(old), b'{"before":%b,"after":null%b' % (self._old(kind, old), tail))

    def truncate(self, head: Head, lsn: int, ordinal: int, now_ms: int) -> Record:
        return Record(b"", b'{"before":null,"after":null%b' % self._tail(head, lsn, ordinal, now_ms, b"t"))

    def update(
        self, head: Head, lsn: int, ordinal: int, now_ms: int, kind: str, old: Sequence[Cell], new: list[Cell]
    ) -> tuple[Record] | tuple[Record, Record]:
        """One record; or, when the key has changed, two with adjacent ordinals: the old key goes, the new one comes.

        Raises OperatorError when the log does not tell which row it was.
        """
        self._check_identity()
        if old:
            self._fill(kind, old, new)
        before = self._old(kind, old) if old else b"null"
        key = self.key(new)
        after = self._object(new)
        marks = self._marks(new)
        if old and (gone := self.key(old)) != key:
            deleted = b'{"before":%b,"after":null,"moved_to":%b%b' % (
                before,
                key,
                self._tail(head, lsn, ordinal, now_ms, b"d"),
            )
            created = b'{"before":null,"after":%b%b,"moved_from":%b%b' % (
                after,
                marks,
                gone,
                self._tail(head, lsn, ordinal + 1, now_ms, b"c"),
            )
            return Record(gone, deleted), Record(key, created)
        tail = self._tail(head, lsn, ordinal, now_ms, b"u")
        return (Record(key, b'{"before":%b,"after":%b%b%b' % (before, after, marks, tail)),)

    def key(self, row: Sequence[Cell]) -> bytes:
        """The record key: JSON of the key columns, in the order in which the key names them; empty without a key.

        Raises OperatorError when the row came without its key.
        """
        parts = []
        for at in self._keys:
            cell = row[at]
            if cell is None or cell is UNCHANGED:
                raise self._unidentified()
            parts.append(self._labels[at] + self._encoders[at](cell))
        return b"{%b}" % b",".join(parts) if parts else b""

    def _check_identity(self) -> None:
        if not self._identified:
            raise self._unidentified()

    def _unidentified(self) -> OperatorError:
        table = sql.Identifier(self.relation.schema, self.relation.table).as_string()
        return OperatorError(
            f"{self.relation.name} has logged a change without the primary key of its row, so that nobody can tell"
            " which row it was.",
            f"As its owner run: ALTER TABLE {table} REPLICA IDENTITY DEFAULT. Then: {GAP_ADVICE}",
        )

    def _fill(self, kind: str, old: Sequence[Cell], new: list[Cell]) -> None:
        """Take what the new tuple leaves out from the old one: all of it under FULL, the identity otherwise."""
        for at, column in enumerate(self.relation.columns):
            if new[at] is UNCHANGED and (kind == "O" or column.key):
                new[at] = old[at]

    def _mask(self, masks: Masks) -> None:
        """From here on clear values of these columns go nowhere. Raises OperatorError for one that cannot be masked."""
        masking.check(self.relation, self.key_columns, masks)
        self._dropped = masking.dropped(self._names, masks)
        self._encoders = masking.encoders(self._names, self._encoders, masks)
        self._json = [at for at in self._json if self._names[at] not in masks]

    def _object(self, row: Sequence[Cell]) -> bytes:
        parts = []
        if self._dropped:
            row = masking.without(row, self._dropped)
        for label, encode, cell in zip(self._labels, self._encoders, row, strict=True):
            if cell is None:
                parts.append(label + b"null")
            elif cell is not UNCHANGED:
                parts.append(label + encode(cell))
        return b"{%b}" % b",".join(parts)

    def _old(self, kind: str, old: Sequence[Cell]) -> bytes:
        """The old row; of kind `K` only its identity was sent, and what else looks like NULL was not."""
        if kind == "O":
            return self._object(old)
        if self._dropped:
            old = masking.without(old, self._dropped)
        sent = [
            label + encode(cell)
            for label, encode, cell, column in zip(
                self._labels, self._encoders, old, self.relation.columns, strict=True
            )
            if column.key and cell is not None and cell is not UNCHANGED
        ]
        return b"{%b}" % b",".join(sent)

    def _marks(self, new: Sequence[Cell]) -> bytes:
        """What `after` cannot say: columns that were not sent, and columns whose JSON is null, which is no NULL."""
        marks = b""
        if UNCHANGED in new:
            names = [self._names[at] for at, cell in enumerate(new) if cell is UNCHANGED and at not in self._dropped]
            marks = b',"unchanged":%b' % orjson.dumps(names) if names else b""
        for at in self._json:
            cell = new[at]
            if cell == b"null" or (isinstance(cell, bytes) and len(cell) > JSON_DEPTH and is_deep(cell)):
                return marks + self._json_marks(new)
        return marks

    def _json_marks(self, new: Sequence[Cell]) -> bytes:
        nulls = [self._names[at] for at in self._json if new[at] == b"null"]
        texts = [self._names[at] for at in self._json if isinstance(cell := new[at], bytes) and is_deep(cell)]
        marks = b',"json_null":%b' % orjson.dumps(nulls) if nulls else b""
        return marks + (b',"json_text":%b' % orjson.dumps(texts) if texts else b"")
