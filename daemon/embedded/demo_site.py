"""What the demo sets up before anything runs: databases, roles, witness, and a configuration."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

import psycopg

from daemon.embedded import witness
from daemon.embedded.sample import load_sample
from daemon.embedded.servers import Servers
from schemas import domain

LOCAL_COLUMN = "updated_at"
SETTINGS = {"track_commit_timestamp": "on"}
"""Of the demo's PostgreSQL servers: the time from commit to commit is measured by what they note themselves."""

_COLUMNS = """
SELECT array_agg(attname::text ORDER BY attnum) FROM pg_attribute
WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attname <> %s
"""


def install(servers: Servers, config: Path, *, sample: bool) -> dict[str, int]:
    """Make the domain's two databases, with sample rows if asked for, watch both, and write `config`; rows by table."""
    passwords = {role: secrets.token_urlsafe(16) for role in (domain.CAPTURE, domain.APPLY)}
    dsns = servers.dsns
    with psycopg.connect(dsns["primary"]) as primary:
        domain.install_primary(primary, passwords)
    with psycopg.connect(dsns["empathy_ledger"]) as ledger:
        domain.install_empathy_ledger(ledger, passwords)
    with psycopg.connect(dsns["primary"]) as primary:
        counts = load_sample(primary) if sample else {}
        compared = {f"public.{table}": _columns(primary, table) for table in domain.ROUTED_TABLES}
    witness.install(dsns["primary"], dsns["empathy_ledger"], compared)
    source = servers.hub.dsn("primary", domain.CAPTURE, passwords[domain.CAPTURE])
    target = servers.ledger.dsn("empathy_ledger", domain.APPLY, passwords[domain.APPLY])
    config.touch(mode=0o600)  # it holds passwords
    config.write_text(_configuration(servers, source, target))
    return counts


def _columns(connection: psycopg.Connection[tuple[object, ...]], table: str) -> list[str]:
    row = connection.execute(_COLUMNS, [f"public.{table}", LOCAL_COLUMN]).fetchone()
    assert row is not None
    return list(row[0])  # type: ignore[call-overload,no-any-return]


def _configuration(servers: Servers, source: str, target: str) -> str:
    tables = [f"public.{table}" for table in domain.ROUTED_TABLES]
    routes = "".join(
        f"[targets.empathy_ledger.tables.{json.dumps(table)}]\nlocal = [{json.dumps(LOCAL_COLUMN)}]\n"
        for table in tables
    )
    return f"""# Written by placemat demo.
[state]
url = {json.dumps(servers.dsns["state"])}

[kafka]
bootstrap_servers = {json.dumps(servers.kafka.bootstrap_servers)}

[sources.primary]
url = {json.dumps(source)}
tables = {json.dumps(tables)}

[targets.empathy_ledger]
url = {json.dumps(target)}
# The demo's own load deletes rows all the time.
delete_guard = {{ enabled = false }}
{routes}
[http]
port = 0
"""
