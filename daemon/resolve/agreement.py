"""What has waited for a person, and does so no more, as both sides have come to have the same."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.resolve.conflict import Candidate, Conflict, Deletion, OpenConflict
from daemon.resolve.decision import Hub
from daemon.resolve.interval import UNKNOWN
from daemon.resolve.records import SpokeRecord
from daemon.resolve.rules import Winner
from daemon.resolve.values import digest


def settled(spoke: str, record: SpokeRecord, conflict: OpenConflict) -> OpenConflict:
    """Without candidates in fields that a write of ours has given the spoke, or has found equal there.

    Whatever the hub has by now was made on top of that.
    """
    if record.row is None or record.mark is None:
        return conflict
    return conflict.with_row(spoke, dict.fromkeys((*record.mark.sent, *record.mark.agreed)))


def closed(spoke: str, record: SpokeRecord, hub: Hub, after: OpenConflict) -> tuple[Conflict, ...]:
    """What of a spoke has waited before this record and does not any more, to be listed."""
    return tuple(_closed(spoke, record, hub, after))


def _closed(spoke: str, record: SpokeRecord, hub: Hub, after: OpenConflict) -> Iterator[Conflict]:
    if (record.row is None) != (hub.row is None) or spoke in after.deletions:
        return
    if (deletion := hub.conflict.deletions.get(spoke)) is not None:
        yield _of_deletion(deletion, hub)
    left = {name: one for name, one in hub.conflict.of(spoke).items() if name not in after.of(spoke)}
    if left and hub.row is None:
        yield _of_row(left, hub)
    elif left:
        yield from (_of_field(name, one, record, hub) for name, one in left.items())


def _of_field(name: str, waited: Candidate, record: SpokeRecord, hub: Hub) -> Conflict:
    """`won` tells who has come to the other's value: theirs where the hub has."""
    mark, ours = record.mark, hub.state.fields.get(name)
    gave_in = mark is not None and mark.agreed.get(name) == digest(waited.value)
    won: Winner = "theirs" if gave_in else "ours"
    value = waited.value if gave_in else (hub.row or {}).get(name)  # by now the hub may have moved on
    time = UNKNOWN if ours is None else ours.time
    return Conflict("update_origin_differs", name, "manual", "agreed", won, value, waited.value, time, waited.time)


def _of_row(left: dict[str, Candidate], hub: Hub) -> Conflict:
    """The hub has deleted it, and now the spoke has too."""
    theirs, time = {name: one.value for name, one in left.items()}, UNKNOWN
    for one in left.values():
        time = one.time.or_later(time)
    return Conflict("update_deleted", None, "manual", "agreed", "ours", None, theirs, hub.state.time, time)


def _of_deletion(waited: Deletion, hub: Hub) -> Conflict:
    """Both have deleted the row, or the spoke has it again."""
    won: Winner = "theirs" if hub.row is None else "ours"
    ours = None if hub.row is None else dict(hub.row)
    return Conflict("delete_origin_differs", None, "manual", "agreed", won, ours, None, hub.state.time, waited.time)
