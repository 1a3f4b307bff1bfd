"""What people have done at the hub since its own stream was observed, where nobody can wait for that.

A large transaction of a spoke is written in parts, and while it is, the observer waits. People edit rows of the next
part meanwhile. They do so after the spoke's people did, who cannot have seen it: it counts as done at the same time,
and so stands, unless the rule says otherwise. None of this is stored. The observer comes to it, and finds it as it was.
"""

from __future__ import annotations

from dataclasses import replace

from daemon.resolve.decision import Hub
from daemon.resolve.interval import Interval
from daemon.resolve.state import FieldState, Link, Pending, latest
from daemon.resolve.values import digest

UNSEEN = Pending("not observed yet")
"""Seen by nobody."""


def unobserved(hub: Hub, link: Link, time: Interval) -> Hub:
    """The hub as it will be known, to decide by. `time` is that of the spoke's record, `link` is that before it. What
    both may have made apart is left: that has to be observed."""
    state, row = hub.state, hub.row
    if not state.alive:
        return hub
    if row is None:
        if link.shadow is None:
            return hub
        return replace(hub, state=replace(state, alive=False, rver=UNSEEN, time=latest(state, time)))
    known = {name: state.fields[name] for name in row if name in state.fields}
    edited = {
        name: FieldState(digest(value), UNSEEN, UNSEEN, time.or_later(known[name].time) if name in known else time)
        for name, value in row.items()
        if (known[name].digest != digest(value) if name in known else value is not None)
    }
    return replace(hub, state=replace(state, fields={**state.fields, **edited})) if edited else hub
