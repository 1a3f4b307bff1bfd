"""A physical standby of an embedded PostgreSQL, as an operator would set it up for slots that survive a failover."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from daemon.embedded.postgres import PostgresServer
from daemon.embedded.postgres_install import binaries
from tests.waiting import until

PHYSICAL_SLOT = "standby"
PRIMARY: Mapping[str, str] = {"fsync": "off", "wal_log_hints": "on", "wal_keep_size": "64MB"}
SYNCED = (
    "SELECT bool_and(synced AND NOT temporary AND invalidation_reason IS NULL) FROM pg_replication_slots WHERE failover"
)


class StandbyServer(PostgresServer):
    """Begins as a copy of the primary, and follows it by a physical slot until `promote`."""

    def __init__(self, primary: PostgresServer, settings: Mapping[str, str]) -> None:
        super().__init__(version=primary.version, settings={**PRIMARY, **settings})
        self._primary = primary

    def promote(self) -> None:
        """Make it a primary of a timeline of its own."""
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            connection.execute("SELECT pg_promote()")

    def caught_up(self) -> None:
        """Wait until it has replayed all that the primary has written."""
        with psycopg.connect(self._primary.dsn(), autocommit=True) as primary:
            written = primary.execute("SELECT pg_current_wal_flush_lsn()").fetchone()
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            behind = "SELECT pg_last_wal_replay_lsn() >= %s"
            until(lambda: (connection.execute(behind, written).fetchone() or [0])[0], what="a standby that has it all")

    def _command(self, root: Path) -> list[str | Path]:
        if not (root / "data").exists():
            self._copy_primary(root)
        return [*super()._command(root)]

    def _copy_primary(self, root: Path) -> None:
        parts = urlsplit(self._primary.dsn())
        (root / "password").write_text(parts.password or "")
        conninfo = f"host={parts.hostname} port={parts.port} user=postgres password={parts.password} dbname=postgres"
        identity = {"user": self._account.uid, "group": self._account.gid} if self._account else {}
        subprocess.run(
            [
                *(binaries(self.version, self._account) / "pg_basebackup", "--pgdata", root / "data"),
                *("--dbname", conninfo, "--slot", PHYSICAL_SLOT, "--checkpoint=fast", "--no-sync"),
            ],
            check=True,
            capture_output=True,
            cwd="/",
            **identity,  # type: ignore[call-overload]
        )
        (root / "data" / "standby.signal").touch()
        self._settings = {**self._settings, "primary_conninfo": conninfo, "primary_slot_name": PHYSICAL_SLOT}


StandbyFactory = Callable[..., StandbyServer]


@pytest.fixture
def standby_factory() -> Iterator[StandbyFactory]:
    """A function that starts a standby of a primary; `settings` are its own."""
    with ExitStack() as stack:

        def make(primary: PostgresServer, **settings: str) -> StandbyServer:
            with psycopg.connect(primary.dsn(), autocommit=True) as connection:
                connection.execute("SELECT pg_create_physical_replication_slot(%s, true)", [PHYSICAL_SLOT])
            standby = stack.enter_context(StandbyServer(primary, {"hot_standby": "on", **settings}))
            until(lambda: _follows(primary), what="a standby that follows")
            return standby

        yield make


def _follows(primary: PostgresServer) -> bool:
    with psycopg.connect(primary.dsn(), autocommit=True) as connection:
        row = connection.execute("SELECT active FROM pg_replication_slots WHERE slot_name = %s", [PHYSICAL_SLOT])
        return row.fetchone() == (True,)
