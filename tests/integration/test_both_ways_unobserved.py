"""What the hub's own stream has not shown yet is neither lost nor comes back: of columns that are new, and of rows that
are erased meanwhile."""

from __future__ import annotations

import uuid
from threading import Event

import pytest

from connectors.postgres.two_way.inward import HubRows
from tests.fix_linked import Linked
from tests.people import a_teller, a_workspace, put, seen, value
from tests.waiting import until


def with_new_column(linked: Linked) -> uuid.UUID:
    """A row that was there before the column."""
    linked.init()
    with linked.running():
        key = a_teller(linked, linked.spoke, a_workspace(linked), name="one")
        linked.rest()
    for connection in (linked.hub, linked.spoke):
        connection.execute("ALTER TABLE storytellers ADD COLUMN nick text")
    linked.init()
    return key


@pytest.mark.parametrize("change", ["edit", "deletion"])
def test_an_edit_of_a_new_column_that_was_not_observed_meets_that_of_a_spoke_as_a_conflict(
    linked: Linked, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, tried, settled = with_new_column(linked), Event(), HubRows.plan

    def plan(self: HubRows, *events: object, **how: bool) -> object:
        try:
            return settled(self, *events, **how)  # type: ignore[arg-type]
        finally:
            tried.set()

    put(linked.hub, "storytellers", key, nick="of the hub")
    monkeypatch.setattr(HubRows, "plan", plan)
    with linked.running(f"capture:{linked.spoke_name}", f"apply:{linked.hub_target}"):
        if change == "edit":
            put(linked.spoke, "storytellers", key, nick="of the spoke")
        else:
            linked.spoke.execute("DELETE FROM storytellers WHERE id = %s", [key])
        assert tried.wait(15)
    with linked.running():
        linked.rest()
    query = "SELECT kind FROM placemat.conflict_log WHERE key = %s"
    kinds = linked.hub.execute(query, [f'{{"id":"{key}"}}']).fetchall()
    assert kinds == [("update_origin_differs" if change == "edit" else "delete_origin_differs",)]


def test_the_first_value_of_a_new_column_comes_to_the_spoke(linked: Linked) -> None:
    key = with_new_column(linked)
    with linked.running():
        put(linked.hub, "storytellers", key, nick="of the hub")
        until(lambda: value(linked.spoke, "storytellers", "nick", key) == "of the hub")


@pytest.mark.parametrize("side", ["hub", "spoke"])
def test_a_new_column_that_is_empty_is_no_edit_of_who_changes_another_field(linked: Linked, side: str) -> None:
    key = with_new_column(linked)
    filled, other = (linked.hub, linked.spoke) if side == "hub" else (linked.spoke, linked.hub)
    with linked.running():
        linked.rest()
        with linked.held():
            put(filled, "storytellers", key, nick="of the first")
            put(other, "storytellers", key, name="two")
        linked.rest()
    for connection in (linked.hub, linked.spoke):
        assert value(connection, "storytellers", "nick", key) == "of the first"
        assert value(connection, "storytellers", "name", key) == "two"
    assert linked.hub.execute("SELECT FROM placemat.conflict_log").fetchall() == []


def test_what_is_erased_before_the_hubs_own_stream_shows_its_deletion_stays_erased(linked: Linked) -> None:
    linked.init()
    with linked.running():
        key = a_teller(linked, linked.spoke, a_workspace(linked), name="SECRET")
        linked.rest()
        linked.check_audited_once()
    query = "SELECT state FROM placemat.hub_rows WHERE key = %s"
    asked = "audit", "erase", "storytellers", str(key), "--source", linked.site.source, "--reason", "she asked"
    with linked.running(f"capture:{linked.spoke_name}", f"apply:{linked.hub_target}", f"audit:{linked.hub_target}"):
        linked.spoke.execute("DELETE FROM storytellers WHERE id = %s", [key])
        until(lambda: not seen(linked.hub, "storytellers", key))
        assert linked.site.placemat(*asked).code == 0
    with linked.running():
        linked.rest()
    [(state,)] = linked.hub.execute(query, [f'{{"id":"{key}"}}']).fetchall()
    assert "SECRET" not in state
    assert '"erased":true' in state
