"""A site: the domain's databases, a state database and a configuration, with names that no other test has."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from daemon.config.load import load
from daemon.config.settings import Settings
from schemas import domain
from tests.command import REPOSITORY, Ended, command
from tests.fix_servers import Kafka, Postgres

PASSWORD = "only-for-tests"


@dataclass(slots=True)
class Site:
    """`primary`, `ledger` and `state` are superuser URLs; the configuration uses the daemon's own roles."""

    uid: str
    primary: str
    ledger: str
    state: str
    config: Path
    values: dict[str, Any]
    _stack: ExitStack = field(default_factory=ExitStack)

    @property
    def source(self) -> str:
        return f"p{self.uid}"

    @property
    def slot(self) -> str:
        return f"placemat_{self.uid}"

    @property
    def settings(self) -> Settings:
        return load(self.config)

    def placemat(self, *arguments: str) -> Ended:
        """Run a verb in this process, with this site's configuration."""
        return command("--config", str(self.config), *arguments)

    def spawn(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the real command; it is killed at the end of the test at the latest."""
        process = subprocess.Popen(
            [sys.executable, "-m", "daemon", "--config", str(self.config), *arguments],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=_hear_ctrl_c,
        )
        self._stack.callback(_kill, process)
        return process

    def set(self, path: str, value: Any) -> None:
        """Change one setting (`sources.NAME.url`) and write the configuration anew; None takes it out."""
        *sections, last = path.split(".")
        place = self.values
        for section in sections:
            place = place.setdefault(section, {})
        if value is None:
            place.pop(last)
        else:
            place[last] = value
        self.write()

    def write(self) -> None:
        self.config.write_text(_toml(self.values))

    def run_sql(self, url: str, statement: str) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(statement.encode())


@pytest.fixture
def role_factory(postgres_server: Postgres) -> Iterator[Callable[[str], str]]:
    """A function: attributes → name of a fresh role with password `PASSWORD`, dropped after the databases."""
    made: list[str] = []

    def make(attributes: str) -> str:
        name = f"role_{uuid.uuid4().hex[:10]}"
        with psycopg.connect(postgres_server.dsn(), autocommit=True) as connection:
            connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}' {attributes}".encode())
        made.append(name)
        return name

    yield make
    with psycopg.connect(postgres_server.dsn(), autocommit=True) as connection:
        for name in made:
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


@pytest.fixture
def site(
    postgres_server: Postgres,
    kafka_server: Kafka,
    role_factory: Callable[[str], str],
    database_factory: Callable[[str], str],
    tmp_path: Path,
) -> Iterator[Site]:
    with made_site(postgres_server, kafka_server, database_factory, tmp_path / "placemat.toml") as found:
        yield found


@contextmanager
def made_site(
    postgres_server: Postgres, kafka_server: Kafka, database_factory: Callable[[str], str], config: Path
) -> Iterator[Site]:
    """The domain's databases, and a configuration of what goes one way; nothing is prepared."""
    uid = uuid.uuid4().hex[:8]
    primary, ledger, state = database_factory("primary"), database_factory("ledger"), database_factory("state")
    passwords = {domain.CAPTURE: PASSWORD, domain.APPLY: PASSWORD}
    with psycopg.connect(primary) as connection:
        domain.install_primary(connection, passwords)
    with psycopg.connect(ledger) as connection:
        domain.install_empathy_ledger(connection, passwords)
    values = {
        "state": {"url": state},
        "kafka": {"bootstrap_servers": kafka_server.bootstrap_servers, "partitions": 3},
        "sources": {
            f"p{uid}": {
                "url": postgres_server.dsn(primary.rpartition("/")[2], domain.CAPTURE, PASSWORD),
                "slot": f"placemat_{uid}",
                "tables": [f"public.{table}" for table in domain.ROUTED_TABLES],
            }
        },
        "targets": {
            "empathy_ledger": {
                "url": postgres_server.dsn(ledger.rpartition("/")[2], domain.APPLY, PASSWORD),
                "source": f"p{uid}",
                "tables": {f"public.{table}": {"local": ["updated_at"]} for table in domain.ROUTED_TABLES},
            }
        },
        "http": {"port": 0},
        "audit": {"topic": f"placemat.audit.{uid}"},
    }
    found = Site(uid, primary, ledger, state, config, values)
    found.write()
    with found._stack:
        yield found


def _hear_ctrl_c() -> None:
    """A shell lets what it starts in the background ignore Ctrl-C, and children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def _toml(values: Mapping[str, Any], prefix: str = "") -> str:
    """Enough TOML for our own settings: strings, numbers, lists of strings, tables with any name."""
    own = {key: value for key, value in values.items() if not isinstance(value, dict)}
    lines = [f"{json.dumps(key)} = {json.dumps(value, ensure_ascii=False)}" for key, value in own.items()]
    for key, value in values.items():
        if isinstance(value, dict):
            name = f"{prefix}{json.dumps(key)}"
            lines += [f"\n[{name}]", _toml(value, f"{name}.")]
    return "\n".join(lines) + "\n"
