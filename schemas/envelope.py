"""What stands in a topic: change events, transaction ends, and requests for whole rows.

The change event is a superset of Debezium's envelope. `schemas/json/` holds the exported JSON Schema.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Op = Literal["c", "u", "d", "r", "t", "m"]
"""Create, update, delete, read (snapshot), truncate, message."""

Row = dict[str, Any]
"""Column name to value: JSON as it comes, decimals and times as strings, binary as base64."""


class Shape(BaseModel):
    """Unknown fields are allowed: a reader of today reads what a writer of tomorrow adds."""

    model_config = ConfigDict(extra="allow")


class EventSource(Shape):
    """Where an event comes from."""

    version: str
    connector: Literal["postgresql"]
    name: str
    """The source's name in the configuration."""
    ts_ms: int
    """Commit time, in milliseconds since 1970."""
    snapshot: Literal["false", "incremental"]
    db: str
    sequence: str
    """JSON array of two strings: commit LSN and LSN of the change, decimal."""
    schema_: Annotated[str, Field(alias="schema")]
    table: str
    """Schema and table are empty for a message."""
    txId: int | None  # noqa: N815  Debezium's name
    lsn: int
    timeline: int
    commit_lsn: int
    ordinal: int
    """Place among all changes of the transaction, from 1, before any filter."""
    origin: str | None
    """Replication origin of the transaction, as PostgreSQL knows it."""


class EventTransaction(Shape):
    """The transaction that an event belongs to."""

    id: str
    total_order: int
    """The ordinal: place among all changes of the transaction, from 1."""
    data_collection_order: int
    """Place among the transaction's records of the same table, from 1; a truncate is one in each partition."""


class Message(Shape):
    """What an application wrote by `pg_logical_emit_message`."""

    prefix: str
    content: str | None
    """Base64; None where the message was too large to publish."""


class ChangeEvent(Shape):
    """One change of one row, or of one table; or one message of an application."""

    before: Row | None
    """The old row as far as PostgreSQL sends it: the key of a deleted row, or the whole row under FULL."""
    after: Row | None
    """The new row without the columns named in `unchanged`; None in an `r` says that the key has no row."""
    source: EventSource
    op: Op
    ts_ms: int
    transaction: EventTransaction | None
    unchanged: list[str] | None = None
    """Columns whose stored value was not touched and not sent: their value is unknown here, never NULL."""
    json_null: list[str] | None = None
    """Columns of JSON whose value is JSON's null: `after` cannot tell it from SQL's NULL."""
    json_text: list[str] | None = None
    """Columns of JSON nested deeper than 200 levels: `after` holds the JSON as a string."""
    moved_from: Row | None = None
    """With op `c`: the key that this row had before."""
    moved_to: Row | None = None
    """With op `d`: the key that this row has now."""
    oversize: int | None = None
    """Bytes of a record that was too large to publish: `after` holds the key alone."""
    message: Message | None = None
    """With op `m`."""


class TransactionEnd(Shape):
    """The end of a transaction, or of one chunk of a snapshot, on the transactions topic."""

    kind: Literal["tx", "snapshot"]
    timeline: int
    commit_lsn: int
    ts_us: int
    """Commit time, in microseconds since 1970."""
    xid: int
    counts: dict[str, dict[str, int]]
    """Records by topic and partition, whether sent now, sent before, or left out as too large."""
    epoch: int
    schemas: dict[str, int] = Field(default_factory=dict)
    """Version of the tables' columns by topic: the newest one that a record of this transaction has."""


class SchemaColumn(Shape):
    """One column. Type, NOT NULL and default are the catalogue's, and null where it no longer has such a column."""

    name: str
    type: str | None
    type_oid: int
    typmod: int
    key: bool
    """Whether it belongs to the replica identity."""
    not_null: bool | None
    default: str | None
    """The expression; `identity` for an identity column."""
    existing: str | None
    """PostgreSQL's text of the value that rows have which were there before the column was added, as far as known."""
    base: str | None = None
    """The type under a domain, with its length; null for other types."""

    @property
    def compared(self) -> str | None:
        """The type by which values compare: the one under a domain."""
        return self.base or self.type


class SchemaChange(Shape):
    """A version of a table's columns, on the topic of schema changes. It may be repeated under the same number."""

    source: str
    schema_: Annotated[str, Field(alias="schema")]
    table: str
    version: int
    commit_lsn: int
    """The first transaction that has records of this version."""
    gone: bool
    """The source has no table of this name any more: dropped, or renamed."""
    made_anew: bool = False
    """The table before was dropped, and this is another one of its name: nobody was told that its rows are gone."""
    captured: bool
    """False for a table that is published and that nobody has asked for."""
    identity: Literal["default", "full", "index", "nothing"]
    key: list[str]
    """The columns of the record key; none: all records have one key, and stand in one partition."""
    columns: list[SchemaColumn]
    added: list[str]
    """Compared with the version before, as are the following three."""
    dropped: list[str]
    retyped: list[str]
    key_changed: bool

    @property
    def name(self) -> str:
        """`schema.table`."""
        return f"{self.schema_}.{self.table}"


class RowRequest(Shape):
    """A target asks for one row to be read whole from the source."""

    target: str
    schema_: Annotated[str, Field(alias="schema")]
    table: str
    key: Row


class Step(Shape):
    """From a table to the one that it refers to."""

    schema_: Annotated[str, Field(alias="schema")]
    table: str
    columns: Annotated[dict[str, str], Field(min_length=1)]
    """Column of the table before, to the column here that it refers to."""


class TableRequest(Shape):
    """A target asks for rows of one table to be read whole from the source: for all of them when nothing is said."""

    target: str
    schema_: Annotated[str, Field(alias="schema")]
    table: str
    path: list[Step] = []
    """From the table over its parents to the one that `where` is about."""
    where: list[Row] = []
    """Rows whose parent (or who themselves, without a path) have all values of one of these."""
