"""One entry of the audit log: what it says, and the hashes that tie it to its values and to the entry before. Pure."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Final, Literal, NamedTuple

import orjson

Kind = Literal["event", "change", "action"]
SALT_BYTES: Final = 16
GENESIS: Final = hashlib.sha256(b"placemat audit").digest()
"""Stands before the first entry."""
COLUMNS: Final = (
    "sequence", "month", "entered_at", "happened_at", "kind", "who", "source", "target", "entity", "key", "op",
    "fields", "masked", "position", "topic", "partition", "offset", "outcome", "rule", "conflict", "reason", "details",
    "values_hash", "previous", "hash",
)  # fmt: skip
"""Of `placemat.audit_entries`, in the order of `Entry`."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What an entry is to say. `content` are its values as JSON, which stand apart from the chain; None: it has none.

    `who` did it, `entity` is `schema.table`, `key` the record key, `op` that of the envelope, or an action's name.
    `fields` are the columns that changed, `masked` those whose values are not shown.
    """

    kind: Kind
    op: str
    outcome: str
    who: str
    happened_at: datetime | None = None
    source: str | None = None
    target: str | None = None
    entity: str | None = None
    key: str | None = None
    fields: Sequence[str] = ()
    masked: Sequence[str] = ()
    position: str | None = None
    topic: str | None = None
    partition: int | None = None
    offset: int | None = None
    rule: str | None = None
    conflict: str | None = None
    reason: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    content: str | None = None


class Head(NamedTuple):
    """The newest entry."""

    sequence: int
    hash: bytes
    entered_at: datetime


class Values(NamedTuple):
    """What stands apart from an entry."""

    salt: bytes
    content: str


class Entry(NamedTuple):
    """An entry as it is stored. `fields`, `masked` and `details` are JSON; without values, `values_hash` is None."""

    sequence: int
    month: date
    entered_at: datetime
    happened_at: datetime | None
    kind: str
    who: str
    source: str | None
    target: str | None
    entity: str | None
    key: str | None
    op: str
    fields: str
    masked: str
    position: str | None
    topic: str | None
    partition: int | None
    offset: int | None
    outcome: str
    rule: str | None
    conflict: str | None
    reason: str | None
    details: str
    values_hash: bytes | None
    previous: bytes
    hash: bytes

    def digest(self, sequence: int | None = None) -> bytes:
        """The hash that it should have; or would, with another number."""
        said = (
            self.sequence if sequence is None else sequence, _text(self.entered_at), _text(self.happened_at),
            *self[4:22], self.values_hash.hex() if self.values_hash is not None else None,
        )  # fmt: skip
        return hashlib.sha256(bytes(self.previous) + orjson.dumps(said)).digest()

    @property
    def title(self) -> str:
        """A few words that tell it from others."""
        what = " ".join(one for one in (self.op, self.entity, self.key) if one)
        return f"entry {self.sequence} ({_text(self.entered_at)}, {what})"


def chained(draft: Draft, head: Head, now: datetime) -> tuple[Entry, Values | None]:
    """The entry that follows, at this time or that of the one before, and its values with a salt of their own."""
    at = max(now, head.entered_at)
    values = Values(secrets.token_bytes(SALT_BYTES), draft.content) if draft.content is not None else None
    entry = Entry(
        head.sequence + 1, month_of(at), at, draft.happened_at, draft.kind, clean(draft.who), draft.source,
        draft.target, draft.entity, draft.key, draft.op, _json(list(draft.fields)), _json(list(draft.masked)),
        draft.position, draft.topic, draft.partition, draft.offset, draft.outcome, draft.rule, draft.conflict,
        clean(draft.reason) if draft.reason is not None else None, _json(draft.details),
        values_hash(values) if values is not None else None, head.hash, b"",
    )  # fmt: skip
    return entry._replace(hash=entry.digest()), values


def values_hash(values: Values) -> bytes:
    """Salted: from the hash nobody can try out which value it was, once the salt is erased."""
    return hashlib.sha256(bytes(values.salt) + values.content.encode()).digest()


def month_of(at: datetime) -> date:
    """First day of its month, in UTC."""
    return at.astimezone(UTC).date().replace(day=1)


def clean(text: str) -> str:
    """A text as PostgreSQL can hold it."""
    return text.encode("utf-8", "replace").decode().replace("\x00", "")


def _json(value: Any) -> str:
    return clean(orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode())


def _text(at: datetime | None) -> str | None:
    return at.astimezone(UTC).isoformat(timespec="microseconds") if at is not None else None
