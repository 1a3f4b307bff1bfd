"""Deletes between a hub and two spokes: held where they would go too far, wherever they were done, and taken back."""

from __future__ import annotations

import uuid
from typing import Any

from tests.asking import ask
from tests.fix_linked import Connection, Linked
from tests.waiting import until

GUARD = {"share": 0.2, "least": 5}
OFF = {"enabled": False}
MANY = 40
WELCOME = "ALTER TABLE storytellers ADD CONSTRAINT welcome CHECK (name <> 'not welcome')"


def archive(ring: Linked) -> tuple[str, Connection]:
    [found] = ring.others.items()
    return found


def guarded(ring: Linked, *targets: str) -> None:
    """These ask, and no others do; what they reject can come back at the hub."""
    for name in (ring.hub_target, ring.spoke_name, *ring.others):
        ring.site.set(f"targets.{name}.delete_guard", GUARD if name in targets else OFF)
    ring.site.set(f"sources.{ring.site.source}.restore_url", ring.site.primary)
    ring.init()


def filled(ring: Linked) -> list[uuid.UUID]:
    """The keys of tellers that all sides have."""
    ring.copied()
    workspace = uuid.uuid4()
    ring.hub.execute("INSERT INTO workspaces (id, name, slug) VALUES (%s, 'Commons', %s)", [workspace, workspace.hex])
    made = ring.hub.execute(
        "INSERT INTO storytellers (workspace_id, name) SELECT %s, 'n' || n FROM generate_series(1, %s) n RETURNING id",
        [workspace, MANY],
    )
    keys = sorted(key for (key,) in made)
    ring.rest()
    return keys


def tellers(connection: Connection) -> list[Any]:
    return connection.execute("SELECT id, name, bio FROM storytellers ORDER BY id").fetchall()


def count(connection: Connection) -> int:
    return len(tellers(connection))


def held(connection: Connection) -> dict[str, Any]:
    """Of the one table of the one hold, what would be deleted there; with the commits."""
    query = "SELECT tables, first_lsn::text, commit_lsn::text FROM placemat.holds WHERE answer IS NULL"
    ([table], first, through), = until(lambda: connection.execute(query).fetchall(), what="a hold")  # fmt: skip
    return {**table, "first": first, "through": through}


def answer(ring: Linked, target: str, word: str) -> dict[str, Any]:
    ended = ring.site.placemat("resume", target, f"--{word}-deletes", "--reason", "asked for", "--json")
    assert ended.code == 0, ended.err
    found: dict[str, Any] = ended.json
    return found


def delete(connection: Connection, keys: list[uuid.UUID]) -> None:
    connection.execute("DELETE FROM storytellers WHERE id = ANY (%s)", [keys])


def test_what_is_deleted_in_one_spoke_is_held_at_another_also_when_it_was_confirmed_at_the_hub(ring: Linked) -> None:
    name, other = archive(ring)
    guarded(ring, ring.hub_target, name)
    with ring.running():
        delete(ring.spoke, filled(ring))
        assert held(ring.hub)["deletes"] == MANY
        assert count(ring.hub) == MANY
        answer(ring, ring.hub_target, "confirm")
        found = held(other)
        assert (found["deletes"], found["rows"], found["first"]) == (MANY, MANY, found["through"])
        assert (count(ring.hub), count(other)) == (0, MANY)
        answer(ring, name, "confirm")
        ring.rest()
        assert count(other) == 0


def test_what_is_rejected_at_one_spoke_comes_back_at_the_hub_and_at_the_spoke_that_has_deleted_it(ring: Linked) -> None:
    name, other = archive(ring)
    guarded(ring, name)
    with ring.running():
        keys = filled(ring)
        before = tellers(other)
        with ring.held():  # in two places, some rows in both of them
            delete(ring.hub, keys[:30])
            delete(ring.spoke, keys[20:])
        until(lambda: not count(ring.hub), what="the hub to follow")
        back = 0
        while back < MANY:  # several commits may be held one after the other
            held(other)
            ended = ring.site.placemat("resume", name, "--reject-deletes", "--json")
            assert ended.code == 0 or "More deletes wait" in ended.err, ended.err
            [of_tellers] = ended.json["put_back"]
            assert of_tellers["gone"] == 0
            back += of_tellers["back"]
        ring.rest()
        assert [tellers(one) for one in (ring.hub, ring.spoke, other)] == [before] * 3


def test_rows_that_go_by_an_answer_alone_are_held_and_stay_as_they_are_when_that_is_rejected(ring: Linked) -> None:
    name, other = archive(ring)
    guarded(ring, name)
    with ring.running():
        keys = filled(ring)
        with ring.held():
            other.execute("UPDATE storytellers SET bio = 'told in the archive'")
            delete(ring.hub, keys)
        assert held(other)["deletes"] == MANY
        [of_tellers] = answer(ring, name, "reject")["put_back"]
        assert (of_tellers["back"], of_tellers["gone"]) == (MANY, 0)
        ring.rest()
        assert [bio for _, _, bio in tellers(ring.hub)] == ["told in the archive"] * MANY
        assert tellers(ring.spoke) == tellers(other) == tellers(ring.hub)


def test_an_answer_takes_no_row_whose_delete_was_rejected_and_that_is_not_back_yet(ring: Linked) -> None:
    name, other = archive(ring)
    ring.site.set(f"targets.{ring.spoke_name}.skew_seconds", 3_600)  # what the spoke does is a tie, which the hub wins
    guarded(ring, name)
    with ring.running():
        keys = filled(ring)
        before = tellers(other)
        with ring.held():
            delete(ring.hub, keys)
            ring.spoke.execute("UPDATE storytellers SET bio = 'in vain' WHERE id = %s", [keys[0]])
        held(other)
        other.execute("UPDATE placemat.holds SET answer = 'rejected'")
        until(lambda: len(ring.rows(other, "placemat.rejected", "key")) == MANY, what="the answer to be followed")
        ring.rest()
        assert count(ring.spoke) == 0, "the hub has answered that it is dead"
        assert tellers(other) == before
        [of_tellers] = answer(ring, name, "reject")["put_back"]
        assert (of_tellers["back"], of_tellers["gone"]) == (MANY, 0)
        ring.rest()
        assert [tellers(one) for one in (ring.hub, ring.spoke, other)] == [before] * 3


def test_what_the_hub_keeps_is_not_counted_and_holds_up_nothing(linked: Linked) -> None:
    guarded(linked, linked.hub_target)
    with linked.running():
        keys = filled(linked)
        with linked.held():
            delete(linked.spoke, keys)
            linked.hub.execute("UPDATE storytellers SET bio = 'edited' WHERE id = ANY (%s)", [keys[:20]])
        found = held(linked.hub)
        assert (found["deletes"], found["rows"]) == (20, MANY)
        assert set(found["sample"]) <= {f'{{"id":"{key}"}}' for key in keys[20:]}, "none that stays"
        answer(linked, linked.hub_target, "confirm")
        linked.rest()
        assert [key for key, _, _ in tellers(linked.hub)] == keys[:20]
        assert tellers(linked.spoke) == tellers(linked.hub)


def test_rejected_deletes_of_a_spoke_are_answered_with_what_the_hub_has_by_then(linked: Linked) -> None:
    guarded(linked, linked.hub_target)
    with linked.running():
        keys = filled(linked)
        before = linked.spoke.execute("SELECT workspace_id FROM storytellers WHERE id = %s", [keys[0]]).fetchone()
        delete(linked.spoke, keys)
        held(linked.hub)
        linked.hub.execute("UPDATE storytellers SET bio = 'edited meanwhile' WHERE id = ANY (%s)", [keys[:2]])
        taken(linked)
        # Somebody there helps himself, with a row as it was.
        linked.spoke.execute(
            "INSERT INTO storytellers (id, workspace_id, name) VALUES (%s, %s, 'helped')", [keys[0], *(before or ())]
        )
        assert answer(linked, linked.hub_target, "reject")["put_back"] == []
        linked.rest()
        assert count(linked.hub) == MANY
        assert tellers(linked.spoke) == tellers(linked.hub)
        assert linked.spoke.execute("SELECT bio FROM storytellers WHERE id = %s", [keys[1]]).fetchone() == (
            "edited meanwhile",
        )
        linked.check_audited_once()


def test_what_waits_at_the_hub_is_told_as_kept_when_its_rows_deletion_is_rejected(linked: Linked) -> None:
    linked.hub.execute(WELCOME)
    guarded(linked, linked.hub_target)
    with linked.running():
        keys = filled(linked)
        for name in ("not welcome", "not welcome, still"):
            linked.spoke.execute(
                "UPDATE storytellers SET name = 'not welcome', bio = %s WHERE id = %s", [name, keys[0]]
            )
        until(lambda: linked.rows(linked.hub, "placemat.parked_events", "place") == [(1,), (2,)], what="both to wait")
        delete(linked.spoke, keys)
        held(linked.hub)
        answer(linked, linked.hub_target, "reject")
        linked.rest()
        assert linked.rows(linked.hub, "placemat.parked", "key") == []
        assert tellers(linked.spoke) == tellers(linked.hub)
        assert linked.rows(linked.hub, "placemat.conflict_log", "kind, resolution, won") == [
            ("refused", "discarded", "ours")
        ]
        linked.check_audited_once()
        query = "SELECT kind, outcome FROM placemat.audit_entries WHERE target = %s AND key = %s ORDER BY sequence"
        told = ask(linked.site.state, query, [linked.hub_target, f'{{"id":"{keys[0]}"}}'])
        assert told == [
            ("event", "echo"), ("event", "parked"), ("event", "queued"), ("event", "kept"), ("change", "kept"),
            ("event", "echo"),
        ]  # fmt: skip


def taken(linked: Linked) -> None:
    """Wait until the spoke has taken all that the hub's log holds by now."""
    tick = "SELECT (pg_logical_emit_message(true, 'tests.tick', 'x') - '0/0')::bigint"
    (end,) = linked.hub.execute(tick).fetchone() or (0,)
    query = "SELECT 1 FROM placemat.lanes WHERE source = %s AND lane = 'main' AND commit_lsn::bigint >= %s"
    until(lambda: linked.spoke.execute(query, [linked.site.source, end]).fetchone(), what="it to be taken")


def test_a_truncate_in_a_spoke_takes_no_row_that_the_spoke_never_had(linked: Linked) -> None:
    linked.spoke.execute(WELCOME)
    linked.site.set(f"targets.{linked.spoke_name}.skew_seconds", 0)  # a deletion would win at once
    guarded(linked)
    with linked.running():
        filled(linked)
        linked.hub.execute(
            "INSERT INTO storytellers (workspace_id, name) SELECT workspace_id, 'not welcome' FROM storytellers LIMIT 1"
        )
        until(lambda: linked.spoke.execute("SELECT 1 FROM placemat.parked").fetchone(), what="it to be parked")
        linked.rest()
        linked.spoke.execute("TRUNCATE storytellers CASCADE")
        linked.rest()
        assert [name for _, name, _ in tellers(linked.hub)] == ["not welcome"]


def test_what_waits_at_the_hub_does_not_come_after_the_spoke_was_emptied(linked: Linked) -> None:
    linked.hub.execute(WELCOME)
    guarded(linked)
    with linked.running():
        filled(linked)
        linked.spoke.execute(
            "INSERT INTO storytellers (workspace_id, name) SELECT workspace_id, 'not welcome' FROM storytellers LIMIT 1"
        )
        until(lambda: linked.hub.execute("SELECT 1 FROM placemat.parked").fetchone(), what="it to be parked")
        linked.spoke.execute("TRUNCATE storytellers CASCADE")
        linked.rest()
        linked.hub.execute("ALTER TABLE storytellers DROP CONSTRAINT welcome")
        linked.hub.execute("UPDATE placemat.parked SET request = 'redrive'")
        until(lambda: not linked.rows(linked.hub, "placemat.parked", "key"), what="nothing to wait")
        linked.rest()
        assert (count(linked.hub), count(linked.spoke)) == (0, 0)


def test_a_truncate_in_a_spoke_that_is_rejected_brings_back_what_it_had(linked: Linked) -> None:
    guarded(linked, linked.hub_target)
    with linked.running():
        filled(linked)
        before = tellers(linked.spoke)
        linked.spoke.execute("TRUNCATE storytellers CASCADE")
        assert held(linked.hub)["deletes"] == MANY
        answer(linked, linked.hub_target, "reject")
        linked.rest()
        assert tellers(linked.hub) == tellers(linked.spoke) == before


def test_a_truncate_at_the_hub_that_is_rejected_at_a_spoke_is_undone_at_the_hub(linked: Linked) -> None:
    guarded(linked, linked.spoke_name)
    with linked.running():
        filled(linked)
        before = tellers(linked.hub)
        linked.hub.execute("TRUNCATE storytellers CASCADE")
        assert held(linked.spoke)["deletes"] == MANY
        [of_tellers] = answer(linked, linked.spoke_name, "reject")["put_back"]
        assert (of_tellers["back"], of_tellers["gone"]) == (MANY, 0)
        linked.rest()
        assert tellers(linked.hub) == tellers(linked.spoke) == before
