"""What our own open transaction has made of a hub's row beside what it was to write: its triggers, and foreign keys.

The observer never sees that before the transaction ends, so nobody can wait for it. It is known from what all others
see of the row, which we have locked: they have made that, and the rest is ours.
"""

from __future__ import annotations

from dataclasses import replace

from daemon.resolve.decision import Hub
from daemon.resolve.interval import UNKNOWN, Interval
from daemon.resolve.state import FieldState, Link, Pending, RowState, latest
from daemon.resolve.values import Row, digest
from schemas.position import START


def absorbed(hub: Hub, others: Row | None, pending: Pending, time: Interval) -> Hub:
    """The hub with its state as the observer will make it of our transaction: a machine's change keeps version and
    time (`observer.observe`). `others` is the row as all others see it, `time` that of what the spoke says: a row that
    we have deleted on the way is gone since then. A row that we have made on the way is as new as nobody knows.

    What others have done besides is left: that has to be observed.
    """
    state, row = hub.state, hub.row
    if row is None:
        gone = state.alive and (others is not None or state.rver == pending)
        if not gone or any(not _unchanged_by(others, name, one, pending) for name, one in state.fields.items()):
            return hub
        return replace(hub, state=_removed(state, others or {}, pending, time))
    if not state.alive:
        made = others is None or state.rver == pending
        return replace(hub, state=_made(state, row, pending)) if made else hub
    changed = {
        name: replace(known, digest=digest(value), pos=pending)
        for name, value in row.items()
        if (known := state.fields.get(name)) is not None
        and known.digest != digest(value)
        and _unchanged_by(others, name, known, pending)
    }
    return replace(hub, state=replace(state, fields={**state.fields, **changed})) if changed else hub


def unseen(link: Link, before: Hub, after: Hub, pending: Pending) -> Link:
    """What is known of the spoke's row, where our own triggers have since taken away, or made, the row that we had made
    or deleted for it in this transaction: of that it has not heard."""
    if before.state.rver == pending == link.row_seen and before.state.alive != after.state.alive:
        return replace(link, row_seen=START)
    return link


def _unchanged_by(others: Row | None, name: str, known: FieldState, pending: Pending) -> bool:
    """What we have written in this transaction nobody can have changed since; a row without the field tells nothing."""
    return known.pos == pending or others is None or name not in others or digest(others[name]) == known.digest


def _removed(state: RowState, values: Row, pending: Pending, time: Interval) -> RowState:
    """Of fields that we have changed before that, nobody knows the values any more."""
    values = {
        name: value
        for name, value in values.items()
        if (known := state.fields.get(name)) is not None and known.digest == digest(value)
    }
    return replace(state, alive=False, rver=pending, time=latest(state, time), values=values, erased=False)


def _made(state: RowState, row: Row, pending: Pending) -> RowState:
    fields = {name: FieldState(digest(value), pending, pending, UNKNOWN) for name, value in row.items()}
    return RowState(alive=True, rver=pending, time=UNKNOWN.or_later(state.time), fields=fields)
