from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from signal import SIGINT, SIGKILL

import psutil  # type: ignore[import-untyped]
import psycopg
import pytest
from confluent_kafka.admin import AdminClient

from daemon.embedded import directory, running
from daemon.embedded.dev import dev_down, dev_sql, dev_up
from daemon.embedded.given import Kafka, Postgres
from daemon.embedded.running import Running
from daemon.embedded.servers import DATABASES, Servers
from daemon.errors import OperatorError
from tests.fix_servers import drop_database

DSNS = {"primary": "postgresql://p", "state": "postgresql://s", "empathy_ledger": "postgresql://e"}


@pytest.fixture(autouse=True)
def own_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place for entries that no demo on this machine looks into."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "placemat" / "running"


@pytest.fixture
def dev_data() -> Iterator[Path]:
    made = directory.make_temporary("dev", None)
    made.chmod(0o755)
    yield made
    dev_down(made)
    directory.remove(made)


def test_interrupted_servers_leave_no_process_and_no_files() -> None:
    program = """
import sys
from daemon.embedded.servers import Servers
try:
    with Servers() as servers:
        for server in servers.embedded:
            print(server.process.pid, server.directory, flush=True)
        print(flush=True)
        sys.stdin.read()
except KeyboardInterrupt:
    pass
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as command:
        assert command.stdout
        started = [line.split() for line in iter(command.stdout.readline, "\n")]
        processes = [psutil.Process(int(pid)) for pid, _ in started]
        command.send_signal(SIGINT)
    assert command.returncode == 0
    assert len(started) == 3
    assert not [process for process in processes if process.is_running()]
    assert not [files for _, files in started if Path(files).exists()]


def test_given_servers_are_used_and_left_running(postgres_server: Postgres, kafka_server: Kafka) -> None:
    for _ in range(2):
        with Servers(postgres_url=postgres_server.dsn(), bootstrap_servers=kafka_server.bootstrap_servers) as servers:
            assert not servers.embedded
            for name, dsn in servers.dsns.items():
                with psycopg.connect(dsn) as connection:
                    assert connection.info.dbname == name
    for name in DATABASES:
        drop_database(postgres_server, name)


def test_registered_demo_is_found_until_it_ends(own_runtime: Path) -> None:
    assert running.find() is None
    demo = running.describe("demo", dsns=DSNS, bootstrap_servers="localhost:1", config=Path("placemat.toml"))
    with running.register(demo):
        assert running.find() == demo
        assert running.find("dev") is None
        assert demo.config == Path.cwd() / "placemat.toml"
        assert [file.stat().st_mode & 0o077 for file in own_runtime.iterdir()] == [0]
    assert running.find() is None
    assert not list(own_runtime.iterdir())


def test_entry_of_a_killed_demo_is_ignored_and_swept(own_runtime: Path) -> None:
    program = """
import sys
from daemon.embedded import running
running.add(running.describe("demo", dsns={}, bootstrap_servers=""))
print("added", flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as demo:
        assert demo.stdout
        assert demo.stdout.readline() == "added\n"
        found = running.find()
        assert found
        assert found.pid == demo.pid
        demo.send_signal(SIGKILL)
    assert running.find() is None
    assert not list(own_runtime.iterdir())


def test_entry_of_a_later_process_with_the_same_pid_is_not_believed() -> None:
    running.add(Running(name="demo", pid=os.getpid(), created=1.0, dsns={}, bootstrap_servers=""))
    assert running.find() is None


def test_directory_open_to_others_is_refused(own_runtime: Path) -> None:
    own_runtime.mkdir(parents=True)
    own_runtime.chmod(0o755)
    with pytest.raises(OperatorError, match="only you can enter"):
        running.add(running.describe("demo", dsns=DSNS, bootstrap_servers=""))


def test_sql_says_that_nothing_runs_or_that_there_is_no_such_database() -> None:
    with pytest.raises(OperatorError, match="Neither a demo nor the dev servers are running"):
        dev_sql("primary", "SELECT 1")
    with pytest.raises(OperatorError, match="no database mysql"):
        dev_sql("mysql", "SELECT 1")


def test_dev_servers_outlive_their_command_answer_sql_and_keep_their_data(dev_data: Path) -> None:
    command = f"from pathlib import Path; from daemon.embedded.dev import dev_up; dev_up(Path({str(dev_data)!r}))"
    subprocess.run([sys.executable, "-c", command], check=True)
    first = running.find("dev")
    assert first
    assert dev_up(dev_data) == first

    assert dev_sql("primary", "CREATE TABLE kept AS SELECT 1 AS one, 'é' AS two").status == "SELECT 1"
    assert dev_sql("empathy_ledger", "CREATE TABLE there (n int)").status == "CREATE TABLE"
    assert dev_sql("state", "SELECT current_database(), 2 AS two").rows == [("state", 2)]
    with pytest.raises(OperatorError, match='primary refuses the statement: relation "there" does not exist'):
        dev_sql("primary", "SELECT * FROM there")
    assert AdminClient({"bootstrap.servers": first.bootstrap_servers}).list_topics(timeout=10).brokers

    assert dev_down(dev_data)
    assert running.find() is None
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(first.dsns["primary"], connect_timeout=2)
    assert not dev_down(dev_data)

    second = dev_up(dev_data)
    assert second.dsns == first.dsns
    assert second.bootstrap_servers == first.bootstrap_servers
    kept = dev_sql("primary", "UPDATE kept SET one = 3; SELECT * FROM kept")
    assert (list(kept.columns), kept.rows) == (["one", "two"], [(3, "é")])
