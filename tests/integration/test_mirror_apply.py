"""Changes of the hub come into the mirror of a service, and what it has yet to be told is queued."""

from __future__ import annotations

import json
import uuid
from typing import Any

import psycopg
import pytest

from connectors.errors import OperatorError
from connectors.postgres.mirror.database import ensure_database
from schemas import outbox
from tests.fix_mirrored import WORKSPACE, Mirrored
from tests.fix_servers import Postgres, drop_database
from tests.people import made, put


def record_key(key: uuid.UUID) -> str:
    return f'{{"id":"{key}"}}'


def queued(mirrored: Mirrored, key: uuid.UUID) -> list[tuple[Any, ...]]:
    """Of one key: the table, whether only copies wait, and how many events."""
    return mirrored.run(
        "SELECT table_name, bulk, (SELECT count(*) FROM placemat.queue_events e WHERE e.key = q.key)"
        " FROM placemat.queue q WHERE key = %s",
        [record_key(key)],
    )


def test_what_the_hub_has_comes_into_the_mirror_by_the_service_s_fields(mirrored: Mirrored) -> None:
    early = made(mirrored.hub, "projects", workspace_id=WORKSPACE, name="Garden", budget=12)
    mirrored.init()
    with mirrored.running(f"capture:{mirrored.site.source}", f"apply:{mirrored.name}"):
        mirrored.until(
            "SELECT id, name, budget::text, status FROM wanted.projects", [(early, "Garden", "12.00", "planned")]
        )
        assert queued(mirrored, early) == [("public.projects", True, 1)], "it was copied"
        put(mirrored.hub, "projects", early, name="Orchard")
        put(mirrored.hub, "projects", early, area="north")
        mirrored.until("SELECT name FROM wanted.projects", [("Orchard",)])
        mirrored.until("SELECT count(*) FROM placemat.queue_events", [(3,)])
        assert queued(mirrored, early) == [("public.projects", False, 3)], "people have changed it since"
        mirrored.hub.execute("DELETE FROM projects")
        mirrored.until("SELECT count(*) FROM wanted.projects", [(0,)])
        mirrored.until("SELECT count(*) FROM placemat.queue_events", [(4,)])
        ((state,),) = mirrored.run("SELECT state FROM placemat.sides")
        told = json.loads(state)
        assert (told["alive"], told["backlog"]["row"]) == (False, None)
    assert mirrored.run("SELECT * FROM public.projects") == [], "the service was seen to have nothing"


def test_a_row_that_may_be_shown_no_more_leaves_and_is_queued(mirrored: Mirrored) -> None:
    mirrored.init()
    with mirrored.running(f"capture:{mirrored.site.source}", f"apply:{mirrored.name}"):
        teller = made(mirrored.hub, "storytellers", workspace_id=WORKSPACE, name="Una", consent_given=True)
        values = {"workspace_id": WORKSPACE, "storyteller_id": teller, "published_at": "2026-11-01"}
        shown = made(mirrored.hub, "stories", title="A song", content="la", privacy="public", **values)
        hidden = made(mirrored.hub, "stories", title="A secret", privacy="private", **values)
        mirrored.until("SELECT id, title, content FROM wanted.stories", [(shown, "A song", "la")])
        mirrored.run("DELETE FROM placemat.queue; DELETE FROM placemat.queue_events")
        put(mirrored.hub, "storytellers", teller, consent_given=False)
        mirrored.until("SELECT count(*) FROM wanted.stories", [(0,)])
        assert [one[:2] for one in queued(mirrored, shown)] == [("public.stories", True)]
        assert queued(mirrored, hidden) == []


def test_what_the_mirror_has_taken_is_told_as_no_more_than_that(mirrored: Mirrored) -> None:
    mirrored.init()
    with mirrored.running(f"capture:{mirrored.site.source}", f"apply:{mirrored.name}"):
        made(mirrored.hub, "projects", workspace_id=WORKSPACE, name="Garden")
        mirrored.until("SELECT count(*) > 0 FROM placemat.queue_events", [(True,)])
    told = [outbox.decode(events) for (events,) in mirrored.run("SELECT events FROM placemat.outbox ORDER BY id")]
    others = [other.outcome for one in told for taken in one.partitions for other in taken.others]
    assert set(others) == {outbox.TAKEN}, "the copy may have come too"
    assert all(not taken.applied for one in told for taken in one.partitions)


def test_init_makes_the_database_of_a_mirror_or_says_how_to(mirrored: Mirrored, postgres_server: Postgres) -> None:
    name = f"made_{mirrored.site.uid}"
    url = postgres_server.dsn(name)
    mirrored.site.set(f"targets.{mirrored.name}.url", url)
    try:
        mirrored.init()
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT count(*) FROM wanted.stories").fetchone() == (0,)
        assert not ensure_database(url, "notion"), "it is there"
    finally:
        drop_database(postgres_server, name)
    with pytest.raises(OperatorError, match=r"The mirror of target notion, database made_.* cannot be made") as found:
        ensure_database(postgres_server.dsn(name, "placemat_capture", "only-for-tests"), "notion")
    assert found.value.try_ == f'As a superuser of that server run: CREATE DATABASE "{name}" OWNER "placemat_capture"'
