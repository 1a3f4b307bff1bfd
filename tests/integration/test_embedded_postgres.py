from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from signal import SIGKILL

import psutil  # type: ignore[import-untyped]
import psycopg
import pytest

import daemon
from daemon.embedded import directory, process
from daemon.embedded.postgres import PostgresServer
from daemon.embedded.postgres_install import PACKAGE, Version
from daemon.errors import OperatorError
from tests.waiting import until

StartPostgres = Callable[..., PostgresServer]


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """Where every user may go, unlike `tmp_path` of root."""
    account = directory.unprivileged_account()
    made = directory.make_temporary("test", account)
    yield made
    directory.remove(made)


def ask(server: PostgresServer, query: str) -> object:
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        row = connection.execute(query).fetchone()
        return row[0] if row else None


def processes(server: PostgresServer) -> list[psutil.Process]:
    assert server.process
    postmaster = psutil.Process(server.process.pid)
    return [postmaster, *postmaster.children(recursive=True)]


def shared_memory() -> set[str]:
    """Ids of the segments that exist on this machine."""
    return {line.split()[1] for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]}


@pytest.mark.parametrize("version", [16, 18])
def test_server_answers_with_logical_wal_and_many_slots(version: Version) -> None:
    with PostgresServer(version=version) as server:
        assert str(ask(server, "SHOW server_version")).startswith(f"{version}.")
        assert ask(server, "SHOW wal_level") == "logical"
        assert int(str(ask(server, "SHOW max_replication_slots"))) >= 40
        assert ask(server, "SELECT slot_name::text FROM pg_create_logical_replication_slot('s', 'pgoutput')") == "s"
        assert ask(server, "SHOW server_encoding") == "UTF8"


def test_settings_go_over_the_defaults_and_alter_system_over_both(own_postgres: StartPostgres) -> None:
    server = own_postgres(settings={"wal_sender_timeout": "2s", "work_mem": "5MB", "cluster_name": "it's"})
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET work_mem = '6MB'")
    server.stop()
    server.start()
    assert ask(server, "SHOW wal_sender_timeout") == "2s"
    assert ask(server, "SHOW work_mem") == "6MB"
    assert ask(server, "SHOW cluster_name") == "it's"


def test_nobody_connects_without_the_password(own_postgres: StartPostgres) -> None:
    server = own_postgres()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(server.dsn(password="guessed"), connect_timeout=5)


def test_stopped_server_leaves_no_process_and_no_files() -> None:
    with PostgresServer() as server:
        members, files = processes(server), server.directory
        assert len(members) > 1
        assert files.is_dir()
    assert not psutil.wait_procs(members, timeout=10)[1]
    assert not files.exists()


def test_given_directory_survives_with_port_and_password(open_directory: Path) -> None:
    with PostgresServer(open_directory / "cluster") as first, psycopg.connect(first.dsn()) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
    with PostgresServer(open_directory / "cluster") as second:
        assert second.dsn() == first.dsn()
        assert ask(second, "SELECT one FROM kept") == 1


def test_killed_server_keeps_what_was_committed(own_postgres: StartPostgres) -> None:
    server = own_postgres()
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n")
        members = processes(server)
        segment = (server.directory / "data" / "postmaster.pid").read_text().splitlines()[6].split()[1]
        assert segment in shared_memory()
        server.kill()
        assert segment not in shared_memory()
        assert not psutil.wait_procs(members, timeout=10)[1]
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    server.start()
    assert ask(server, "SELECT count(*) FROM kept") == 1000


def test_paused_server_holds_its_connections_and_answers_after_resume(own_postgres: StartPostgres) -> None:
    server = own_postgres()
    with psycopg.connect(server.dsn()) as connection:
        server.pause()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(server.dsn(), connect_timeout=2)
        server.resume()
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_what_cannot_be_frozen_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program takes no signal while its child has not begun; this one never does, as nobody writes to its input."""
    monkeypatch.setattr(process, "FREEZE_SECONDS", 0.2)
    os.mkfifo(fifo := tmp_path / "input")
    script = """
import os, sys
opened = (os.POSIX_SPAWN_OPEN, 0, sys.argv[1], os.O_RDONLY, 0)
os.posix_spawn(sys.executable, [sys.executable], {}, file_actions=[opened])
"""
    with subprocess.Popen([sys.executable, "-c", script, str(fifo)]) as started:
        stuck = psutil.Process(started.pid)
        until(stuck.children)
        try:
            with pytest.raises(OperatorError, match=f"Process {started.pid} still runs"):
                process.Process(stuck).pause()
        finally:
            process.Process(stuck).kill()


def test_parent_killed_leaves_no_server_process() -> None:
    program = """
import sys, threading
from daemon.embedded.postgres import PostgresServer
server = PostgresServer()
thread = threading.Thread(target=server.start)
thread.start()
thread.join()
print(server.process.pid, server.directory, flush=True)
sys.stdin.read()
"""
    parent = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    assert parent.stdin
    with parent:
        pid, files = parent.stdout.readline().split()
        server = psutil.Process(int(pid))
        members = [server, *server.children(recursive=True)]
        assert alive(server)
        assert sum(map(alive, members)) > 1, "a child may have done its work already; not all of them"
        parent.send_signal(SIGKILL)
    until(lambda: not any(alive(member) for member in members), what="the end of the server")
    with PostgresServer():
        assert not Path(files).exists(), "the next server sweeps what was left"


def alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_server_that_cannot_start_says_why() -> None:
    with pytest.raises(OperatorError, match=r'did not start.*invalid value for parameter "max_connections"') as raised:
        PostgresServer(settings={"max_connections": "lots"}).__enter__()
    assert raised.value.try_


@pytest.mark.parametrize("version", [16, 18])
def test_as_root_it_runs_as_another_user_from_a_wheel_that_this_user_cannot_reach(
    version: Version, tmp_path: Path
) -> None:
    """As an ordinary user: as that user, from wherever the wheel is."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    spec = find_spec(PACKAGE)
    assert spec
    assert spec.origin
    package = Path(spec.origin).parent
    for part in package.parent.glob(f"{PACKAGE}*"):
        shutil.copytree(part, closed / part.name)
    program = f"""
import psutil
from daemon.embedded.postgres import PostgresServer
with PostgresServer(version={version}) as server:
    print(psutil.Process(server.process.pid).uids().effective)
"""
    places = os.pathsep.join([str(closed), str(Path(daemon.__file__).parents[1])])
    shown = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": places}, capture_output=True, text=True
    )
    assert shown.returncode == 0, shown.stderr
    account = directory.unprivileged_account()
    assert int(shown.stdout) == (account.uid if account else os.geteuid()) != 0


def test_directory_that_the_unprivileged_user_cannot_enter_is_refused_with_a_sentence(tmp_path: Path) -> None:
    account = directory.unprivileged_account()
    closed = Path(tempfile.mkdtemp(dir=tmp_path))
    if account is None:
        closed.chmod(0o000)
    server = PostgresServer(closed / "deep" / "cluster")
    with pytest.raises(OperatorError, match="cannot"):
        server.start()
    closed.chmod(0o700)
