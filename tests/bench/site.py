"""Where a part of the benchmark runs: embedded servers of its own, one table, and workers in processes of their own."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import psycopg
from confluent_kafka.admin import AdminClient

from daemon import broker
from daemon.config.load import load
from daemon.config.settings import Settings
from daemon.embedded.servers import Servers
from schemas import domain
from schemas.topics import table_topic
from tests.bench.clock import PAUSE_SECONDS, when
from tests.bench.rows import GRANTS_PRIMARY, GRANTS_TARGET, TABLE, insert
from tests.command import REPOSITORY

CAPTURE, APPLY, AUDIT = "capture:primary", "apply:empathy_ledger", "audit:empathy_ledger"
TOPIC = table_topic("primary", *TABLE.split(".", 1))
SETTINGS = {"track_commit_timestamp": "on"}
STOP_SECONDS = 20.0
ASK_KAFKA_SECONDS = 0.04

_COPYING = "SELECT 1 FROM placemat.snapshots WHERE done_at IS NULL"
_ARRIVED = f"SELECT 1 FROM {TABLE} WHERE id = md5(%s::text)::uuid"


class WorkerEnded(Exception):
    """A worker ended while it was measured."""


@dataclass(slots=True)
class Site:
    """`rows` is the number of the last row that was written: rows are numbered from 1."""

    servers: Servers
    directory: Path
    settings: Settings
    admin: AdminClient
    rows: int = 0
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def primary(self) -> str:
        return self.servers.dsns["primary"]

    @property
    def ledger(self) -> str:
        return self.servers.dsns["empathy_ledger"]

    @property
    def config(self) -> Path:
        return self.directory / "placemat.toml"

    def start(self, worker: str, environment: Mapping[str, str] | None = None) -> psutil.Process:
        """Run one worker as `placemat run` does; `environment` goes before what is set."""
        with self._log(worker).open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "daemon", "--config", self.config, "run", worker],
                cwd=REPOSITORY, stdout=log, stderr=log, env={**os.environ, **(environment or {})},
            )  # fmt: skip
        self.processes[worker] = process
        return psutil.Process(process.pid)

    def stop(self, worker: str) -> None:
        """Ask it to end, and wait until it has."""
        process = self.processes.pop(worker)
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def close(self) -> None:
        for worker in list(self.processes):
            self.stop(worker)

    def when(self, condition: Callable[[], object], what: str, *, pause_seconds: float = PAUSE_SECONDS) -> float:
        """See `clock.when`; raises WorkerEnded, with the end of its log, when a worker is gone."""
        return when(condition, what, alive=self._check_workers, pause_seconds=pause_seconds)

    def when_published(self, count: int) -> float:
        """The moment at which the table's topic had so many records; seldom asked, because the broker has to answer."""
        return self.when(
            lambda: self.published() >= count, f"{count} records in the topic", pause_seconds=ASK_KAFKA_SECONDS
        )

    def write_one(self) -> int:
        """One more row, in a transaction of its own, flushed with all before it; its number."""
        insert(self.primary, self.rows + 1, self.rows + 1)
        self.rows += 1
        return self.rows

    def write(self, count: int, per_transaction: int) -> None:
        """New rows, so many in each transaction."""
        insert(self.primary, self.rows + 1, self.rows + count, per_transaction)
        self.rows += count

    def published(self) -> int:
        """Records in the table's topic."""
        partitions = [(TOPIC, number) for number in range(self.settings.kafka.partitions)]
        return sum(broker.offsets(self.admin, partitions, "latest").values())

    def settle(self) -> None:
        """Let the workers that run take what there is; the initial copy too."""
        number = self.write_one()
        with psycopg.connect(self.servers.dsns["state"], autocommit=True) as state:
            self.when(lambda: state.execute(_COPYING).fetchone() is None, "the end of the initial copy")
        self.when_arrived(self.ledger, number)

    def when_arrived(self, dsn: str, number: int) -> float:
        """The moment at which a row was seen in a target; the same question whoever brings it there."""
        with psycopg.connect(dsn, autocommit=True) as target:
            return self.when(lambda: target.execute(_ARRIVED, [number]).fetchone(), f"row {number} in a target")

    def _log(self, worker: str) -> Path:
        return self.directory / f"{worker.replace(':', '-')}.log"

    def _check_workers(self) -> None:
        for worker, process in self.processes.items():
            if process.poll() is not None:
                last = self._log(worker).read_text(errors="replace").splitlines()[-5:]
                raise WorkerEnded(f"{worker} ended with {process.returncode}: " + "\n".join(last))


@contextmanager
def site() -> Iterator[Site]:
    """Servers with the table on both sides, `init` done, and nothing to catch up with; no worker runs."""
    with tempfile.TemporaryDirectory(prefix="placemat-bench-") as name, Servers(settings=SETTINGS) as servers:
        directory = Path(name)
        config = directory / "placemat.toml"
        config.touch(mode=0o600)  # it holds passwords
        config.write_text(_configuration(servers, *_install(servers)))
        _init(config)
        settings = load(config)
        found = Site(servers, directory, settings, broker.reach(settings.kafka))
        try:
            for worker in (CAPTURE, APPLY):
                found.start(worker)
            found.settle()
            for worker in (CAPTURE, APPLY):
                found.stop(worker)
            yield found
        finally:
            found.close()


def checkpoint(*dsns: str) -> None:
    """Have it behind us, so that it does not fall into what is measured."""
    for dsn in dsns:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("CHECKPOINT")


def cpu_seconds(process: psutil.Process) -> float:
    """Processor time that it has used so far."""
    times = process.cpu_times()
    return float(times.user + times.system)


def _init(config: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "daemon", "--config", config, "init"],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise WorkerEnded(f"init ended with {done.returncode}: {done.stderr}")


def _install(servers: Servers) -> tuple[str, str]:
    """The table and the daemon's roles on both sides; the roles' URLs of source and target."""
    passwords = {role: secrets.token_urlsafe(16) for role in (domain.CAPTURE, domain.APPLY)}
    for name, grants in (("primary", GRANTS_PRIMARY), ("empathy_ledger", GRANTS_TARGET)):
        with psycopg.connect(servers.dsns[name]) as connection:
            connection.execute(domain.ROLES.read_text(encoding="utf-8"))
            connection.execute(grants)
            domain.set_passwords(connection, passwords)
    return (
        servers.hub.dsn("primary", domain.CAPTURE, passwords[domain.CAPTURE]),
        servers.ledger.dsn("empathy_ledger", domain.APPLY, passwords[domain.APPLY]),
    )


def _configuration(servers: Servers, source: str, target: str) -> str:
    return f"""
[state]
url = {json.dumps(servers.dsns["state"])}

[kafka]
bootstrap_servers = {json.dumps(servers.kafka.bootstrap_servers)}

[sources.primary]
url = {json.dumps(source)}
tables = [{json.dumps(TABLE)}]

[targets.empathy_ledger]
url = {json.dumps(target)}
delete_guard = {{ enabled = false }}
tables = {{ {json.dumps(TABLE)} = {{}} }}

[http]
port = 0
"""
