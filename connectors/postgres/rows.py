"""Change events as the sink reads them, and what many of them come to for each key. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import msgspec

from connectors.contract import Record
from connectors.postgres.literals import JSON_NULL

Columns = Mapping[str, msgspec.Raw]
"""Column name to raw JSON."""

WITHHELD = b"\0"
"""Stands before a value that is masked already."""


class Notice(msgspec.Struct):
    """What is known of an event of a table that goes both ways beside its content; it waits with that, if it has to.

    `at` is its position, `ts_us` the time of the change; `origin` is the first message of a transaction of ours, and
    `note` what was said of the row in it.
    """

    at: tuple[int, int, int]
    ts_us: int | None = None
    origin: msgspec.Raw = msgspec.Raw()
    note: msgspec.Raw = msgspec.Raw()


class Change(msgspec.Struct):
    """The part of an envelope that the sink needs; the rest is passed over."""

    op: str
    after: dict[str, msgspec.Raw] | None = None
    unchanged: list[str] | None = None
    json_null: list[str] | None = None
    json_text: list[str] | None = None
    moved_from: msgspec.Raw = msgspec.Raw()
    moved_to: msgspec.Raw = msgspec.Raw()
    oversize: int | None = None
    withheld: list[str] | None = None
    """Columns of an event that waits in the target: masked already where `after` has them, else left out of it."""
    untold: bool = False
    """Whether its row passes the route's condition is not told by what it holds; no envelope says so."""
    notice: Notice | None = None
    """Of a table that goes both ways; no envelope says so."""

    @property
    def complete(self) -> bool:
        """Whether it holds the whole row."""
        return self.after is not None and not self.unchanged


class Event(NamedTuple):
    """A record with its table (`schema.table`) and its content."""

    table: str
    record: Record
    change: Change

    @property
    def key(self) -> bytes:
        return self.record.key


@dataclass(slots=True)
class Net:
    """What is to be done to one key: write a whole row, set the columns that are known, or delete.

    On a table that goes both ways: insert a row that is not there, set columns, delete what nothing would go with.
    """

    kind: Literal["upsert", "update", "delete", "add", "change", "remove"]
    columns: Columns


class CannotFold(Exception):
    """Two events of a key do not come to one: they have to be written one after the other."""


_decode_change = msgspec.json.Decoder(Change).decode
_decode_string = msgspec.json.Decoder(str).decode
decode_key = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_NOTHING: Columns = {}


def decode_change(value: bytes) -> Change:
    """Read an envelope.

    A column named in `json_null` holds JSON's null, which is not SQL's NULL; one in `json_text`, JSON as a string.
    """
    change = _decode_change(value)
    if change.json_null and change.after is not None:
        change.after |= dict.fromkeys(change.json_null, JSON_NULL)
    if change.json_text and change.after is not None:
        change.after |= {name: msgspec.Raw(_decode_string(change.after[name])) for name in change.json_text}
    if change.withheld and change.after is not None:
        change.after |= {
            n: msgspec.Raw(WITHHELD + bytes(change.after[n])) for n in change.withheld if n in change.after
        }
    return change


def fold(events: Iterable[Event]) -> dict[str, dict[bytes, Net]]:
    """The net effect by table and key, of inserts, updates, deletes and snapshot rows in order.

    Raises CannotFold for a part of a row that follows its deletion, or whose place is not told.
    """
    tables: dict[str, dict[bytes, Net]] = {}
    for table, record, change in events:
        nets = tables.get(table)
        if nets is None:
            nets = tables[table] = {}
        after = change.after
        if after is None:
            nets[record.key] = Net("delete", _NOTHING)
        elif change.untold:
            raise CannotFold
        elif not change.unchanged:
            nets[record.key] = Net("upsert", after)
        else:
            known = nets.get(record.key)
            if known is None:
                nets[record.key] = Net("update", after)
            elif known.kind == "delete":
                raise CannotFold
            else:
                columns = {**known.columns, **after}
                whole = known.kind == "upsert" or columns.keys() >= set(change.unchanged)
                nets[record.key] = Net("upsert" if whole else "update", columns)
    return tables


def rounds_of(events: Sequence[Event]) -> list[list[Event]]:
    """The first event of each key, then the second of each, and so on."""
    met: Counter[tuple[str, bytes]] = Counter()
    rounds: list[list[Event]] = []
    for event in events:
        key = event.table, event.key
        if met[key] == len(rounds):
            rounds.append([])
        rounds[met[key]].append(event)
        met[key] += 1
    return rounds
