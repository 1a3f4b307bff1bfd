"""What the demo sets up before anything runs: databases, roles, witness, and a configuration."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol
from uuid import UUID

import psycopg

from daemon.embedded import witness
from daemon.embedded.given import Kafka, Postgres
from daemon.embedded.notion.site import MIRROR, Workspace
from daemon.embedded.notion.site import sections as notion_sections
from daemon.embedded.sample import load_sample
from daemon.embedded.sample_text import WORKSPACES
from daemon.embedded.scenario.ledger import Rule
from schemas import domain

LOCAL_COLUMN = "updated_at"
OWN_COLUMNS = {
    "workspaces": ("theme_colour",),
    "storytellers": ("preferred_contact",),
    "stories": ("featured", "reading_count"),
    "story_media": ("alt_text",),
}
"""Those that only the Empathy Ledger has."""
RULES: Mapping[str, Mapping[str, Rule]] = {
    "storytellers": {"bio": "manual", "cultural_background": "target"},
    "stories": {"content": "hub", "themes": "merge"},
}
"""Where both sides have changed a field; of all others the latest change stands."""
SKEW_SECONDS = 0.2
GUARD = """# The demo's own load deletes rows all the time.
delete_guard = { enabled = false }
"""
FROZEN_SECONDS = 60.0
"""Workers may stand still for so long before others would take over, of which there are none."""
SETTINGS = {"track_commit_timestamp": "on"}
"""Of the demo's PostgreSQL servers: the time from commit to commit is measured by what they note themselves."""

_COLUMNS = """
SELECT array_agg(attname::text ORDER BY attnum) FROM pg_attribute
WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attname <> %s
"""


class Site(Protocol):
    """Servers as `Servers` has them."""

    @property
    def hub(self) -> Postgres: ...
    @property
    def ledger(self) -> Postgres: ...
    @property
    def kafka(self) -> Kafka: ...
    @property
    def dsns(self) -> Mapping[str, str]: ...


def install(
    servers: Site, config: Path, *, sample: bool, both_ways: bool = False, notion: Workspace | None = None,
    passwords: Mapping[str, str] | None = None,
) -> dict[str, int]:  # fmt: skip
    """Make the domain's two databases, with sample rows if asked for, watch both, and write `config`; rows by table.

    `both_ways`: what people change in the Empathy Ledger comes to the primary. `notion` is a target beside it, and
    needs sample rows. `passwords` are those of the daemon's roles, new ones where they are not given.
    """
    passwords = passwords or {role: secrets.token_urlsafe(16) for role in (domain.CAPTURE, domain.APPLY)}
    dsns = servers.dsns
    with psycopg.connect(dsns["primary"]) as primary:
        domain.install_primary(primary, passwords)
        if notion is not None:
            domain.add_notion(primary)
    with psycopg.connect(dsns["empathy_ledger"]) as ledger:
        domain.install_empathy_ledger(ledger, passwords)
    with psycopg.connect(dsns["primary"]) as primary:
        counts = load_sample(primary) if sample else {}
        compared = {f"public.{table}": columns(primary, table) for table in domain.ROUTED_TABLES}
        own = shown_workspace(primary) if notion is not None else None
    witness.install(dsns["primary"], dsns["empathy_ledger"], compared)
    config.touch(mode=0o600)  # it holds passwords
    more = ""
    if notion is not None and own is not None:
        back = servers.hub.dsn("primary", domain.APPLY, passwords[domain.APPLY])
        more = notion_sections(notion, servers.hub.dsn(MIRROR), back, own, GUARD)
    config.write_text(_configuration(servers, passwords, both_ways=both_ways, more=more))
    return counts


def shown_workspace(connection: psycopg.Connection[tuple[object, ...]]) -> UUID:
    """The workspace of the sample whose rows Notion shows."""
    row = connection.execute("SELECT id FROM workspaces WHERE name = %s", [WORKSPACES[0]]).fetchone()
    assert row is not None
    assert isinstance(row[0], UUID)
    return row[0]


def columns(connection: psycopg.Connection[tuple[object, ...]], table: str) -> list[str]:
    """Those of a table of the primary that are the same on both sides."""
    row = connection.execute(_COLUMNS, [f"public.{table}", LOCAL_COLUMN]).fetchone()
    assert row is not None
    return list(row[0])  # type: ignore[call-overload,no-any-return]


def _configuration(servers: Site, passwords: Mapping[str, str], *, both_ways: bool, more: str) -> str:
    urls = {
        (database, role): json.dumps(server.dsn(database, role, passwords[role]))
        for server, database in ((servers.hub, "primary"), (servers.ledger, "empathy_ledger"))
        for role in passwords
    }
    tables = json.dumps([f"public.{table}" for table in domain.ROUTED_TABLES])
    of_primary = (*domain.ROUTED_TABLES, *(domain.NOTION_TABLES if more else ()))
    captured = json.dumps([f"public.{table}" for table in of_primary])
    back = f"""
[sources.empathy_ledger]
url = {urls["empathy_ledger", domain.CAPTURE]}
tables = {tables}

[targets.primary]
source = "empathy_ledger"
url = {urls["primary", domain.APPLY]}
session_timeout_seconds = {FROZEN_SECONDS}
{GUARD}"""
    routes = "\n".join(_route(table, both_ways=both_ways) for table in domain.ROUTED_TABLES)
    out = f"skew_seconds = {SKEW_SECONDS}\nsession_timeout_seconds = {FROZEN_SECONDS}\n" if both_ways else ""
    return f"""# Written by placemat demo.
[state]
url = {json.dumps(servers.dsns["state"])}

[kafka]
bootstrap_servers = {json.dumps(servers.kafka.bootstrap_servers)}

[sources.primary]
url = {urls["primary", domain.CAPTURE]}
tables = {captured}
{back if both_ways else ""}
[targets.empathy_ledger]
url = {urls["empathy_ledger", domain.APPLY]}
{GUARD}{out}
{routes}
{more}
[http]
port = 0
"""


def _route(table: str, *, both_ways: bool) -> str:
    said: dict[str, object] = {"local": [LOCAL_COLUMN]}
    if both_ways:
        said = {"local": [LOCAL_COLUMN, *OWN_COLUMNS.get(table, ())], "both_ways": True, "updated_at": LOCAL_COLUMN}
    lines = [f"{name} = {json.dumps(value)}" for name, value in said.items()]
    if both_ways and table in RULES:
        rules = ", ".join(f"{field} = {json.dumps(rule)}" for field, rule in RULES[table].items())
        lines.append(f"rules = {{ {rules} }}")
    return "\n".join([f"[targets.empathy_ledger.tables.{json.dumps(f'public.{table}')}]", *lines, ""])
