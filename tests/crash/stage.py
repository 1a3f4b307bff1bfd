"""A stage for crash tests: servers of its own, the witness, a load, and workers that can be killed and frozen."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from daemon.embedded import demo_site, witness
from daemon.embedded.load import run_load
from daemon.embedded.servers import Servers
from daemon.seams import VARIABLE
from schemas import domain
from schemas.topics import table_topic
from tests import forked
from tests.asking import ask
from tests.command import REPOSITORY
from tests.waiting import until

TARGET = "empathy_ledger"
CAPTURE, APPLY = "capture:primary", "apply:empathy_ledger"
SETTLE_SECONDS = 90.0
COMMAND_SECONDS = 120.0
QUICK: Mapping[str, str] = {
    "PLACEMAT_TARGETS__EMPATHY_LEDGER__SESSION_TIMEOUT_SECONDS": "2",
    "PLACEMAT_SOURCES__PRIMARY__SNAPSHOT__CHUNK_ROWS": "50",
    "PLACEMAT_SOURCES__PRIMARY__FLUSH_INTERVAL_SECONDS": "0.1",
    "PLACEMAT_SOURCES__PRIMARY__IDLE_FLUSH_INTERVAL_SECONDS": "0.1",
}
"""Limits shortened, so that nothing has to be waited for."""
SERVER_SETTINGS: Mapping[str, str] = {"wal_sender_timeout": "3s", "fsync": "off"}

_MARK = """SELECT (pg_logical_emit_message(true, 'placemat.mark', '{"by": "test"}') - '0/0'::pg_lsn)::bigint"""
_INDEXES = {
    "primary": "CREATE INDEX ON witness.journal (seq)",
    TARGET: "CREATE INDEX ON witness.log (seq); CREATE INDEX ON witness.log (key); CREATE INDEX ON witness.log (xid)",
}
"""What is in flight is asked for again and again, and the books grow to millions of lines."""
_LANE = "SELECT commit_lsn::bigint FROM placemat.lanes WHERE lane = 'main'"


Started = subprocess.Popen[bytes] | forked.Forked


@dataclass(slots=True)
class Stage:
    """`environment` is what the workers get beside the configuration."""

    servers: Servers
    config: Path
    logs: Path
    environment: dict[str, str] = field(default_factory=lambda: dict(QUICK))
    processes: dict[str, Started] = field(default_factory=dict)
    failures: list[BaseException] = field(default_factory=list)
    """What ended a load before its time."""
    quick: bool = False
    """Commands are forked from one process; else started as users start them."""

    @property
    def primary(self) -> str:
        return self.servers.dsns["primary"]

    @property
    def ledger(self) -> str:
        return self.servers.dsns[TARGET]

    @property
    def state(self) -> str:
        return self.servers.dsns["state"]

    def init(self) -> None:
        self.ends_well("init")

    def command(self, *arguments: str, seam: str | None = None) -> Started:
        """Run a command; what it prints is in its log. It kills itself at `seam` if one is given."""
        words = ["--config", str(self.config), *arguments]
        environment = {**os.environ, **self.environment, **({VARIABLE: seam} if seam else {})}
        with self.log(arguments[-1] if arguments[0] == "run" else arguments[0]).open("ab") as log:
            if self.quick:
                return forked.spawn(words, environment, log.fileno(), log.fileno())
            return subprocess.Popen(
                [sys.executable, "-m", "daemon", *words], cwd=REPOSITORY, env=environment, stdout=log, stderr=log
            )

    def ends_well(self, *arguments: str) -> None:
        """Run a command to its end. Fails the test when it does not end with 0."""
        code = self.command(*arguments).wait(COMMAND_SECONDS)
        assert code == 0, f"{arguments[0]} ended with {code}: {self.said(arguments[0])}"

    def start(self, worker: str, *, seam: str | None = None) -> Started:
        """Run one worker in a process of its own; it kills itself at `seam` if one is given."""
        process = self.processes[worker] = self.command("run", worker, seam=seam)
        return process

    def log(self, name: str) -> Path:
        """What all processes of a worker have written, one JSON object a line; or those of another command."""
        return self.logs / f"{name.replace(':', '-')}.log"

    def start_dead(self) -> None:
        """Start those of the two workers that do not run."""
        for worker in (CAPTURE, APPLY):
            if worker not in self.processes:
                self.start(worker)

    def kill(self, worker: str) -> None:
        """SIGKILL, also when it is frozen or dead already."""
        process = self.processes.pop(worker)
        process.kill()
        process.wait()

    def freeze(self, worker: str) -> Started:
        """SIGSTOP; the caller keeps the process and thaws it."""
        process = self.processes.pop(worker)
        process.send_signal(signal.SIGSTOP)
        return process

    def in_flight(self, last: int = 300) -> int:
        """Of the newest changes in the primary, those whose row state the target has not shown yet."""
        self._check_load()
        newest = ask(
            self.primary,
            'SELECT "table", key, md5 FROM witness.journal WHERE md5 IS NOT NULL ORDER BY seq DESC LIMIT %s',
            [last],
        )
        seen = ask(
            self.ledger,
            'SELECT "table", key, md5 FROM witness.log WHERE md5 IS NOT NULL AND key = ANY (%s)',
            [[key for _, key, _ in newest]],
        )
        return len(set(newest) - set(seen))

    def just_committed(self) -> int:
        """Changes of the target's newest transaction: in flight still when its offsets were not committed to Kafka."""
        newest = "SELECT xid FROM witness.log ORDER BY seq DESC LIMIT 1"
        [(changes,)] = ask(self.ledger, f"SELECT count(*) FROM witness.log WHERE xid = ({newest})")
        return int(changes)

    def mark(self) -> int:
        """Commit something in the primary that every target passes; its place in the log."""
        [(place,)] = ask(self.primary, _MARK)
        return int(place)

    def settle(self, seconds: float = SETTLE_SECONDS) -> None:
        """Wait until all that is committed now has been applied, and the initial copy is done."""
        until(self.copied, seconds, what="the end of the initial copy")
        place = self.mark()  # behind the last chunk
        until(lambda: self.applied() >= place, seconds, what="all changes applied")

    def applied(self) -> int:
        """Commit LSN through which the target is applied."""
        lanes = ask(self.ledger, _LANE)
        return int(lanes[0][0]) if lanes else 0

    def copied(self) -> bool:
        return not ask(self.state, "SELECT 1 FROM placemat.snapshots WHERE done_at IS NULL")

    def count(self) -> witness.WitnessReport:
        """What the witness says; call it when the load has ended and `settle` has returned."""
        topics = [table_topic("primary", "public", table) for table in domain.ROUTED_TABLES]
        return witness.count(self.primary, self.ledger, self.servers.kafka.bootstrap_servers, topics)

    def parked(self, patience_seconds: float = 30.0) -> list[tuple[Any, ...]]:
        """Table, key, kind and reason of every key that waits in the target; those of children that only wait for the
        next try, as their parents have come, are given some time."""
        with suppress(AssertionError):
            until(lambda: not self._parked(), patience_seconds)
        return self._parked()

    def _parked(self) -> list[tuple[Any, ...]]:
        return ask(self.ledger, "SELECT table_name, key, kind, reason FROM placemat.parked ORDER BY id")

    @contextmanager
    def load(self, seed: int, *, rate: float = 400, largest: int = 60) -> Iterator[None]:
        """Change rows in the primary for as long as the block runs."""
        stop = threading.Event()

        def write() -> None:
            try:
                run_load(self.primary, seed, rate=rate, largest_transaction=largest, stop=stop)
            except BaseException as error:  # noqa: BLE001 handed to the test below
                self.failures.append(error)

        thread = threading.Thread(target=write)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
        self._check_load()

    def check_workers(self) -> None:
        """Fails the test, with what the worker has said last, when one has ended by itself."""
        for worker, process in self.processes.items():
            if process.poll() not in (None, -signal.SIGKILL):
                raise AssertionError(f"{worker} ended with {process.returncode}: {self.said(worker)}")

    def said(self, name: str, most: int = 4000) -> str:
        """The end of a worker's log."""
        return self.log(name).read_text(encoding="utf-8", errors="replace")[-most:]

    def _check_load(self) -> None:
        if self.failures:
            raise AssertionError("the load has ended before its time") from self.failures[0]

    def stop(self) -> None:
        for worker in list(self.processes):
            self.kill(worker)


@contextmanager
def stage(
    directory: Path, settings: Mapping[str, str] | None = None, *, sample: bool = True, quick: bool = False
) -> Iterator[Stage]:
    """Servers with the domain's tables, sample data in them, and the witness; `init` has not been run.

    `quick`: see `Stage`.
    """
    with Servers(settings={**SERVER_SETTINGS, **(settings or {})}) as servers:
        config = directory / "placemat.toml"
        demo_site.install(servers, config, sample=sample)
        for database, statements in _INDEXES.items():
            ask(servers.dsns[database], statements)
        found = Stage(servers, config, directory, quick=quick)
        try:
            yield found
        finally:
            found.stop()


@contextmanager
def stage_at_work(directory: Path) -> Iterator[Stage]:
    """A stage with both workers, caught up."""
    with stage(directory, quick=True) as found:
        found.init()
        found.start(CAPTURE)
        found.start(APPLY)
        found.settle()
        yield found
