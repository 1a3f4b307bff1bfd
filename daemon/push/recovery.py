"""What is to be done about a request that somebody was about to make, and of which nobody knows what came. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from connectors.pushing import Due, Intent
from connectors.service import Remote
from daemon.push.plan import Step, found_as, read_step, taken_away
from daemon.resolve.intent import recover
from schemas.resolution import Fields

LANDED_SECONDS = 90.0
"""After so long since its intent, a request that nobody has seen the answer of was carried out, or never will be: none
begins later than 15 seconds after it, and nobody waits for its answer for longer than 60."""


@dataclass(frozen=True, slots=True)
class Later:
    """It may still arrive: look again before anything is sent."""


@dataclass(frozen=True, slots=True)
class Anew:
    """It was not carried out, or it makes no difference: plan again by what is known now. `unsure` are fields that
    somebody has changed, nobody can tell who; the hub is told of them."""

    due: Due
    unsure: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Was:
    """It was carried out: store it as if it had just been answered. `unsure` as above."""

    due: Due
    step: Step
    unsure: frozenset[str]


def recovered(
    due: Due, open_: Intent, remote: Remote | None, current: Fields | None, trashed: str | None = None
) -> Later | Anew | Was:
    """`remote` is the record as it is now (None: there is none, or it is in the trash), `current` what it shows;
    `trashed` is the record's id where it was found in the trash.

    Of a row that goes one way only the hub counts: what the record shows counts as written. Of one that goes both ways
    it is step "recovery" of the resolution protocol.
    """
    made = open_.operation == "create" and open_.remote_id is None and remote is not None
    if open_.age < LANDED_SECONDS and not made:
        return Later()
    step, closed = read_step(open_), replace(due, intent=None)
    if step.two_way is None:
        known = trashed or open_.remote_id or due.linked.remote_id
        linked = taken_away(replace(due.linked, remote_id=known))
        if remote is not None and current is not None:
            linked = found_as(due.linked, current, remote.id, remote.version)
        return Anew(replace(closed, linked=linked))
    found = recover(step.two_way, current)
    if found.kind == "done":
        return Was(_as_intended(due, open_), step, found.unsure)
    return Anew(closed, found.unsure)


def _as_intended(due: Due, open_: Intent) -> Due:
    """What the hub has said since is no part of the request: the key stays queued with it, and with its events."""
    if due.lease.changes == open_.changes:
        return due
    return replace(due, lease=replace(due.lease, changes=open_.changes), backlog=None, events=())
