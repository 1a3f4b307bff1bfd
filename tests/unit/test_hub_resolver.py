"""What the hub's sink is told of a spoke's changes."""

from __future__ import annotations

from daemon.resolve import wire
from daemon.resolve.inward import HubResolver
from daemon.resolve.rules import Rules
from daemon.resolve.state import Link
from schemas.position import START, Position
from schemas.resolution import AtHub, RowChange


def test_each_of_several_changes_that_were_taken_before_is_dropped() -> None:
    link = wire.write_link(Link(at=Position(1, 100, 0)))
    changes = [RowChange(Position(1, at, 0), "u", {"id": "1"}, {}, 5) for at in (10, 20, 30)]
    hub = AtHub(None, None, link, None, Position(1, 200, 0), START)
    planned = HubResolver("s", {"t": Rules()}).judge("t", changes, hub, "m")
    assert planned is not None
    assert (planned.outcome, planned.each) == ("dropped", [("dropped", 0)] * 3)
