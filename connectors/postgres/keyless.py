"""Events that were logged while their table had no key, or another one, under the key that it has by now. Pure.

Without a key their records have none, and what is logged of a change is the whole row, before and after it, or an
insert.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from connectors.errors import TableUnfit
from connectors.postgres.rows import Change, Columns, Event


class _Before(msgspec.Struct):
    before: dict[str, msgspec.Raw] | None = None


_decode_before = msgspec.json.Decoder(_Before).decode


def keyed(event: Event, key: Sequence[str]) -> list[Event]:
    """The event by the columns of `key`, two if it changed them; none where it holds no row for its size, or one whose
    key is null: none that is left when the table has its key.

    Raises TableUnfit where it does not tell which row was deleted.
    """
    change = event.change
    before = _decode_before(event.record.value).before or {}
    if change.oversize is not None:
        return []  # the table is asked for whole: there it comes under its key
    if change.after is None and not (key and before.keys() >= set(key)):
        raise TableUnfit(
            event.table,
            f"{event.table} had no key in the source, and a change of that time does not tell which row it was.",
            "Take it out of the target's routes, empty it there, and route it again: then all of it is copied.",
        )
    old, new = _key(before, key), _key(change.after or {}, key)
    if not new:
        return [_under(old, event, Change("d"))] if old else []
    if old in (b"", new):
        return [_under(new, event, change)]
    moved = Change(change.op, change.after, change.unchanged, moved_from=msgspec.Raw(old))
    return [_under(old, event, Change("d", moved_to=msgspec.Raw(new))), _under(new, event, moved)]


def rekeyed(event: Event, key: Sequence[str]) -> list[Event]:
    """An event under another key by the columns of `key`; none of what is a part of a move under the other one.

    Where it does not tell what those held before, the last one is without a key: any row of the table may be gone, and
    all are to be asked for.
    """
    change = msgspec.structs.replace(event.change, moved_from=msgspec.Raw(), moved_to=msgspec.Raw())
    old, new = _key(_decode_before(event.record.value).before or {}, key), _key(change.after or {}, key)
    alters = change.op in ("u", "d") or bool(event.change.moved_from)
    untold = [_under(b"", event, Change("d"))] if alters and not old else []
    if new:
        left = [_under(old, event, Change("d"))] if old not in (b"", new) else []
        return [*left, _under(new, event, change), *untold]
    if event.change.moved_to:
        return []
    return [_under(old, event, change)] if old and change.oversize is None else untold


def _key(row: Columns, key: Sequence[str]) -> bytes:
    """As records have it; empty where the row lacks a part of it."""
    cells = [bytes(row.get(name, b"null")) for name in key]
    if not cells or b"null" in cells:
        return b""
    return b"{%b}" % b",".join(
        b"%b:%b" % (msgspec.json.encode(name), cell) for name, cell in zip(key, cells, strict=True)
    )


def _under(key: bytes, event: Event, change: Change) -> Event:
    return Event(event.table, event.record._replace(key=key), change)
