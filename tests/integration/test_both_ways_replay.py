"""A replay into a spoke: its rows are what the hub has given, and what people did there meanwhile is not lost."""

from __future__ import annotations

import uuid

import pytest

from tests.fix_linked import Linked
from tests.people import a_teller, a_workspace, value


def name(linked: Linked, key: uuid.UUID) -> list[object]:
    return [value(connection, "storytellers", "name", key) for connection in (linked.hub, linked.spoke)]


@pytest.mark.parametrize(
    ("edit", "meanwhile", "in_the_end"),
    [
        ("UPDATE storytellers SET name = 'edited'", "given", "edited"),
        ("DELETE FROM storytellers", "given", None),
    ],
)
def test_a_replay_puts_a_row_back_and_an_edit_that_was_under_way_comes_through(
    linked: Linked, edit: str, meanwhile: str, in_the_end: str | None
) -> None:
    linked.init()
    with linked.running():
        key = a_teller(linked, linked.hub, a_workspace(linked), name="given")
    linked.spoke.execute(edit.encode())
    chosen = ("--target", linked.spoke_name, "--table", "public.storytellers", "--key", str(key))
    done = linked.site.placemat("replay", *chosen)
    assert done.code == 0, done.err
    assert name(linked, key) == ["given", meanwhile]
    with linked.running():
        linked.rest(60)
        assert name(linked, key) == [in_the_end, in_the_end]
        linked.hub.execute("UPDATE workspaces SET name = 'goes on'")
        linked.rest()


def test_a_target_that_brings_changes_back_is_not_replayed_into(linked: Linked) -> None:
    linked.init()
    done = linked.site.placemat("replay", "--target", linked.hub_target, "--from", "2026-01-01T00:00:00Z")
    assert done.code == 2
    assert "each change was judged when it came" in done.err
