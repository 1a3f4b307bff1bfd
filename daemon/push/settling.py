"""What is stored once a service has answered, or once it is known that there is nothing to ask for. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from connectors.pushing import Due, Linked, Seen, Told
from connectors.service import Remote
from daemon.push.plan import Step, taken_away, written
from daemon.resolve import intent, outbound, wire
from daemon.resolve.backlog import write_backlog
from schemas.resolution import Fields, ReadEntry

Details = Mapping[str, Any]


def one_way(due: Due, step: Step, remote: Remote | None, details: Details) -> Told:
    """Of a row that goes one way. `remote` is the record that was written, None where none is left."""
    if step.operation is None:
        return Told(due, due.linked, "agreed", details)
    if step.operation == "delete" or remote is None:
        return Told(due, taken_away(due.linked), "deleted", details)
    return Told(due, written(due.linked, step.values, remote.id, remote.version), "applied", details)


def both_ways(
    spoke: str, due: Due, step: Step, remote: Remote | None, response: Fields | None, details: Details,
    unsure: Collection[str] = (),
) -> Told:  # fmt: skip
    """Of a row that goes both ways. `response` is the row as the service has answered; where nothing was asked for, as
    it was read. What its stream is told is the same that a spoke's database tells."""
    cleared = write_backlog(spoke, None, alive=due.wanted is not None)
    if step.two_way is None:
        return Told(due, due.linked, "agreed", details, backlog=cleared)
    plan, side = step.two_way.plan, wire.read_side(due.linked.side)
    after, mark = outbound.settle(plan, side, response)
    linked = Linked(
        remote.id if remote is not None else due.linked.remote_id,
        remote.version if remote is not None else due.linked.version,
        {}, wire.write_side(after), alive=response is not None,
    )  # fmt: skip
    seen = None
    if mark is not None:
        row = intent.told(step.two_way, response)
        seen = Seen(
            None if row is None else wire.texts(row), mark=wire.write_mark(*due.lease.key, mark, sorted(unsure))
        )
    return Told(due, linked, _outcome(step), details, seen, cleared)


def _outcome(step: Step) -> str:
    assert step.two_way is not None, "of a row that goes both ways"
    plan = step.two_way.plan
    if plan.held and plan.action != "hold":
        return "partly_held"
    return {"skip": "dropped", "hold": "held", "born": "agreed", "agree": "agreed", "delete": "deleted"}.get(
        plan.action, "applied"
    )


def report(
    due: Due, remote: Remote | None, row: Fields | None, now: int, held: Collection[str], unsure: Collection[str] = ()
) -> Seen:
    """A row as it was read, told because something of it is held back until the hub has answered."""
    latest = now if remote is None else min(now, remote.latest)
    entry = ReadEntry(
        *due.lease.key, since=due.read_at, latest=latest, read=now, gone=row is None, report=sorted(held),
        unsure=sorted(unsure),
    )  # fmt: skip
    author = None if remote is None else remote.author
    return Seen(row, read=msgspec.json.encode(entry).decode(), author=author)
