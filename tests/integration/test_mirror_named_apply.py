"""Changes of the hub decide who is at a service because somebody is named; too many who leave wait for an operator."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.contract import Destination
from connectors.postgres.mirror.store import MirrorStore
from daemon.errors import OperatorError
from daemon.routes import routings
from tests.fix_mirrored import WORKSPACE, Mirrored
from tests.people import made, put
from tests.waiting import until

TELLERS = {
    "table": "public.storytellers", "data_source": "people", "fields": {"name": {"property": "title"}},
    "only_if_named_by": ["public.stories.storyteller_id"],
}  # fmt: skip


@pytest.fixture
def named(mirrored: Mirrored) -> Mirrored:
    """Storytellers are there while they have a story; stories are not."""
    target = mirrored.site.values["targets"][mirrored.name]
    target["entities"] = {"people": dict(TELLERS)}
    target["delete_guard"] = {"least": 3, "share": 0.5}
    del mirrored.site.values["targets"][mirrored.back]
    mirrored.site.write()
    mirrored.site.set(f"sources.{mirrored.site.source}.restore_url", mirrored.site.primary)
    mirrored.init()
    return mirrored


def there(mirrored: Mirrored) -> list[str]:
    settings, name = mirrored.site.settings, mirrored.name
    target = settings.services[name]
    store = MirrorStore(
        Destination(name, mirrored.url, target.source, routings(settings, name), mirror=True), target.mirrored()
    )
    store.open()
    try:
        return sorted(str(row["name"]).strip('"') for _, row in store.wanted("public.storytellers"))
    finally:
        store.close()


def until_there(mirrored: Mirrored, *names: str) -> None:
    try:
        until(lambda: there(mirrored) == sorted(names), 30)
    except AssertionError:
        assert there(mirrored) == sorted(names)
        raise


def teller(mirrored: Mirrored, name: str) -> Any:
    return made(mirrored.hub, "storytellers", workspace_id=WORKSPACE, name=name)


def story(mirrored: Mirrored, by: Any) -> Any:
    return made(mirrored.hub, "stories", workspace_id=WORKSPACE, storyteller_id=by, title="A song", content="la")


def working(mirrored: Mirrored) -> Any:
    return mirrored.running(f"capture:{mirrored.site.source}", f"apply:{mirrored.name}")


def test_who_is_named_comes_and_leaves_with_what_names_them(named: Mirrored) -> None:
    una = teller(named, "Una")
    first = story(named, una)
    with working(named):
        until_there(named, "Una")
        ivo = teller(named, "Ivo")
        story(named, ivo)
        until_there(named, "Ivo", "Una")
        put(named.hub, "stories", first, storyteller_id=ivo)
        until_there(named, "Ivo")
    with working(named):
        put(named.hub, "stories", first, storyteller_id=una)
        until_there(named, "Ivo", "Una")
        named.hub.execute("DELETE FROM stories WHERE id = %s", [first])
        until_there(named, "Ivo")
    columns = "SELECT column_name::text FROM information_schema.columns WHERE table_name = 'stories' ORDER BY 1"
    assert named.run(columns) == [("id",), ("storyteller_id",)], "nothing else of a story is here"
    assert named.run("SELECT DISTINCT table_name FROM placemat.queue") == [("public.storytellers",)]
    assert named.run("SELECT count(*) FROM placemat.leaving") == [(0,)]


def held(mirrored: Mirrored) -> list[Any]:
    rows = mirrored.run("SELECT tables FROM placemat.holds WHERE answer IS NULL")
    return [(one["table"], one["deletes"], one["rows"]) for (tables,) in rows for one in tables]


@pytest.mark.parametrize("deleted", ["stories", "storytellers"])
def test_too_many_who_leave_wait_for_an_operator(named: Mirrored, deleted: str) -> None:
    """However they leave, each counts once, and only those that the service has count."""
    tellers = [teller(named, name) for name in ("Ada", "Bo", "Cy", "Di")]
    for one in tellers:
        story(named, one)
        story(named, one)
    for name in ("Unnamed", "Nobody", "No one", "None"):
        teller(named, name)
    with working(named):
        until_there(named, "Ada", "Bo", "Cy", "Di")
        until(lambda: named.run("SELECT count(*) FROM wanted.storytellers") == [(8,)], 30)
        named.hub.execute("DELETE FROM storytellers WHERE name LIKE 'No%'")
        until(lambda: named.run("SELECT count(*) FROM wanted.storytellers") == [(5,)], 30)
        column = "storyteller_id" if deleted == "stories" else "id"
        named.hub.execute(f"DELETE FROM {deleted} WHERE {column} = ANY (%s)".encode(), [tellers[:3]])
        until(lambda: held(named) == [("public.storytellers", 3, 4)], 30)
        assert there(named) == ["Ada", "Bo", "Cy", "Di"]
        assert named.site.placemat("resume", named.name, "--confirm-deletes").code == 0
        until_there(named, "Di")
        assert named.run("SELECT count(*) FROM placemat.holds") == [(0,)], "nobody is asked twice"
        story(named, teller(named, "Anna"))
        until_there(named, "Anna", "Di")


def test_who_is_kept_against_a_lost_name_stays_until_named_again(named: Mirrored) -> None:
    tellers = [teller(named, name) for name in ("Ada", "Bo", "Cy", "Di")]
    for one in tellers:
        story(named, one)
    with working(named):
        until_there(named, "Ada", "Bo", "Cy", "Di")
        named.hub.execute("DELETE FROM stories")
        until(lambda: len(held(named)) == 1, 30)
        assert named.site.placemat("resume", named.name, "--reject-deletes").code == 0
        until(lambda: named.run("SELECT count(*) FROM wanted.stories") == [(0,)], 30)
        assert there(named) == ["Ada", "Bo", "Cy", "Di"]
        again = story(named, tellers[0])
        until(lambda: named.run("SELECT count(*) FROM placemat.kept") == [(3,)], 30)
        named.hub.execute("DELETE FROM stories WHERE id = %s", [again])
        until_there(named, "Bo", "Cy", "Di")


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"both_ways": True}, "an entity that goes both ways cannot have only_if_named_by"),
        ({"only_if_named_by": ["public.nothing.x"]}, "does not capture public.nothing"),
        ({"only_if_named_by": ["stories"]}, "only_if_named_by"),
    ],
)  # fmt: skip
def test_what_cannot_be_followed_is_refused(mirrored: Mirrored, values: dict[str, Any], why: str) -> None:
    mirrored.site.values["targets"][mirrored.name]["entities"]["people"] = TELLERS | values
    mirrored.site.write()
    with pytest.raises(OperatorError, match=why):
        _ = mirrored.site.settings


def test_a_naming_column_of_an_entity_has_to_be_one_of_its_fields(mirrored: Mirrored) -> None:
    mirrored.entity("people", **TELLERS)
    with pytest.raises(OperatorError, match=r"storyteller_id is no field of the entity of public\.stories"):
        _ = mirrored.site.settings
