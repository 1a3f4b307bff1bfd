"""Two databases that people edit on both sides, with real capture, topics and workers."""

from __future__ import annotations

import uuid
from typing import Any

from tests.fix_linked import Linked
from tests.waiting import until

STORY = "id, storyteller_id, project_id, title, content, themes, privacy, metadata"


def a_workspace(linked: Linked) -> uuid.UUID:
    row = linked.hub.execute(
        "INSERT INTO workspaces (name, slug) VALUES ('Commons', %s) RETURNING id", [uuid.uuid4().hex]
    ).fetchone()
    assert row is not None
    found = row[0]
    assert isinstance(found, uuid.UUID)
    return found


def a_teller(connection: Any, workspace: uuid.UUID, name: str) -> uuid.UUID:
    row = connection.execute(
        "INSERT INTO storytellers (workspace_id, name) VALUES (%s, %s) RETURNING id", [workspace, name]
    ).fetchone()
    found = row[0]
    assert isinstance(found, uuid.UUID)
    return found


def test_what_people_do_on_either_side_is_on_both(linked: Linked) -> None:
    linked.init()
    with linked.running():
        workspace = a_workspace(linked)
        linked.until_equal("workspaces", "id, name, slug")
        one = a_teller(linked.hub, workspace, "from the hub")
        two = a_teller(linked.spoke, workspace, "from the spoke")
        linked.until_equal("storytellers", "id, name")
        linked.hub.execute("UPDATE storytellers SET name = 'hub changed' WHERE id = %s", [two])
        linked.spoke.execute("UPDATE storytellers SET bio = 'spoke changed' WHERE id = %s", [one])
        linked.until_equal("storytellers", "id, name, bio")
        until(
            lambda: (one, "from the hub", "spoke changed") in linked.rows(linked.hub, "storytellers", "id, name, bio")
        )
        linked.spoke.execute("DELETE FROM storytellers WHERE id = %s", [one])
        until(lambda: [row[0] for row in linked.rows(linked.hub, "storytellers", "id")] == [two])
