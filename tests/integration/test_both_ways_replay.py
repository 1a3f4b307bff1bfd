"""A replay into a spoke: its rows are what the hub has given, and what people did there meanwhile is not lost."""

from __future__ import annotations

import json
import uuid
from contextlib import closing

import pytest

from daemon.reconcile.waiting import conflicts_of
from daemon.recover.source import SourceRows
from tests.fix_linked import Linked
from tests.people import a_teller, a_workspace, put, seen, value


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


def test_a_replay_leaves_what_waits_for_a_person_as_the_spoke_has_it(linked: Linked) -> None:
    linked.route("storytellers", rule="manual", rules={"name": "latest"})
    linked.init()
    with linked.running():
        workspace = a_workspace(linked)
        edited, deleted = (a_teller(linked, linked.hub, workspace, name="given") for _ in range(2))
        with linked.held():
            for key in (edited, deleted):
                put(linked.hub, "storytellers", key, bio="ours")
            put(linked.spoke, "storytellers", edited, bio="theirs")
            linked.spoke.execute("DELETE FROM storytellers WHERE id = %s", [deleted])
        linked.rest()
    put(linked.spoke, "storytellers", edited, name="damaged")
    numbers = dict(linked.hub.execute("SELECT key::json ->> 'id', id FROM placemat.conflicts WHERE waits").fetchall())
    chosen = ("replay", "--target", linked.spoke_name, "--table", "public.storytellers", "--from", "beginning")
    done = linked.site.placemat(*chosen, "--json")
    assert done.code == 0, done.err
    *changes, report = map(json.loads, done.out.splitlines())
    assert [(one["key"]["id"], one["change"], one["fields"]) for one in changes] == [(str(edited), "update", ["name"])]
    [table] = report["tables"]
    assert (table["waits"], table["left"]) == (2, 0)
    assert {one["key"]["id"]: (one["conflict"], one["fields"]) for one in table["waiting"]} == {
        str(edited): (numbers[str(edited)], ["bio"]),
        str(deleted): (numbers[str(deleted)], []),
    }
    assert name(linked, edited) == ["given", "given"]
    assert value(linked.spoke, "storytellers", "bio", edited) == "theirs"
    assert not seen(linked.spoke, "storytellers", deleted)
    said = linked.site.placemat(*chosen, "--dry-run")
    assert (said.code, "2 waiting for a person" in said.out) == (0, True)
    assert f"bio left as it is (waits: conflict {numbers[str(edited)]})" in said.out
    with linked.running():
        linked.rest(60)
        taken = linked.site.placemat(
            "conflicts", "resolve", str(numbers[str(edited)]), "--take", linked.spoke_name, "--by", "ada"
        )
        assert taken.code == 0, taken.err
        linked.rest()
        assert [value(side, "storytellers", "bio", edited) for side in (linked.hub, linked.spoke)] == ["theirs"] * 2


def undecided(linked: Linked) -> uuid.UUID:
    """A row of which both sides have edited a field that a person has to decide about."""
    linked.route("storytellers", rule="manual", rules={"name": "latest"})
    linked.init()
    with linked.running():
        key = a_teller(linked, linked.hub, a_workspace(linked), name="given")
        with linked.held():
            put(linked.hub, "storytellers", key, bio="ours")
            put(linked.spoke, "storytellers", key, bio="theirs")
        linked.rest()
    return key


def test_a_replay_puts_back_a_row_that_is_gone_whole_though_a_field_of_it_waits(linked: Linked) -> None:
    key = undecided(linked)
    linked.spoke.execute("DELETE FROM storytellers WHERE id = %s", [key])
    chosen = ("--target", linked.spoke_name, "--table", "public.storytellers", "--from", "beginning")
    done = linked.site.placemat("replay", *chosen, "--json")
    assert done.code == 0, done.err
    *changes, report = map(json.loads, done.out.splitlines())
    assert [(one["key"]["id"], one["change"]) for one in changes] == [(str(key), "insert")]
    assert [(one["inserted"], one["waits"], one["left"]) for one in report["tables"]] == [(1, 0, 0)]
    assert value(linked.spoke, "storytellers", "bio", key) == "ours"


def test_a_row_of_which_a_field_waits_has_come_from_the_source_when_all_else_has(linked: Linked) -> None:
    key = undecided(linked)
    settings, name = linked.site.settings, linked.spoke_name
    with linked.running(), conflicts_of(settings, name) as conflicts:
        source = SourceRows(settings, name, 0, lambda: None, stall_seconds=5, conflicts=conflicts)
        with closing(source):
            assert source.take("public.storytellers", [b'{"id":"%s"}' % str(key).encode()]) == []
    assert value(linked.spoke, "storytellers", "bio", key) == "theirs"


def test_a_target_that_brings_changes_back_is_not_replayed_into(linked: Linked) -> None:
    linked.init()
    done = linked.site.placemat("replay", "--target", linked.hub_target, "--from", "2026-01-01T00:00:00Z")
    assert done.code == 2
    assert "each change was judged when it came" in done.err
