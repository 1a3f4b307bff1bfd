"""What people do in databases that go both ways, and what they see there."""

from __future__ import annotations

import uuid
from typing import Any

from tests.fix_linked import Connection, Linked

TELLER = "id, name, bio, cultural_background, consent_given, metadata"
"""Columns of a storyteller that both sides have."""


def made(connection: Connection, table: str, **values: object) -> uuid.UUID:
    """A new row; its key."""
    columns, places = ", ".join(values), ", ".join(["%s"] * len(values))
    statement = f"INSERT INTO {table} ({columns}) VALUES ({places}) RETURNING id"
    row = connection.execute(statement.encode(), list(values.values())).fetchone()
    assert row is not None
    assert isinstance(row[0], uuid.UUID)
    return row[0]


def put(connection: Connection, table: str, key: uuid.UUID, **values: object) -> None:
    assigned = ", ".join(f"{name} = %s" for name in values)
    done = connection.execute(f"UPDATE {table} SET {assigned} WHERE id = %s".encode(), [*values.values(), key])
    assert done.rowcount == 1


def seen(connection: Connection, table: str, key: uuid.UUID) -> bool:
    return connection.execute(f"SELECT FROM {table} WHERE id = %s".encode(), [key]).fetchone() is not None


def value(connection: Connection, table: str, column: str, key: uuid.UUID) -> Any:
    """None also where there is no such row."""
    row = connection.execute(f"SELECT {column} FROM {table} WHERE id = %s".encode(), [key]).fetchone()
    return row[0] if row is not None else None


def a_workspace(linked: Linked) -> uuid.UUID:
    """Made at the hub; all sides have it."""
    key = made(linked.hub, "workspaces", name="Commons", slug=uuid.uuid4().hex)
    linked.rest(60)
    return key


def a_teller(linked: Linked, at: Connection, workspace: uuid.UUID, **values: object) -> uuid.UUID:
    """Made at one side; both have it."""
    key = made(at, "storytellers", workspace_id=workspace, **{"name": "A teller", **values})
    linked.rest()
    assert seen(linked.hub, "storytellers", key)
    assert seen(linked.spoke, "storytellers", key)
    return key
