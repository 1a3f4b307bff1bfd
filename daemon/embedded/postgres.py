"""A PostgreSQL server of our own, with `wal_level=logical` as a primary needs it."""

from __future__ import annotations

import ctypes
import secrets
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import psycopg

from daemon.embedded import directory as directories
from daemon.embedded.ports import LOOPBACK
from daemon.embedded.postgres_install import Version, binaries
from daemon.embedded.process import reasons
from daemon.embedded.server import Server
from daemon.errors import OperatorError

SUPERUSER = "postgres"
SETTINGS: Mapping[str, str] = {
    "wal_level": "logical",
    "max_connections": "200",
    "max_wal_senders": "40",
    "max_replication_slots": "40",
    "max_wal_size": "1GB",
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "dynamic_shared_memory_type": "mmap",  # in the data directory: a killed server leaves nothing elsewhere
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}
IPC_RMID = 0
LOCALE = {16: ("--locale=C",), 18: ("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C")}


class PostgresServer(Server):
    """PostgreSQL 18 or 16, with a password for its superuser `postgres`; see `Server` for the rest.

    `settings` go over `SETTINGS`, and `ALTER SYSTEM` over both. As root it runs as an unprivileged user, who must
    be able to reach a given directory.
    """

    name = "PostgreSQL"
    stop_signal = signal.SIGINT
    death_signal = signal.SIGQUIT

    def __init__(
        self,
        directory: Path | None = None,
        *,
        version: Version = 18,
        settings: Mapping[str, str] | None = None,
        detached: bool = False,
    ) -> None:
        super().__init__(directory, account=directories.unprivileged_account(), detached=detached)
        self.version: Version = version
        self._settings = {**SETTINGS, **(settings or {})}
        self._password = ""

    def dsn(self, database: str = SUPERUSER, user: str = SUPERUSER, password: str | None = None) -> str:
        """A `postgresql://` URL; the password is the superuser's own unless another is given."""
        secret = self._password if password is None else password
        return f"postgresql://{quote(user)}:{quote(secret)}@{LOOPBACK}:{self.port}/{quote(database)}"

    def adopt(self) -> bool:
        found = super().adopt()
        if found:
            self._password = (self.directory / "password").read_text()
        return found

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Shut down and keep the data. `fast` ends every session; `immediate` leaves recovery to the next start."""
        self._stop(signal.SIGINT if mode == "fast" else signal.SIGQUIT)

    def kill(self) -> None:
        super().kill()
        if self._root:
            _remove_shared_memory(self._root / "data" / "postmaster.pid")

    def _command(self, root: Path) -> Sequence[str | Path]:
        programs = binaries(self.version, self._account)
        password_file = root / "password"
        if not (root / "data" / "PG_VERSION").exists():
            password_file.touch()
            directories.give(password_file, self._account)
            password_file.write_text(secrets.token_urlsafe(24))
            self._initdb(programs, root)
        self._password = password_file.read_text()
        self._configure(root / "data")
        return [programs / "postgres", "-D", root / "data", "-p", str(self.port)]

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.dsn(), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _initdb(self, programs: Path, root: Path) -> None:
        directories.remove(root / "data")
        identity = {"user": self._account.uid, "group": self._account.gid} if self._account else {}
        made = subprocess.run(
            [
                *(programs / "initdb", "-D", root / "data", "--username", SUPERUSER, "--pwfile", root / "password"),
                *("--auth=scram-sha-256", "--encoding=UTF8", "--no-sync", "--no-instructions"),
                *LOCALE[self.version],
            ],
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            **identity,  # type: ignore[call-overload]
        )
        if made.returncode:
            directories.remove(root / "data")
            raise OperatorError(
                f"A PostgreSQL cluster could not be made in {root}: {reasons(made.stderr)[-1]}.",
                "Look at the free disk space and at the owner of that directory.",
            )

    def _configure(self, data: Path) -> None:
        """Our settings in a file of their own, which `ALTER SYSTEM` still overrides."""
        quoted = {name: value.replace("'", "''") for name, value in self._settings.items()}
        ours = data / "placemat.conf"
        ours.write_text("".join(f"{name} = '{value}'\n" for name, value in quoted.items()))
        directories.give(ours, self._account)
        main = data / "postgresql.conf"
        include = "include 'placemat.conf'\n"
        if not main.read_text().endswith(include):
            with main.open("a") as file:
                file.write(include)


def _remove_shared_memory(lock_file: Path) -> None:
    """Drop the segment that a killed postmaster leaves behind; its id is the second number of the seventh line."""
    try:
        _, segment = lock_file.read_text().splitlines()[6].split()
    except (FileNotFoundError, IndexError, ValueError):
        return
    ctypes.CDLL(None).shmctl(int(segment), IPC_RMID, None)
