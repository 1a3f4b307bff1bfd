"""`placemat dev`: the embedded servers alone, in the background, with data that stays; and SQL on what runs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import platformdirs
import psycopg

from daemon.database import reason
from daemon.embedded import running
from daemon.embedded.running import Running
from daemon.embedded.servers import DATABASES, Servers
from daemon.errors import OperatorError

ROOT_DIRECTORY = Path("/var/lib/placemat/dev")
"""Root's home is closed to the user whom PostgreSQL runs as."""


@dataclass(frozen=True, slots=True)
class SqlResult:
    """What a statement gave: columns and rows, both empty without a result set, and the server's status."""

    columns: Sequence[str]
    rows: Sequence[tuple[object, ...]]
    status: str


def dev_directory() -> Path:
    """Where the data of `dev` stays."""
    return ROOT_DIRECTORY if os.geteuid() == 0 else platformdirs.user_data_path("placemat", appauthor=False) / "dev"


def dev_up(directory: Path | None = None, *, config: Path | None = None) -> Running:
    """Start the servers in the background, unless they run, and make them found. Raises OperatorError."""
    servers = Servers(directory or dev_directory(), detached=True)
    for server in servers.embedded:
        server.adopt()
    servers.start()
    entry = running.describe(
        "dev",
        dsns=servers.dsns,
        bootstrap_servers=servers.kafka.bootstrap_servers,
        config=config,
        process=servers.embedded[0].process,
    )
    running.add(entry)
    return entry


def dev_down(directory: Path | None = None) -> bool:
    """Stop the servers and keep their data. False when none of them was running."""
    servers = Servers(directory or dev_directory(), detached=True)
    adopted = [server.adopt() for server in servers.embedded]
    servers.close()
    running.find("dev")  # sweeps the entry away, whose process has ended
    return any(adopted)


def dev_sql(name: str, statement: str) -> SqlResult:
    """Run a statement on `primary`, `empathy_ledger` or `state` of the running demo or `dev`.

    Of several statements the last one's result is returned. Raises OperatorError when nothing runs, there is no
    such database, or the server refuses the statement.
    """
    if name not in DATABASES:
        raise OperatorError(
            f"There is no database {name} here.", f"Choose one of: {', '.join(sorted(DATABASES))}.", exit_code=2
        )
    entry = running.find()
    if entry is None:
        raise OperatorError(
            "Neither a demo nor the dev servers are running.", "Start one of them: placemat demo, or placemat dev up"
        )
    try:
        connection = psycopg.connect(entry.dsns[name], autocommit=True, connect_timeout=10)
    except psycopg.Error as error:
        raise _silent(name, error) from None
    with connection:
        try:
            return _last_result(connection.execute(statement.encode()))
        except psycopg.OperationalError as error:
            raise _silent(name, error) from error
        except psycopg.Error as error:
            raise OperatorError(f"{name} refuses the statement: {reason(error)}.", "Correct the statement.") from error


def _silent(name: str, error: psycopg.Error) -> OperatorError:
    return OperatorError(f"{name} does not answer: {reason(error)}.", "Look whether it was stopped: placemat status")


def _last_result(cursor: psycopg.Cursor[tuple[object, ...]]) -> SqlResult:
    while cursor.nextset():
        pass
    status = cursor.statusmessage or ""
    if cursor.description is None:
        return SqlResult((), (), status)
    return SqlResult([column.name for column in cursor.description], cursor.fetchall(), status)
