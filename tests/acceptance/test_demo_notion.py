"""The demo's acts with Notion, on its own configuration and sample: the real workers, and no load beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from confluent_kafka.admin import AdminClient

from daemon import wiring
from daemon.config.load import load
from daemon.embedded import demo_audit, demo_site
from daemon.embedded.demo_daemon import NOTION_WORKERS
from daemon.embedded.notion.office import Office
from daemon.embedded.notion.show import Show
from daemon.embedded.notion.site import MIRROR
from daemon.embedded.settling import WITH_NOTION, Settling
from schemas import domain
from tests.command import command
from tests.fix_servers import Kafka, Postgres, databases, drop_database
from tests.fix_site import PASSWORD
from tests.supervised import Supervised
from tests.waiting import until

WORKERS = ("capture", "apply:empathy_ledger", "apply:primary", "apply:primary_observer", "audit", *NOTION_WORKERS)
PASSWORDS = {domain.CAPTURE: PASSWORD, domain.APPLY: PASSWORD}
TOPICS = ("placemat.primary.", "placemat.empathy_ledger.", "placemat.notion.")
TELLERS = """
DELETE FROM storytellers WHERE id NOT IN (
    SELECT t.id FROM storytellers t JOIN stories s ON s.storyteller_id = t.id
    WHERE t.workspace_id = %(workspace)s AND t.consent_given AND s.privacy = 'public'
    GROUP BY t.id ORDER BY count(*) DESC, t.id LIMIT 4
)
"""
PROJECTS = """
DELETE FROM projects
WHERE id NOT IN (SELECT id FROM projects WHERE workspace_id = %(workspace)s ORDER BY id LIMIT 8)
"""
OPPORTUNITIES = "DELETE FROM opportunities WHERE id NOT IN (SELECT id FROM opportunities ORDER BY id LIMIT 6)"
FEWER = (TELLERS, PROJECTS, OPPORTUNITIES)
"""What is left of the sample is enough for every act, and is copied sooner."""
SECONDS = 120.0


@dataclass(frozen=True)
class Renamed:
    """A server on which the demo's databases have names that no other test has."""

    server: Postgres
    names: dict[str, str]

    def dsn(self, database: str = "postgres", user: str = "postgres", password: str | None = None) -> str:
        return self.server.dsn(self.names.get(database, database), user, password)


@dataclass(frozen=True)
class Servers:
    """As the demo has them, but for that they are everybody's."""

    hub: Renamed
    kafka: Kafka

    @property
    def ledger(self) -> Renamed:
        return self.hub

    @property
    def dsns(self) -> dict[str, str]:
        return {name: self.hub.dsn(name) for name in ("primary", "state", "empathy_ledger")}


@pytest.fixture
def servers(postgres_server: Postgres, kafka_server: Kafka) -> Iterator[Servers]:
    with databases(postgres_server) as make:
        names = {name: make(name).rpartition("/")[2] for name in ("primary", "state", "empathy_ledger")}
        names[MIRROR] = f"{MIRROR}_{names['state'].rpartition('_')[2]}"
        try:
            yield Servers(Renamed(postgres_server, names), kafka_server)
        finally:
            drop_database(postgres_server, names[MIRROR])
            _forget_topics(kafka_server)


def _forget_topics(kafka: Kafka) -> None:
    """Those of sources that are called as the demo calls them."""
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    own = [topic for topic in admin.list_topics(timeout=10).topics if topic.startswith(TOPICS)]
    for deleted in admin.delete_topics(own).values() if own else ():
        deleted.result()


def wait(what: str, condition: Callable[[], bool]) -> None:
    until(condition, SECONDS, what=what)


@pytest.fixture
def _common_names(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    """What all databases of a server and all topics of a Kafka have in common has names of this test too."""
    uid = servers.hub.names["state"].rpartition("_")[2]
    for place in ("SOURCES__PRIMARY", "SOURCES__EMPATHY_LEDGER", "TARGETS__NOTION"):
        monkeypatch.setenv(f"PLACEMAT_{place}__SLOT", f"{place.rpartition('_')[2].lower()}_{uid}")
    monkeypatch.setenv("PLACEMAT_AUDIT__TOPIC", f"placemat.audit.{uid}")
    monkeypatch.setenv("PLACEMAT_KAFKA__PARTITIONS", "3")


@pytest.mark.usefixtures("_common_names")
def test_what_people_do_on_either_side_is_on_all_in_time(servers: Servers, tmp_path: Path) -> None:
    config = tmp_path / "placemat.toml"
    with Office() as office:
        demo_site.install(servers, config, sample=True, both_ways=True, notion=office.workspace, passwords=PASSWORDS)
        with psycopg.connect(servers.dsns["primary"]) as primary:
            workspace = demo_site.shown_workspace(primary)
            for statement in FEWER:
                primary.execute(statement, {"workspace": workspace})
        settings = load(config)

        def placemat(*arguments: str) -> str:
            ended = command("--config", str(config), *arguments)
            assert ended.code == 0, ended.err
            return ended.out

        placemat("init")
        dsns = {**servers.dsns, "notion": servers.hub.dsn(MIRROR)}
        with Supervised(*wiring.workers(settings, wiring.choose(settings, WORKERS))) as workers:
            settling = Settling(dsns, wait, WITH_NOTION)
            with psycopg.connect(dsns["state"], autocommit=True) as state:
                copying = "SELECT count(*) FROM placemat.snapshots WHERE done_at IS NULL"
                wait("the initial copy", lambda: state.execute(copying).fetchone() == (0,))
            settling.quiet()
            said: list[str] = []
            report = Show(dsns, office, workspace, placemat, said.append, lambda: None).perform(settling.quiet)
            targets = {**demo_audit.TARGETS, **demo_audit.NOTION_TARGETS}
            entered = demo_audit.audited(dsns, servers.kafka.bootstrap_servers, placemat, wait, targets)
        assert workers.error is None
    assert report.ok, said
    assert (entered.missing, entered.twice) == (0, 0)
    found = report.to_json()
    assert (found["mismatches"], found["throttled"], found["restored"]) == (0, 0, 1)
    assert min(found[name] for name in ("created", "updated", "trashed", "edits_back", "conflicts")) > 0
    assert {database for database in office.workspace.sources if office.store.pages(database)} == set(
        office.workspace.sources
    ), "each of the eight databases has pages"
