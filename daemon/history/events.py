"""Change events as history needs them: values stay the JSON that they came as, digit for digit. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec
from confluent_kafka import Message

from schemas.position import Position

Values = Mapping[str, msgspec.Raw]
"""Column name to raw JSON."""

JSON_NULL = msgspec.Raw(b"null ")
"""JSON's null in a column of JSON, where a raw `null` is SQL's NULL. The space tells them apart."""
NULL = msgspec.Raw(b"null")


class Seen(NamedTuple):
    """A record of one table's topic."""

    partition: int
    offset: int
    position: Position
    key: bytes
    value: bytes


class _Source(msgspec.Struct):
    ts_ms: int
    snapshot: str = "false"


class Envelope(msgspec.Struct):
    """The part of an envelope that is looked at."""

    op: str
    source: _Source
    before: dict[str, msgspec.Raw] | None = None
    after: dict[str, msgspec.Raw] | None = None
    unchanged: list[str] | None = None
    json_null: list[str] | None = None
    json_text: list[str] | None = None
    moved_from: msgspec.Raw = msgspec.Raw()
    moved_to: msgspec.Raw = msgspec.Raw()
    oversize: int | None = None

    def told(self) -> Values:
        """The new row as far as it is told."""
        if self.after is None or self.oversize is not None:
            return {}
        return {**self.after, **dict.fromkeys(self.json_null or (), JSON_NULL)}

    def old(self, known: Values) -> Values:
        """The old row: what the event tells of it, over what is known. An event does not tell JSON's null from NULL in
        the old row; where that is known, it stays."""
        before = self.before or {}
        kept = {name for name, raw in before.items() if same(raw, NULL) and same(known.get(name), JSON_NULL)}
        return {**known, **{name: raw for name, raw in before.items() if name not in kept}}


decode = msgspec.json.Decoder(Envelope).decode


def seen(message: Message, position: Position) -> Seen:
    return Seen(message.partition() or 0, message.offset() or 0, position, message.key() or b"", message.value() or b"")


def same(one: msgspec.Raw | None, other: msgspec.Raw | None) -> bool:
    """Whether both are told, and are the same; one codec has written both."""
    return one is not None and other is not None and bytes(one) == bytes(other)


def plain(values: Iterable[tuple[str, msgspec.Raw]]) -> dict[str, Any]:
    """As Python has them; numbers with more digits than a float are cut."""
    return {name: msgspec.json.decode(raw) for name, raw in values}
