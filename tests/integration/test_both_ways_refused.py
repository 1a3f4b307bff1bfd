"""What the hub's own constraints keep out of what a spoke says: it waits, alone, and is taken once it is corrected."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pytest

from connectors.postgres.two_way.changes import Key
from connectors.postgres.two_way.inward import HubRows
from schemas.resolution import RowChange
from tests.asking import ask
from tests.fix_linked import Linked
from tests.people import TELLER, a_teller, made, put, seen, value
from tests.waiting import until


def prepare(linked: Linked) -> None:
    linked.hub.execute("ALTER TABLE storytellers ADD CONSTRAINT welcome CHECK (name <> 'not welcome')")


def parked(both: Linked) -> list[tuple[Any, ...]]:
    """Tables and SQLSTATEs."""
    return both.hub.execute("SELECT table_name, sqlstate FROM placemat.parked").fetchall()


def refused(both: Linked) -> None:
    until(lambda: parked(both) == [("public.storytellers", "23514")])


def test_a_row_that_the_hub_refuses_is_taken_once_its_spoke_corrects_it(both: Linked, workspace: uuid.UUID) -> None:
    key = made(both.spoke, "storytellers", workspace_id=workspace, name="not welcome", bio="told with it")
    refused(both)
    put(both.spoke, "storytellers", key, name="welcome")
    until(lambda: parked(both) == [])
    both.rest()
    assert value(both.hub, "storytellers", "name", key) == "welcome"
    assert both.equal("storytellers", TELLER)


def test_an_edit_that_the_hub_refuses_holds_up_its_row_until_it_is_corrected(
    both: Linked, workspace: uuid.UUID
) -> None:
    key = a_teller(both, both.hub, workspace, name="welcome")
    put(both.spoke, "storytellers", key, name="not welcome", bio="waits with it")
    refused(both)
    put(both.hub, "storytellers", key, cultural_background="of the hub")
    put(both.spoke, "storytellers", key, name="better")
    until(lambda: parked(both) == [])
    both.rest()
    row = both.hub.execute("SELECT name, bio, cultural_background FROM storytellers WHERE id = %s", [key]).fetchone()
    assert row == ("better", "waits with it", "of the hub")
    assert both.equal("storytellers", TELLER)


def test_a_refused_edit_that_is_taken_back_leaves_nothing_behind(both: Linked, workspace: uuid.UUID) -> None:
    key = a_teller(both, both.hub, workspace, name="as it was")
    put(both.spoke, "storytellers", key, name="not welcome")
    refused(both)
    put(both.spoke, "storytellers", key, name="as it was")
    until(lambda: parked(both) == [])
    put(both.hub, "storytellers", key, name="next")
    both.rest()
    assert value(both.spoke, "storytellers", "name", key) == "next"


def test_a_refused_row_that_its_spoke_deletes_waits_no_more(both: Linked, workspace: uuid.UUID) -> None:
    key = made(both.spoke, "storytellers", workspace_id=workspace, name="not welcome")
    refused(both)
    both.spoke.execute("DELETE FROM storytellers WHERE id = %s", [key])
    until(lambda: parked(both) == [])
    both.rest()
    assert not seen(both.hub, "storytellers", key)
    assert not seen(both.spoke, "storytellers", key)


def test_each_event_that_has_waited_is_told_with_what_became_of_itself(both: Linked, workspace: uuid.UUID) -> None:
    key = a_teller(both, both.hub, workspace, name="welcome")
    with both.held():
        put(both.hub, "storytellers", key, bio="ours")
        with both.spoke.transaction():
            put(both.spoke, "storytellers", key, name="not welcome")
            put(both.spoke, "storytellers", key, bio="theirs")
            put(both.spoke, "storytellers", key, name="better")
    both.rest()
    assert parked(both) == []
    row = both.hub.execute("SELECT name, bio FROM storytellers WHERE id = %s", [key]).fetchone()
    assert row == ("better", "ours")
    both.check_audited_once()
    query = "SELECT outcome, rule FROM placemat.audit_entries WHERE target = %s AND key = %s ORDER BY sequence"
    told = ask(both.site.state, query, [both.hub_target, f'{{"id":"{key}"}}'])
    assert told[1:4] == [("applied", None), ("conflict", "latest"), ("applied", None)]
    [listed] = both.hub.execute(
        'SELECT "offset" - min("offset") OVER () FROM placemat.conflict_log WHERE field = \'bio\' AND key = %s',
        [f'{{"id":"{key}"}}'],
    )
    assert listed == (0,)


def test_what_waits_is_taken_at_an_operators_word_once_the_hub_lets_it_in(both: Linked, workspace: uuid.UUID) -> None:
    key = made(both.spoke, "storytellers", workspace_id=workspace, name="not welcome")
    refused(both)
    put(both.spoke, "storytellers", key, bio="said since")
    both.hub.execute("ALTER TABLE storytellers DROP CONSTRAINT welcome")
    done = both.site.placemat("dlq", "redrive", "--all", "--target", both.hub_target)
    assert done.code == 0, done.err
    until(lambda: parked(both) == [])
    both.hub.execute("ALTER TABLE storytellers ADD CONSTRAINT welcome CHECK (name <> 'not welcome') NOT VALID")
    both.rest()
    assert value(both.hub, "storytellers", "bio", key) == "said since"


def test_a_new_child_outlives_its_parent_where_the_schema_only_empties_the_reference(
    both: Linked, workspace: uuid.UUID
) -> None:
    teller = a_teller(both, both.hub, workspace)
    project = made(both.hub, "projects", workspace_id=workspace, name="ends")
    both.rest()
    with both.held():
        story = made(
            both.spoke, "stories", workspace_id=workspace, storyteller_id=teller, project_id=project, title="stays",
            slug=uuid.uuid4().hex,
        )  # fmt: skip
        both.hub.execute("DELETE FROM projects WHERE id = %s", [project])
    both.rest()
    for side in (both.hub, both.spoke):
        assert not seen(side, "projects", project)
        assert seen(side, "stories", story)
        assert value(side, "stories", "project_id", story) is None
    assert parked(both) == []
    kinds = both.hub.execute("SELECT kind FROM placemat.conflict_log WHERE key = %s", [f'{{"id":"{story}"}}'])
    assert kinds.fetchall() == [("fk_parent_missing",)]


def test_the_end_of_the_hubs_log_is_looked_for_once_for_a_row_that_is_refused_again_and_again(
    both: Linked, workspace: uuid.UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each time it is looked for anew, all that came with the row has to be begun anew."""
    monkeypatch.setattr("connectors.postgres.retrying.RETRY_SECONDS", 0)
    found: list[tuple[int, int]] = []
    tried: list[Key] = []
    look = HubRows._look_for_ends

    def looking(rows: HubRows, changes: Mapping[Key, Sequence[RowChange]], current: Collection[Key]) -> None:
        before = set(rows._awaited.ends)
        look(rows, changes, current)
        found.extend(rows._awaited.ends.keys() - before)
        tried.extend(changes)

    monkeypatch.setattr(HubRows, "_look_for_ends", looking)
    teller = made(both.spoke, "storytellers", workspace_id=workspace, name="not welcome")
    story = made(
        both.spoke, "stories", workspace_id=workspace, storyteller_id=teller, title="waits", slug=uuid.uuid4().hex
    )
    waiting = ("public.stories", f'{{"id":"{story}"}}')
    until(lambda: sorted(parked(both)) == [("public.stories", "23503"), ("public.storytellers", "23514")])
    for number in range(5):
        before = tried.count(waiting)
        put(both.spoke, "workspaces", workspace, name=f"of the spoke {number}")
        until(lambda: tried.count(waiting) > before, what="it is tried again")  # noqa: B023 it ends here
    both.rest()
    assert set(Counter(found).values()) == {1}
    put(both.spoke, "storytellers", teller, name="welcome")
    until(lambda: parked(both) == [])
    both.rest()
    assert seen(both.hub, "stories", story)
