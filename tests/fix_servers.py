"""The PostgreSQL and the Kafka that tests run on: one of each per worker, real in every case.

In this order: servers named in the environment, containers when asked for, else the embedded ones. When none of
them works the tests fail. This is the one place of the tests that reads the environment.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from psycopg import sql

from daemon.embedded.given import GivenKafka, GivenPostgres, Kafka, Postgres
from daemon.embedded.kafka import PROPERTIES, KafkaServer
from daemon.embedded.ports import LOOPBACK, free_port
from daemon.embedded.postgres import SETTINGS, PostgresServer
from daemon.embedded.postgres_install import Version
from daemon.state.engine import migrate, opened
from tests.asking import close_kept
from tests.waiting import until

__all__ = ["GivenKafka", "GivenPostgres", "Kafka", "Postgres", "drop_database"]

POSTGRES_URL = "PLACEMAT_TEST_POSTGRES_URL"
KAFKA = "PLACEMAT_TEST_KAFKA"
SERVERS = "PLACEMAT_TEST_SERVERS"
VERSION: Version = 16 if os.environ.get("PLACEMAT_TEST_POSTGRES_VERSION") == "16" else 18
"""Of the PostgreSQL that tests start themselves."""
POSTGRES_IMAGE = f"postgres:{VERSION}"
KAFKA_IMAGE = "apache/kafka:4.1.0"
FAST: Mapping[str, str] = {
    "fsync": "off",
    "full_page_writes": "off",
    "autovacuum_naptime": "1h",
    "scram_iterations": "1",
}
"""For data that nobody misses: a test that pulls the plug starts a server of its own."""


def pytest_report_header() -> list[str]:
    kind = "containers" if os.environ.get(SERVERS) == "containers" else "embedded"
    return [
        f"postgres: {'external, from ' + POSTGRES_URL if POSTGRES_URL in os.environ else f'{kind}, {VERSION}'}",
        f"kafka: {'external, from ' + KAFKA if KAFKA in os.environ else kind}",
    ]


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """PostgreSQL with `wal_level=logical`. Roles are common to all its databases: name them uniquely."""
    if url := os.environ.get(POSTGRES_URL):
        yield GivenPostgres(url)
    elif os.environ.get(SERVERS) == "containers":
        with _postgres_container() as server:
            yield server
    else:
        with PostgresServer(version=VERSION, settings=FAST) as embedded:
            _hash_anew(embedded)
            yield embedded


@pytest.fixture(scope="session")
def kafka_server() -> Iterator[Kafka]:
    """Kafka 4.1, one node. Topics and groups are common to all tests of the worker: name them uniquely."""
    if servers := os.environ.get(KAFKA):
        yield GivenKafka(servers)
    elif os.environ.get(SERVERS) == "containers":
        with _kafka_container() as server:
            yield server
    else:
        with KafkaServer() as embedded:
            yield embedded


@pytest.fixture(autouse=True)
def _connections_are_closed() -> Iterator[None]:
    yield
    close_kept()


@pytest.fixture
def database_factory(postgres_server: Postgres) -> Iterator[Callable[[str], str]]:
    """See `databases`."""
    with databases(postgres_server) as make:
        yield make


@contextmanager
def databases(server: Postgres) -> Iterator[Callable[[str], str]]:
    """A function: name prefix → DSN (superuser) of a fresh database, which is dropped with its slots at the end."""
    made: list[str] = []

    def make(name_prefix: str, template: str = "template1") -> str:
        name = f"{name_prefix}_{uuid.uuid4().hex[:10]}"
        names = sql.Identifier(name), sql.Identifier(template)
        _execute(server, sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(*names))
        made.append(name)
        return server.dsn(name)

    yield make
    for name in reversed(made):
        drop_database(server, name)


def drop_database(server: Postgres, name: str) -> None:
    """Drop a database together with its replication slots and whoever is connected."""
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        until(lambda: _drop_slots(connection, name), what=f"the end of the slots of {name}")
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _drop_slots(connection: psycopg.Connection, database: str) -> bool:
    connection.execute(
        "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE database = %s AND active", [database]
    )
    try:
        connection.execute(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = %s", [database]
        )
    except psycopg.errors.ObjectInUse:
        return False
    return True


@pytest.fixture(scope="session")
def state_template(postgres_server: Postgres) -> Iterator[str]:
    """Name of a database with the tables of the state, for `CREATE DATABASE … TEMPLATE`."""
    name = f"state_template_{uuid.uuid4().hex[:10]}"
    _execute(postgres_server, sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    with opened(postgres_server.dsn(name)) as engine:
        migrate(engine)
    yield name
    drop_database(postgres_server, name)


@pytest.fixture
def own_postgres() -> Iterator[Callable[..., PostgresServer]]:
    """A function that starts an embedded PostgreSQL of the test's own, to stop, freeze and kill."""
    with ExitStack() as stack:

        def start(
            *, version: Version = VERSION, settings: Mapping[str, str] | None = None, directory: Path | None = None
        ) -> PostgresServer:
            return stack.enter_context(PostgresServer(directory, version=version, settings=settings))

        yield start


@pytest.fixture
def own_kafka() -> Iterator[Callable[..., KafkaServer]]:
    """A function that starts an embedded Kafka of the test's own, to stop, freeze and kill."""
    with ExitStack() as stack:

        def start(*, properties: Mapping[str, str] | None = None, directory: Path | None = None) -> KafkaServer:
            return stack.enter_context(KafkaServer(directory, properties=properties))

        yield start


def _hash_anew(server: PostgresServer) -> None:
    """Connecting costs a third as soon as the superuser's password is hashed by `scram_iterations` too."""
    password = psycopg.conninfo.conninfo_to_dict(server.dsn())["password"]
    _execute(server, sql.SQL("ALTER ROLE postgres PASSWORD {}").format(sql.Literal(password)))


def _execute(server: Postgres, statement: sql.Composed) -> None:
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute(statement)


@contextmanager
def _postgres_container() -> Iterator[GivenPostgres]:
    from testcontainers.core.container import DockerContainer

    password = uuid.uuid4().hex
    reachable = {"listen_addresses": "*", "unix_socket_directories": "/tmp"}
    flags = [f"-c{name}={value}" for name, value in {**SETTINGS, **FAST, **reachable}.items()]
    container = DockerContainer(POSTGRES_IMAGE).with_exposed_ports(5432).with_env("POSTGRES_PASSWORD", password)
    with container.with_command(["postgres", *flags]) as running:
        address = f"{running.get_container_host_ip()}:{running.get_exposed_port(5432)}"
        server = GivenPostgres(f"postgresql://postgres:{password}@{address}/postgres")
        until(lambda: _connects(server.url), 60, what="an answer of PostgreSQL in its container")
        yield server


@contextmanager
def _kafka_container() -> Iterator[GivenKafka]:
    from testcontainers.core.container import DockerContainer

    port = free_port()
    places = {
        "listeners": f"PLAINTEXT://0.0.0.0:{port},CONTROLLER://localhost:9093",
        "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{port}",
        "controller.quorum.voters": "1@localhost:9093",
    }
    variables = {f"KAFKA_{key.upper().replace('.', '_')}": value for key, value in {**PROPERTIES, **places}.items()}
    container = DockerContainer(KAFKA_IMAGE).with_bind_ports(port, port).with_envs(**variables)
    with container:
        server = GivenKafka(f"{LOOPBACK}:{port}")
        until(lambda: _has_broker(server.bootstrap_servers), 90, what="an answer of Kafka in its container")
        yield server


def _connects(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def _has_broker(bootstrap_servers: str) -> bool:
    try:
        return bool(
            AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0}).list_topics(timeout=1).brokers
        )
    except KafkaException:
        return False
