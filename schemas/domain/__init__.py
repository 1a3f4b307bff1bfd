"""The databases of the domain as SQL files: the primary and the Empathy Ledger.

The files are plain SQL without passwords, so that Python, `psql -f` and a container's init scripts run the same text.
Order in an empty database: `ROLES`, then `PRIMARY` or `EMPATHY_LEDGER`, then the passwords. `NOTION` comes
after `PRIMARY`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from psycopg import Connection, sql

ROLES: Traversable = files(__package__) / "roles.sql"
PRIMARY: Traversable = files(__package__) / "primary.sql"
EMPATHY_LEDGER: Traversable = files(__package__) / "empathy_ledger.sql"
NOTION: Traversable = files(__package__) / "notion.sql"

OWNER = "app_owner"
CAPTURE = "placemat_capture"
APPLY = "placemat_apply"
PUBLICATION = "placemat"
ROUTED_TABLES = ("workspaces", "projects", "storytellers", "stories", "story_media")
NOTION_TABLES = (
    "organisations",
    "opportunities",
    "contacts",
    "actions",
    "artifacts",
    "places",
    "project_contacts",
    "interactions",
)
"""Those that only Notion has, beside projects and stories; the last two say which contacts it has."""


def install_primary(conn: Connection[Any], passwords: Mapping[str, str] | None = None) -> None:
    """Make roles, tables and publication of the primary in the empty database of a superuser's connection.

    Raises psycopg.errors.DuplicateTable or DuplicateObject when the database is not empty.
    """
    _install(conn, PRIMARY, passwords or {})


def install_empathy_ledger(conn: Connection[Any], passwords: Mapping[str, str] | None = None) -> None:
    """Make roles and tables of the Empathy Ledger in the empty database of a superuser's connection.

    Raises psycopg.errors.DuplicateTable or DuplicateObject when the database is not empty.
    """
    _install(conn, EMPATHY_LEDGER, passwords or {})


def add_notion(conn: Connection[Any]) -> None:
    """Let the daemon have of the primary what is in Notion, by a superuser's connection.

    Raises psycopg.errors.DuplicateColumn when that was done before.
    """
    with conn.transaction():
        conn.execute(NOTION.read_text(encoding="utf-8"))


def set_passwords(conn: Connection[Any], passwords: Mapping[str, str]) -> None:
    """Give roles their passwords (role -> password); only the SCRAM verifier travels to the server."""
    for role, password in passwords.items():
        verifier = conn.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256")
        statement = sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(verifier.decode()))
        conn.execute(statement)


def _install(conn: Connection[Any], tables: Traversable, passwords: Mapping[str, str]) -> None:
    with conn.transaction():
        for file in (ROLES, tables):
            conn.execute(file.read_text(encoding="utf-8"))
        set_passwords(conn, passwords)
