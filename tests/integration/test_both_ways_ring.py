"""A hub and two spokes, with triggers that change what is written: all comes to rest, and all three are equal."""

from __future__ import annotations

from typing import Any

from tests.fix_linked import Connection, Linked
from tests.people import a_workspace, made

NORMALISE = """
CREATE FUNCTION normalise() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.{column} := {function}(NEW.{column});
    RETURN NEW;
END
$$;
CREATE TRIGGER normalise BEFORE INSERT OR UPDATE ON storytellers FOR EACH ROW EXECUTE FUNCTION normalise();
"""


def normalise(connection: Connection, column: str, function: str) -> None:
    connection.execute(NORMALISE.format(column=column, function=function).encode())


def sides(ring: Linked) -> list[Connection]:
    return [ring.hub, ring.spoke, *ring.others.values()]


def names(connection: Connection) -> list[tuple[Any, ...]]:
    return connection.execute("SELECT id, name, bio FROM storytellers ORDER BY id").fetchall()


def test_an_edit_anywhere_is_everywhere_and_comes_to_rest(ring: Linked) -> None:
    ring.init()
    with ring.running():
        workspace = a_workspace(ring)
        keys = [made(connection, "storytellers", workspace_id=workspace, name="made") for connection in sides(ring)]
        ring.rest()
        for connection, key in zip(sides(ring), keys, strict=True):
            connection.execute("UPDATE storytellers SET name = 'renamed', bio = 'told' WHERE id = %s", [key])
        ring.rest()
        hub, *spokes = map(names, sides(ring))
        assert {(key, "renamed", "told") for key in keys} == set(hub)
        assert all(spoke == hub for spoke in spokes)
        assert ring.rows(ring.hub, "placemat.conflict_log", "id") == []


def test_what_the_hub_and_a_spoke_make_of_a_value_is_everywhere(ring: Linked) -> None:
    normalise(ring.hub, "name", "upper")
    normalise(ring.spoke, "bio", "btrim")
    ring.init()
    with ring.running():
        workspace = a_workspace(ring)
        archive = next(iter(ring.others.values()))
        key = made(archive, "storytellers", workspace_id=workspace, name="made in the archive")
        ring.rest()
        archive.execute("UPDATE storytellers SET name = 'renamed', bio = '  told  ' WHERE id = %s", [key])
        ring.rest()
        ring.spoke.execute("UPDATE storytellers SET name = 'again' WHERE id = %s", [key])
        ring.rest()
        for connection in sides(ring):
            assert names(connection) == [(key, "AGAIN", "told")]
        assert ring.rows(ring.hub, "placemat.conflict_log", "id") == [], "nobody was in anybody's way"


def test_two_triggers_that_disagree_are_stopped_and_listed(ring: Linked) -> None:
    normalise(ring.spoke, "name", "upper")
    normalise(next(iter(ring.others.values())), "name", "lower")
    ring.init()
    with ring.running():
        key = made(ring.hub, "storytellers", workspace_id=a_workspace(ring), name="Mixed")
        ring.rest(60)
        listed = ring.rows(ring.hub, "placemat.conflict_log", "kind, resolution")
        assert ("update_origin_differs", "skip") in listed
        ring.hub.execute("UPDATE storytellers SET bio = 'goes on' WHERE id = %s", [key])
        ring.rest(60)
        assert [bio for connection in sides(ring) for _, _, bio in names(connection)] == ["goes on"] * 3


def test_a_table_that_is_emptied_in_one_place_is_empty_everywhere(ring: Linked) -> None:
    ring.init()
    with ring.running():
        workspace = a_workspace(ring)
        for connection in sides(ring):
            made(connection, "storytellers", workspace_id=workspace, name="made")
        ring.rest()
        ring.spoke.execute("TRUNCATE storytellers CASCADE")
        ring.rest()
        assert [names(connection) for connection in sides(ring)] == [[], [], []]


def test_the_same_natural_key_made_in_two_places_waits_for_a_person(ring: Linked) -> None:
    ring.init()
    with ring.running():
        workspace = a_workspace(ring)
        with ring.held():
            for connection in (ring.hub, ring.spoke):
                connection.execute(
                    "INSERT INTO storytellers (workspace_id, name, legacy_id) VALUES (%s, 'Una', 'A1')", [workspace]
                )
        ring.rest()
        assert [kind for (kind,) in ring.rows(ring.hub, "placemat.conflict_log", "kind")] == ["insert_exists"]
        parked = [ring.rows(connection, "placemat.parked", "sqlstate") for connection in (ring.hub, ring.spoke)]
        assert parked == [[("23505",)], [("23505",)]], "each side has its own, and nothing was overwritten"


def test_what_a_person_decides_of_two_spokes_and_takes_back_is_everywhere(ring: Linked) -> None:
    ring.route("storytellers", rule="manual")
    ring.site.values["targets"][next(iter(ring.others))]["tables"]["public.storytellers"]["rule"] = "manual"
    ring.site.write()
    normalise(ring.hub, "bio", "btrim")
    ring.init()
    with ring.running():
        archive = next(iter(ring.others.values()))
        key = made(ring.hub, "storytellers", workspace_id=a_workspace(ring), name="Ruth")
        ring.rest()
        with ring.held():
            ring.hub.execute("UPDATE storytellers SET bio = 'of the hub' WHERE id = %s", [key])
            ring.spoke.execute("UPDATE storytellers SET bio = 'of the spoke', name = 'Ruth A.' WHERE id = %s", [key])
            archive.execute("UPDATE storytellers SET bio = 'of the archive' WHERE id = %s", [key])
        ring.rest()
        [waiting] = ring.site.placemat("conflicts", "list", "--json").json["waiting"]
        number, both = str(waiting["id"]), sorted([ring.spoke_name, *ring.others])
        assert waiting["spokes"] == both
        decided = ring.site.placemat("conflicts", "resolve", number, "--set", "bio=  of a person ", "--json")
        assert decided.code == 0, decided.err
        assert decided.json["decided"][0]["fields"]["bio"]["then"] == "of a person", "as the hub has stored it"
        ring.rest()
        for connection in sides(ring):
            assert names(connection) == [(key, "Ruth A.", "of a person")]
        assert ring.site.placemat("conflicts", "undo", number).code == 0
        ring.rest()
        for connection in sides(ring):
            assert names(connection) == [(key, "Ruth A.", "of the hub")]
        assert ring.site.placemat("conflicts", "list", "--json").json["count"] == 0


def test_what_waits_in_one_spoke_and_is_typed_in_another_waits_no_more(ring: Linked) -> None:
    ring.route("storytellers", rules={"bio": "manual"})
    ring.init()
    with ring.running():
        [archive] = ring.others.values()
        key = made(ring.hub, "storytellers", workspace_id=a_workspace(ring), name="Ruth")
        ring.rest()
        with ring.held():
            ring.hub.execute("UPDATE storytellers SET bio = 'of the hub' WHERE id = %s", [key])
            ring.spoke.execute("UPDATE storytellers SET bio = 'of the spoke' WHERE id = %s", [key])
        ring.rest()
        waiting = "SELECT count(*) FROM placemat.conflicts WHERE waits"
        assert ring.hub.execute(waiting).fetchone() == (1,)
        archive.execute("UPDATE storytellers SET bio = 'of the spoke' WHERE id = %s", [key])
        ring.rest()
        assert ring.hub.execute(waiting).fetchone() == (0,)
        closed = "SELECT spoke, field, won, ours FROM placemat.conflict_log WHERE resolution = 'agreed'"
        assert ring.hub.execute(closed).fetchall() == [(ring.spoke_name, "bio", "theirs", '"of the spoke"')]
        ring.spoke.execute("UPDATE storytellers SET bio = 'later, and seen' WHERE id = %s", [key])
        ring.rest()
        for connection in sides(ring):
            assert names(connection) == [(key, "Ruth", "later, and seen")]
        assert ring.hub.execute(waiting).fetchone() == (0,)
