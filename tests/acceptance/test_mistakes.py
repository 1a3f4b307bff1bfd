"""What people do by mistake in a spoke: everything deleted, and a hundred rows given a wrong value."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import psycopg

from schemas import domain
from tests.asking import ask
from tests.fix_linked import Linked
from tests.fix_servers import Postgres
from tests.fix_site import PASSWORD
from tests.people import a_workspace, made
from tests.waiting import until

STORIES = 300
WRONG = 100
COLUMNS = "id, title, content, themes"


def fill(linked: Linked) -> None:
    workspace = a_workspace(linked)
    teller = made(linked.hub, "storytellers", workspace_id=workspace, name="Una")
    linked.hub.execute(
        "INSERT INTO stories (workspace_id, storyteller_id, title, slug)"
        " SELECT %s, %s, 'Story ' || n, 'story-' || n FROM generate_series(1, %s) AS n",
        [workspace, teller, STORIES],
    )
    linked.rest(60)


def test_deletes_of_everything_are_held_and_rejected_and_wrong_values_are_taken_back(
    linked: Linked, postgres_server: Postgres
) -> None:
    primary = linked.site.primary.rpartition("/")[2]
    linked.site.set(f"sources.{linked.site.source}.restore_url", postgres_server.dsn(primary, domain.APPLY, PASSWORD))
    linked.init()
    with linked.running():
        fill(linked)
        before = linked.rows(linked.hub, "stories", COLUMNS)
        assert len(before) == STORIES
        assert linked.equal("stories", COLUMNS)
        moment = datetime.now(UTC)

        linked.spoke.execute(
            "UPDATE stories SET title = 'Wrong' WHERE id IN (SELECT id FROM stories ORDER BY id LIMIT %s)", [WRONG]
        )
        linked.rest(60)
        wrong = linked.hub.execute("SELECT count(*) FROM stories WHERE title = 'Wrong'").fetchone()
        assert wrong == (WRONG,), "they are everywhere: nobody could know that they are wrong"

        linked.spoke.execute("DELETE FROM stories")
        until(lambda: ask(linked.site.primary, "SELECT 1 FROM placemat.holds"), 60, what="the deletes held")
        assert linked.hub.execute("SELECT count(*) FROM stories").fetchone() == (STORIES,)
        assert [row["table"] for row in held(linked)] == ["public.stories"]

        rejected = linked.site.placemat("resume", linked.hub_target, "--reject-deletes", "--by", "ruth")
        assert rejected.code == 0, rejected.err
        assert f"come back to it as {linked.site.source} has them" in rejected.err
        linked.rest(60)
        for connection in (linked.hub, linked.spoke):
            assert connection.execute("SELECT count(*) FROM stories").fetchone() == (STORIES,)

        restored = linked.site.placemat(
            "restore", "stories", "--source", linked.site.source, "--at", moment.isoformat(), "--by", "ruth",
            "--reason", "somebody was in the wrong database",
        )  # fmt: skip
        assert restored.code == 0, restored.err
        linked.rest(60)
        assert linked.rows(linked.hub, "stories", COLUMNS) == before
        assert linked.rows(linked.spoke, "stories", COLUMNS) == before
        done = ask(linked.site.state, "SELECT op FROM placemat.audit_entries WHERE kind = 'action' AND who = 'ruth'")
        assert {op for (op,) in done} == {"resume --reject-deletes", "restore"}
        linked.check_audited_once(60)


def held(linked: Linked) -> list[dict[str, object]]:
    """The tables of the deletes that wait, as `placemat status` tells."""
    found = linked.site.placemat("status", "--json")
    holds = json.loads(found.out)["targets"][linked.hub_target]["held"]
    return [table for hold in holds for table in hold["tables"]]


def test_below_the_limit_a_spoke_deletes_without_being_asked(linked: Linked) -> None:
    linked.init()
    with linked.running(), psycopg.connect(linked.site.ledger, autocommit=True) as spoke:
        fill(linked)
        spoke.execute("DELETE FROM stories WHERE id IN (SELECT id FROM stories LIMIT 20)")
        linked.rest(60)
        assert linked.hub.execute("SELECT count(*) FROM stories").fetchone() == (STORIES - 20,)
