"""Rows that a spoke deletes, and rows that the hub has deleted and a spoke has changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from daemon.resolve.conflict import Conflict, Deletion, Resolution
from daemon.resolve.decision import Decision, Hub
from daemon.resolve.interval import UNKNOWN, Interval
from daemon.resolve.records import SpokeRecord
from daemon.resolve.rules import Rules, Winner
from daemon.resolve.state import FieldState, Link, RowState, contains
from daemon.resolve.verdict import Verdict, candidates


def delete(spoke: str, record: SpokeRecord, hub: Hub, link: Link, rules: Rules) -> Decision:
    """Step "inbound 7", and for a marked deletion "inbound 3". `link` is that after the record."""
    conflict = hub.conflict.with_deletion(spoke, None)
    if record.mark is not None:
        return Decision("none", {}, {}, link, conflict, answer=hub.row is not None)
    if hub.row is None:
        return Decision("none", {}, {}, link, conflict, row_time=record.time, agreed_row=True, answer=True)
    unseen = _unseen(hub.state, link)
    newer_row = not contains(link.row_seen, hub.state.rver)
    latest = _latest(unseen, hub.state.time if newer_row else UNKNOWN)
    if _for_a_person(spoke, hub, unseen, rules):
        listed = _listed(record, hub, unseen, latest, "manual", None)
        waiting = hub.conflict.with_deletion(spoke, Deletion(record.time))
        return Decision("none", {}, {}, link, waiting, (listed,))
    if not unseen and not newer_row:
        return _deleted(record, link, Decision("delete", {}, {}, link, conflict))
    if record.time.after(latest, rules.skew):
        listed = _listed(record, hub, unseen, latest, "last_update_wins", "theirs")
        return _deleted(record, link, Decision("delete", {}, {}, link, conflict, (listed,)))
    surely: Resolution = "last_update_wins" if latest.after(record.time, rules.skew) else "keep_local"
    listed = _listed(record, hub, unseen, latest, surely, "ours")
    return Decision("none", {}, {}, link, conflict, (listed,), answer=True)


def _deleted(record: SpokeRecord, link: Link, decision: Decision) -> Decision:
    return replace(decision, row_time=record.time, answer=True, link=link)


def _unseen(state: RowState, link: Link) -> dict[str, FieldState]:
    return {name: one for name, one in state.fields.items() if not link.has_seen(name, one)}


def _for_a_person(spoke: str, hub: Hub, unseen: Mapping[str, FieldState], rules: Rules) -> bool:
    """A field that is manual, or another spoke's candidate."""
    return any(rules.of(name).rule == "manual" for name in unseen) or bool(hub.conflict.spokes - {spoke})


def _latest(unseen: Mapping[str, FieldState], time: Interval) -> Interval:
    for one in unseen.values():
        time = time.or_later(one.time)
    return time


def _listed(
    record: SpokeRecord, hub: Hub, unseen: Mapping[str, FieldState], latest: Interval, resolution: Resolution,
    won: Winner | None,
) -> Conflict:  # fmt: skip
    row = hub.row or {}
    ours = {name: row[name] for name in unseen if name in row} or dict(row)
    return Conflict("delete_origin_differs", None, "latest", resolution, won, ours, None, latest, record.time)


def of_erased_life(state: RowState, link: Link) -> bool:
    """Whether an edit is one of a row whose values the hub has erased, and not of one that was made there since. `link`
    is that before it."""
    return state.erased and link.shadow is not None and not contains(link.row_seen, state.rver)


def stays_erased(record: SpokeRecord, hub: Hub, link: Link) -> Decision:
    """What was erased is not brought back, however late the edit: it is listed without values. `link` is that after."""
    listed = Conflict("update_deleted", None, "hub", "keep_local", "ours", None, None, hub.state.time, record.time)
    return Decision("none", {}, {}, link, hub.conflict, (listed,), answer=True)


def recreate(
    spoke: str, record: SpokeRecord, hub: Hub, link: Link, verdicts: Mapping[str, Verdict], rules: Rules
) -> Decision:
    """Step "inbound 8": an edit in a spoke to a row that the hub has deleted, or never had. `link` is that after it."""
    state = hub.state
    told = {name: value for name, value in (record.row or {}).items() if not rules.of(name).outward}
    theirs = {name: value for name, value in told.items() if name in verdicts}
    wins = record.time.after(state.time, rules.skew)
    listed: tuple[Conflict, ...] = ()
    if not contains(link.row_seen, state.rver):
        surely = wins or state.time.after(record.time, rules.skew)
        resolution: Resolution = "last_update_wins" if surely else "keep_local"
        won: Winner = "theirs" if wins else "ours"
        listed = (Conflict("update_deleted", None, "latest", resolution, won, None, theirs, state.time, record.time),)
        if not wins:
            return Decision("none", {}, {}, link, hub.conflict, listed, answer=True)
    written = {name: one.value for name, one in verdicts.items() if one.writes}
    return Decision(
        "create",
        {**told, **state.values, **written},
        verdicts,
        link,
        hub.conflict.with_row(spoke, candidates(verdicts, link)),
        listed + tuple(one.conflict for one in verdicts.values() if one.conflict),
        row_time=record.time,
        answer=True,
    )
