"""`placemat run`: what keeps it from starting is one sentence; once started, it works until it is told to end."""

from __future__ import annotations

import json
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from daemon import broker
from daemon.embedded.postgres import PostgresServer
from schemas import domain
from tests.command import Ended
from tests.fix_site import PASSWORD, Site
from tests.waiting import until

WRITTEN = 5_000
IDLE_SECONDS = 60


class Daemon:
    """A running `placemat run`, with its logs as they come."""

    def __init__(self, site: Site, *workers: str) -> None:
        self.process = site.spawn("run", *workers)
        self.port = int(self.logged("metrics and health are served")["port"])

    def logged(self, event: str) -> dict[str, Any]:
        """The next log line of that event."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            found: dict[str, Any] = json.loads(line)
            if found["event"] == event:
                return found
        raise AssertionError(f"the daemon ended without saying: {event}")

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def metric(self, name: str, **labels: str) -> float | None:
        """A sample's value; None when there is no such series."""
        for family in text_string_to_metric_families(self.get("/metrics")[1]):
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    return sample.value
        return None

    def wait_ready(self) -> None:
        until(lambda: self.get("/readyz")[0] == 200, 30, what="a ready daemon")

    def terminate(self) -> tuple[int, float]:
        """Exit status and seconds."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=15)
        return self.process.returncode, time.monotonic() - started


@pytest.fixture
def ready(site: Site) -> Site:
    ended = site.placemat("init")
    assert ended.code == 0, ended.err
    return site


def assert_refused(ended: Ended, sentence: str, advice: str, code: int = 1) -> None:
    assert f"Error: {sentence}" in ended.err
    assert advice in ended.err
    assert "Traceback" not in ended.err
    assert ended.code == code


# What keeps it from starting.


def test_a_state_that_is_not_prepared_stops_the_start(site: Site) -> None:
    assert_refused(site.placemat("run"), "The state database is not prepared.", "placemat init")


def test_a_state_database_that_is_down_stops_the_start(ready: Site) -> None:
    ready.set("state.url", "postgresql://x@127.0.0.1:1/none")
    assert_refused(ready.placemat("run"), "The state database cannot be reached: ", "PLACEMAT_STATE__URL")


def test_a_kafka_that_does_not_answer_stops_the_start(ready: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker, "REACH_SECONDS", 0.5)
    ready.set("kafka.bootstrap_servers", "127.0.0.1:1")
    assert_refused(ready.placemat("run"), "Kafka cannot be reached at 127.0.0.1:1", "KAFKA__BOOTSTRAP_SERVERS")


def test_a_source_that_does_not_answer_stops_the_start_of_its_capture(ready: Site) -> None:
    ready.set(f"sources.{ready.source}.url", "postgresql://x@127.0.0.1:1/none")
    assert_refused(ready.placemat("run"), f"Source {ready.source} cannot be reached: ", "See that the server runs")


def test_a_worker_that_is_none_is_named_with_those_that_are(ready: Site) -> None:
    assert_refused(
        ready.placemat("run", "apply:notion"),
        "There is no worker apply:notion.",
        f"capture:{ready.source}, apply:empathy_ledger",
        code=2,
    )


def test_a_port_that_is_taken_stops_the_start(ready: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ready.set("http.port", port)
        assert_refused(ready.placemat("run"), f"Port {port} of 127.0.0.1 is taken", "PLACEMAT_HTTP__PORT")


# What ends it.


@pytest.mark.parametrize("how", ["missing", "in use by another program"])
def test_a_slot_that_cannot_be_had_ends_capture_with_a_sentence(ready: Site, how: str) -> None:
    with closing(psycopg.connect(ready.primary, autocommit=True, replication="database")) as other:
        if how == "missing":
            ready.run_sql(ready.primary, f"SELECT pg_drop_replication_slot('{ready.slot}')")
        else:
            other.pgconn.send_query(
                f"START_REPLICATION SLOT {ready.slot} LOGICAL 0/0"
                " (proto_version '1', publication_names 'placemat')".encode()
            )
            until(lambda: _slot_is_active(ready), what="a slot in use")
        process = ready.spawn("run", "capture")
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"Error: Slot {ready.slot} of source {ready.source} is {how}" in err
    assert "\nTry: " in err
    assert "Traceback" not in err


def _slot_is_active(site: Site) -> bool:
    with psycopg.connect(site.primary) as connection:
        row = connection.execute("SELECT active FROM pg_replication_slots WHERE slot_name = %s", [site.slot]).fetchone()
    return row is not None and bool(row[0])


def test_the_daemon_gets_ready_says_what_it_does_and_ends_within_ten_seconds(ready: Site) -> None:
    daemon = Daemon(ready)
    daemon.wait_ready()
    assert daemon.get("/healthz")[0] == 200
    until(lambda: set(_states(ready).values()) == {"running"}, 30, what="three running workers")
    assert _states(ready).keys() == {
        f"capture:{ready.source}",
        "apply:empathy_ledger",
        "audit:empathy_ledger",
    }
    code, seconds = daemon.terminate()
    assert (code, seconds < 10) == (0, True)
    assert set(_states(ready).values()) == {"stopped"}


def _states(site: Site) -> dict[str, str]:
    return {row["name"]: row["state"] for row in site.placemat("status", "--json").json["workers"]}


# Lag tells the truth.


@pytest.fixture
def stoppable(ready: Site, own_postgres: Callable[..., PostgresServer]) -> Iterator[tuple[Site, PostgresServer]]:
    """A site whose target has a server of its own."""
    with own_postgres() as server:
        with psycopg.connect(server.dsn()) as connection:
            domain.install_empathy_ledger(connection, {domain.APPLY: PASSWORD})
        ready.ledger = server.dsn()
        ready.set("targets.empathy_ledger.url", server.dsn("postgres", domain.APPLY, PASSWORD))
        assert ready.placemat("init").code == 0
        yield ready, server


def test_lag_says_exactly_what_waits_for_a_target_that_is_away(stoppable: tuple[Site, PostgresServer]) -> None:
    site, server = stoppable
    daemon = Daemon(site)
    daemon.wait_ready()
    site.run_sql(site.primary, "INSERT INTO workspaces (name, slug) VALUES ('First', 'first')")
    until(lambda: _count(site.ledger) == 1, 30, what="the first row in the target")
    until(lambda: _lag(site)["records"] == 0, what="no lag")

    server.stop()
    written_at = time.time()
    site.run_sql(
        site.primary,
        f"INSERT INTO workspaces (name, slug) SELECT 'W ' || n, 'w-' || n FROM generate_series(1, {WRITTEN}) AS n",
    )
    until(lambda: _lag(site)["records"] == WRITTEN, 30, what=f"a lag of {WRITTEN} records")
    lag, age = _lag(site), time.time() - written_at
    assert lag["known_from"] == "group"
    assert lag["seconds"] == pytest.approx(age, abs=1)
    assert lag["bytes"] > 0
    until(lambda: daemon.metric("placemat_lag_records", target="empathy_ledger") == WRITTEN, what="the same exported")
    exported = daemon.metric("placemat_lag_seconds", target="empathy_ledger")
    assert exported == pytest.approx(time.time() - written_at, abs=2)

    # A new process knows nothing at first, and says nothing then.
    assert daemon.terminate()[0] == 0
    daemon = Daemon(site)
    seen = {daemon.metric("placemat_lag_records", target="empathy_ledger") for _ in range(20)}
    assert seen <= {None, float(WRITTEN)}
    until(lambda: daemon.metric("placemat_lag_records", target="empathy_ledger") == WRITTEN, what="the same lag")

    server.start()
    until(lambda: _count(site.ledger) == WRITTEN + 1, 60, what="every row in the target")
    until(lambda: _lag(site)["records"] == 0, what="no lag")
    for _ in range(5):
        assert _lag(site) == {
            "records": 0,
            "seconds": 0.0,
            "bytes": 0,
            "parked": 0,
            "paused": {},
            "backlog": None,
            "known_from": "target",
        }
    until(lambda: daemon.metric("placemat_lag_records", target="empathy_ledger") == 0, what="no lag in the metrics")
    assert daemon.metric("placemat_lag_seconds", target="empathy_ledger") == 0
    daemon.terminate()


@pytest.mark.long
def test_lag_stays_at_nothing_while_nothing_happens(ready: Site) -> None:
    daemon = Daemon(ready)
    daemon.wait_ready()
    ready.run_sql(ready.primary, "INSERT INTO workspaces (name, slug) VALUES ('First', 'first')")
    until(lambda: _count(ready.ledger) == 1, 30, what="the first row in the target")
    until(lambda: _lag(ready)["records"] == 0, what="no lag")
    until(lambda: daemon.metric("placemat_lag_records", target="empathy_ledger") == 0, what="no lag in the metrics")
    follow = ready.spawn("lag", "--follow", "--interval", "1", "--json")
    assert follow.stdout is not None
    started = time.monotonic()
    nothing = {"records": 0, "seconds": 0.0, "bytes": 0, "parked": 0, "paused": {}, "known_from": "target"}
    while time.monotonic() - started < IDLE_SECONDS:
        assert json.loads(follow.stdout.readline())["targets"]["empathy_ledger"] == nothing
        assert daemon.metric("placemat_lag_records", target="empathy_ledger") == 0
    daemon.terminate()


def _lag(site: Site) -> dict[str, Any]:
    ended = site.placemat("lag", "--json")
    assert ended.code == 0, ended.err
    found: dict[str, Any] = ended.json["targets"]["empathy_ledger"]
    return found


def _count(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM workspaces").fetchone()
    assert row is not None
    return int(row[0])
