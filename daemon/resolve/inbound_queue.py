"""Records of one key that have waited at the hub, which refused one of them, judged together (trace 17).

Each is judged as ever, over what those before it would have made of the row. Only what they come to is written: a value
that was refused and corrected since never gets there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from daemon.resolve.conflict import Conflict, OpenConflict
from daemon.resolve.decision import Decision, Drop, Hub, Outcome, Wait, Written, known, settle, stored
from daemon.resolve.inbound import receive
from daemon.resolve.records import Answer, SpokeRecord
from daemon.resolve.rules import Rules
from daemon.resolve.state import Link, Pending, RowState
from daemon.resolve.values import Row, digest


@dataclass(frozen=True, slots=True)
class Queue:
    """To be done in one hub transaction: write `values` by `action`, then store what `settle_queue` makes of it.

    `row`, `state`, `link` and `conflict` are as the last record would leave them, if the hub stored exactly what it was
    given.
    """

    hub: Hub
    decisions: tuple[tuple[Decision, Link], ...]
    """Each with the link before it."""
    row: Row | None
    state: RowState
    link: Link
    conflict: OpenConflict
    each: tuple[Decision | None, ...]
    """By record; None: it was taken before."""

    @property
    def action(self) -> Literal["none", "create", "update", "delete"]:
        if self.row is None:
            return "none" if self.hub.row is None else "delete"
        return "create" if self.hub.row is None else "update" if self.values else "none"

    @property
    def values(self) -> Row:
        before = self.hub.row or {}
        return {
            name: value
            for name, value in (self.row or {}).items()
            if name not in before or digest(value) != digest(before[name])
        }

    @property
    def conflicts(self) -> list[tuple[Conflict, Link]]:
        return [(conflict, link) for decision, link in self.decisions for conflict in decision.conflicts]


def receive_queue(
    spoke: str, records: Sequence[SpokeRecord], hub: Hub, link: Link, rules: Rules, pending: Pending
) -> Drop | Wait | Queue:
    """Judge records of one key, in their order."""
    now, told = hub, link
    decisions: list[tuple[Decision, Link]] = []
    each: list[Decision | None] = []
    for record in records:
        match receive(spoke, record, now, told, rules):
            case Wait():
                return Wait()
            case Drop():
                each.append(None)
            case Decision() as found:
                each.append(found)
                row = _after(found, now.row)
                outcome = settle(spoke, found, now, Written(row, pending))
                decisions.append((found, told))
                now = replace(now, row=row, state=outcome.state, conflict=outcome.conflict)
                told = outcome.link
    if not decisions:
        return Drop()
    return Queue(hub, tuple(decisions), now.row, now.state, told, now.conflict, tuple(each))


def settle_queue(spoke: str, queue: Queue, written: Written) -> Outcome:
    """Once the hub has stored what they come to, with whatever its triggers made of it. The answer tells the observer
    which position is meant, also where nothing was written in the end."""
    state, link = queue.state, queue.link
    if queue.action in ("create", "update"):
        row = written.row or {}
        names = row.keys() if queue.action == "create" else queue.values.keys() & row.keys()
        fields = stored(state.fields, written, names, state.time)
        made = dict.fromkeys(fields.keys() - state.fields.keys(), written.pending)
        state, link = replace(state, fields=fields), replace(link, seen={**link.seen, **made})
    if queue.action in ("none", "update"):
        state, link = _same_row(queue.hub.state, state, link, written.pending)
    renewed = {
        name
        for decision, _ in queue.decisions
        for name, verdict in decision.verdicts.items()
        if verdict.kind in ("taken", "merged")
    }
    answer = Answer(written.row, {spoke: known(link, queue.conflict, spoke)}, frozenset(renewed), spoke)
    return Outcome(state, link, queue.conflict, answer)


def _same_row(before: RowState, state: RowState, link: Link, pending: Pending) -> tuple[RowState, Link]:
    """What was deleted and made again in between, or made and deleted again, is to others what it was: no event of the
    hub's tells them of another life. Its time stays that of the last of it."""
    if state.rver != pending:
        return state, link
    row_seen = before.rver if link.row_seen == pending else link.row_seen
    return replace(state, rver=before.rver), replace(link, row_seen=row_seen)


def _after(decision: Decision, row: Row | None) -> Row | None:
    match decision.action:
        case "none":
            return row
        case "delete":
            return None
        case "create":
            return dict(decision.values)
        case "update":
            return {**(row or {}), **decision.values}
