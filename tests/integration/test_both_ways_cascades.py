"""What refers to a row at the hub, and never left it, is not lost with a row that a spoke deletes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from psycopg import sql

from schemas import domain
from tests.fix_linked import Linked
from tests.fix_servers import Postgres
from tests.fix_site import PASSWORD
from tests.people import a_workspace, made, seen
from tests.waiting import until


def test_a_project_that_a_spoke_deletes_stays_at_the_hub_while_something_there_would_go_with_it(linked: Linked) -> None:
    linked.init()
    with linked.running():
        workspace = a_workspace(linked)
        bare, needed = (made(linked.hub, "projects", workspace_id=workspace, name=name) for name in ("bare", "needed"))
        action = made(linked.hub, "actions", workspace_id=workspace, project_id=needed, title="Ask the elders")
        linked.rest()
        linked.spoke.execute("DELETE FROM projects")
        until(lambda: not seen(linked.hub, "projects", bare))
        until(lambda: linked.hub.execute("SELECT sqlstate FROM placemat.parked").fetchall() == [("23503",)])
        assert seen(linked.hub, "projects", needed)
        linked.hub.execute("DELETE FROM actions WHERE id = %s", [action])
        assert linked.site.placemat("dlq", "redrive", "--all", "--target", linked.hub_target).code == 0
        until(lambda: not seen(linked.hub, "projects", needed))
        linked.rest()


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ("REVOKE SELECT (project_id) ON actions FROM placemat_apply", "it may not read project_id."),
        (
            "CREATE SCHEMA apart; ALTER TABLE actions SET SCHEMA apart; ALTER SCHEMA apart OWNER TO app_owner",
            "it may not use schema apart.",
        ),
    ],
)
def test_a_right_to_see_what_would_go_with_a_row_is_asked_for_and_is_given_as_told(
    linked: Linked, statement: str, sentence: str
) -> None:
    linked.hub.execute(statement.encode())
    told = linked.site.placemat("init")
    assert told.code == 1
    assert sentence in told.err
    assert "actions would go with one of public.projects" in told.err
    linked.hub.execute(told.err.partition("As its owner run: ")[2].splitlines()[0].encode())
    linked.init()


def test_rows_that_are_hidden_from_the_role_and_would_go_are_told(
    role_factory: Callable[[str], str], postgres_server: Postgres, linked: Linked
) -> None:
    role = role_factory(f"IN ROLE {domain.APPLY}")
    linked.site.set(
        f"targets.{linked.hub_target}.url",
        postgres_server.dsn(linked.site.primary.rpartition("/")[2], role, PASSWORD),
    )
    told = linked.site.placemat("init").err
    assert "which rows of public.actions would go with one of public.projects: row-level security hides rows." in told
    assert f"As a superuser run: ALTER ROLE {sql.Identifier(role).as_string()} BYPASSRLS" in told
