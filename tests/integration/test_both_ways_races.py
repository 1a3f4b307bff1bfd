"""Two databases edited at the same moment, thousands of times: the sides end equal, and no edit is lost unseen."""

from __future__ import annotations

import random
import threading
import uuid
from collections.abc import Callable
from contextlib import suppress

import psycopg
import pytest

from tests.fix_linked import Connection, Linked
from tests.people import a_workspace, made
from tests.waiting import until

EDITS = 1_500
TELLERS = 6
ROWS = 1_000
LOG = """
CREATE TABLE public.seen (id uuid, name text);
GRANT INSERT ON public.seen TO PUBLIC;
CREATE FUNCTION log_seen() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.seen VALUES (NEW.id, NEW.name);
    RETURN NULL;
END
$$;
CREATE TRIGGER log_seen AFTER INSERT OR UPDATE ON storytellers FOR EACH ROW EXECUTE FUNCTION log_seen();
"""


def prepare(linked: Linked) -> None:
    """Clocks are trusted: of two edits the later one wins."""
    linked.site.set(f"targets.{linked.spoke_name}.skew_seconds", 0)
    linked.route("storytellers", rules={"cultural_background": "merge", "bio": "target"})
    linked.route("stories", rules={"themes": "merge", "content": "hub"})
    linked.hub.execute(LOG.encode())


def people(url: str, seed: int, edit: Callable[[Connection, random.Random, int], None], edits: int) -> threading.Thread:
    """Somebody who edits as fast as the database takes it; what others have made impossible is left."""

    def work() -> None:
        rng = random.Random(seed)
        with psycopg.connect(url, autocommit=True) as connection:
            for number in range(edits):
                with suppress(psycopg.errors.IntegrityError, psycopg.errors.DeadlockDetected):
                    edit(connection, rng, number)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_every_edit_of_a_spoke_is_taken_or_listed_however_close_it_comes(both: Linked, workspace: uuid.UUID) -> None:
    keys = [made(both.hub, "storytellers", workspace_id=workspace, name="made") for _ in range(TELLERS)]
    both.rest()

    def rename(prefix: str) -> Callable[[Connection, random.Random, int], None]:
        def edit(connection: Connection, rng: random.Random, number: int) -> None:
            name = f"{prefix}{number}"
            connection.execute("UPDATE storytellers SET name = %s WHERE id = %s", [name, rng.choice(keys)])

        return edit

    threads = [
        people(both.site.primary, 1, rename("hub "), EDITS),
        people(both.site.ledger, 2, rename("spoke "), EDITS),
    ]
    for thread in threads:
        thread.join()
    both.spoke.execute("UPDATE storytellers SET name = 'spoke, last of all' WHERE id = %s", [keys[0]])
    both.rest(120)
    assert both.equal("storytellers", "id, name")
    taken = {name for (name,) in both.hub.execute("SELECT name FROM public.seen").fetchall()}
    lost = {name for (name,) in both.hub.execute("SELECT theirs::jsonb #>> '{}' FROM placemat.conflict_log").fetchall()}
    assert {f"spoke {number}" for number in range(EDITS)} <= taken | lost
    assert "spoke, last of all" in taken


def test_people_are_never_the_victims_of_a_deadlock_with_us(both: Linked, workspace: uuid.UUID) -> None:
    """Their transactions lock a story first and its teller then; a batch of ours the other way round."""
    teller = made(both.hub, "storytellers", workspace_id=workspace, name="made")
    story = {"workspace_id": workspace, "storyteller_id": teller, "title": "made"}
    stories = [made(both.hub, "stories", **story) for _ in range(4)]
    both.rest()
    victims: list[Exception] = []

    def edit(connection: Connection, rng: random.Random, number: int) -> None:
        try:
            with connection.transaction():
                connection.execute("UPDATE stories SET title = %s WHERE id = %s", [f"t{number}", rng.choice(stories)])
                connection.execute("UPDATE storytellers SET name = %s WHERE id = %s", [f"n{number}", teller])
        except psycopg.errors.DeadlockDetected as error:
            victims.append(error)

    threads = [people(both.site.primary, 1, edit, 150), people(both.site.ledger, 2, edit, 150)]
    for thread in threads:
        thread.join()
    both.rest(120)
    assert victims == []


def test_a_large_deletion_comes_through_while_people_edit_its_last_rows(linked: Linked) -> None:
    for name in (linked.hub_target, linked.spoke_name):
        linked.site.set(f"targets.{name}.delete_guard", {"enabled": False})
    linked.site.set(f"targets.{linked.hub_target}.batch_rows", ROWS // 10)
    linked.init()
    with linked.running():
        linked.hub.execute(
            "INSERT INTO storytellers (workspace_id, name) SELECT %s, 'p' || n FROM generate_series(1, %s) n",
            [a_workspace(linked), ROWS],
        )
        linked.rest(60)
        last = [key for (key,) in linked.spoke.execute("SELECT id FROM storytellers ORDER BY ctid DESC LIMIT 20")]
        gone = threading.Event()

        def edit(connection: Connection, rng: random.Random, number: int) -> None:
            if not gone.wait(0.002):
                name = f"edited {number}"
                connection.execute("UPDATE storytellers SET name = %s WHERE id = %s", [name, rng.choice(last)])

        thread = people(linked.site.primary, 1, edit, 20_000)
        linked.spoke.execute("DELETE FROM storytellers")
        few = "SELECT count(*) <= 20 FROM storytellers"
        try:
            until(lambda: linked.hub.execute(few).fetchone() == (True,), 40, what="the deletion to be taken")
        finally:
            gone.set()
            thread.join()
        linked.rest(60)
        assert linked.equal("storytellers", "id, name")
        left = linked.rows(linked.hub, "storytellers", "id, name")
        assert left
        assert all(name.startswith("edited") for _, name in left), "what was edited meanwhile stays"
        listed = linked.hub.execute("SELECT key FROM placemat.conflict_log WHERE won = 'ours'").fetchall()
        assert {(f'{{"id":"{key}"}}',) for key, _ in left} <= set(listed)


@pytest.mark.parametrize("seed", range(4))
def test_whatever_people_do_on_both_sides_the_sides_end_equal(both: Linked, workspace: uuid.UUID, seed: int) -> None:
    keys = [uuid.uuid4() for _ in range(8)]
    stories = [uuid.uuid4() for _ in range(12)]
    given = iter(range(10**9))

    def edit(connection: Connection, rng: random.Random, number: int) -> None:
        teller, story, value = rng.choice(keys), rng.choice(stories), f"v{next(given)}"
        match rng.randrange(12):
            case 0 | 1:
                connection.execute(
                    "INSERT INTO storytellers (id, workspace_id, name, bio) VALUES (%s, %s, %s, %s)",
                    [teller, workspace, value, value],
                )
            case 2 | 3:
                connection.execute(
                    "INSERT INTO stories (id, workspace_id, storyteller_id, title, themes) VALUES (%s, %s, %s, %s, %s)",
                    [story, workspace, teller, value, [value]],
                )
            case 4 | 5:
                connection.execute("UPDATE storytellers SET name = %s WHERE id = %s", [value, teller])
            case 6:
                connection.execute(
                    "UPDATE storytellers SET bio = %s, metadata = %s WHERE id = %s",
                    [value, f'{{"n": {number}}}', teller],
                )
            case 7 | 8:
                connection.execute("UPDATE stories SET title = %s, content = %s WHERE id = %s", [value, value, story])
            case 9:
                connection.execute("UPDATE stories SET themes = themes || %s WHERE id = %s", [[value], story])
            case 10:
                connection.execute("DELETE FROM stories WHERE id = %s", [story])
            case _:
                connection.execute("DELETE FROM storytellers WHERE id = %s", [teller])

    threads = [
        people(both.site.primary, seed, edit, 250),
        people(both.site.ledger, seed + 1_000, edit, 250),
    ]
    for thread in threads:
        thread.join()
    both.rest(120)
    settle_what_waits(both)
    for table, columns in (
        ("storytellers", "id, name, bio, metadata"),
        ("stories", "id, storyteller_id, title, content, themes"),
    ):
        assert both.rows(both.hub, table, columns) == both.rows(both.spoke, table, columns)


def settle_what_waits(both: Linked) -> None:
    """A person discards what the hub cannot take, until nothing waits on either side."""

    def nothing_waits() -> bool:
        both.hub.execute("UPDATE placemat.parked SET request = 'discard' WHERE request IS NULL")
        both.rest(60)
        return all(
            connection.execute("SELECT FROM placemat.parked").fetchone() is None
            for connection in (both.hub, both.spoke)
        )

    until(nothing_waits, 60)
