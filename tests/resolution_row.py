"""A world with one row, which all sides have."""

from __future__ import annotations

from daemon.resolve.rules import FieldRule, Rules
from daemon.resolve.values import Value
from tests.resolution_sites import SECOND
from tests.resolution_world import World

COLUMNS = ("name", "note", "tags")


def world(**rules: FieldRule) -> World:
    """A hub and two spokes that agree on one row."""
    made = World(("ledger", "archive"), COLUMNS, Rules(rules, skew=2 * SECOND))
    made.edit("hub", "1", name="base", note="base", tags=[])
    made.settle()
    made.pass_time(60)
    return made


def assert_everywhere(at: World, **values: Value) -> None:
    for site, row in at.rows("1").items():
        assert row is not None, site
        assert {name: row[name] for name in values} == values, site


def assert_nowhere(at: World) -> None:
    assert all(row is None for row in at.rows("1").values())
