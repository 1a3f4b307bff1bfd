"""Notion is down for an hour by the workers' clock, under load: nobody else waits, and then few calls tell it all."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

import psycopg
import pytest

from connectors.notion.simulator import Fault
from daemon import wiring
from daemon.wiring import services
from tests.fix_mirrored import WORKSPACE, Connection
from tests.fix_office import Office
from tests.fix_site import PASSWORD
from tests.people import made, put
from tests.supervised import Supervised
from tests.waiting import until

SEED = 20261122
STEPS, STEP_SECONDS = 12, 300.0
PROJECTS, TELLERS = 40, 40
"""Of each so many are there before; and in every step some more come and go."""
_LSN = "SELECT confirmed_flush_lsn - '0/0', restart_lsn - '0/0' FROM pg_replication_slots WHERE slot_name = %s"


@dataclass
class Outage:
    """`near` are the workers of the hub and of the ledger, `far` those of Notion."""

    office: Office
    ledger: Connection
    near: Supervised
    far: Supervised
    now: list[float]
    chance: random.Random
    touched: set[uuid.UUID] = field(default_factory=set)
    passing: list[uuid.UUID] = field(default_factory=list)

    @property
    def hub(self) -> Connection:
        return self.office.mirrored.hub

    def load(self) -> None:
        """What people do at the hub in some minutes: rows change, and some come that are gone in the next."""
        for table, name in (("projects", "name"), ("storytellers", "name")):
            keys = [key for (key,) in self.hub.execute(f"SELECT id FROM {table} ORDER BY id".encode())]
            for key in self.chance.sample(sorted(set(keys) - set(self.passing)), 15):
                put(self.hub, table, key, **{name: f"{table} {self.chance.randrange(10**9)}"})
                self.touched.add(key)
        for key in self.passing:
            self.hub.execute("DELETE FROM projects WHERE id = %s", [key])
        self.passing = [self.office.project(name="passing") for _ in range(2)]
        self.touched |= set(self.passing)

    def advance(self, seconds: float) -> None:
        """The clocks of the breaker and of what waits go on."""
        self.now[0] += seconds
        run = self.office.mirrored.run
        run("UPDATE placemat.queue SET due = due - make_interval(secs => %s)", [seconds])
        run("UPDATE placemat.intents SET at = at - make_interval(secs => %s)", [seconds])

    def until_in_step(self) -> None:
        """The ledger has what the hub has."""
        tellers = "SELECT id, name FROM storytellers ORDER BY id"
        until(lambda: self.ledger.execute(tellers).fetchall() == self.hub.execute(tellers).fetchall(), 60)

    def slot(self) -> tuple[int, int]:
        row = self.hub.execute(_LSN, [self.office.mirrored.site.slot]).fetchone()
        assert row is not None
        return int(row[0]), int(row[1])

    def until_confirmed(self) -> None:
        row = self.hub.execute("SELECT pg_current_wal_lsn() - '0/0'").fetchone()
        assert row is not None
        until(lambda: self.slot()[0] >= int(row[0]), 60)

    def shown(self) -> tuple[dict[str, str], dict[str, str]]:
        """By key, names of projects and storytellers in Notion; one page each."""
        store = self.office.notion.store
        found = []
        for source in ("Projects", "Places"):
            pages = store.by_key(source)
            assert all(len(several) == 1 for several in pages.values()), "none twice"
            found.append({key: str(store.shown(page, "Name")) for key, [page] in pages.items()})
        return found[0], found[1]

    def at_hub(self) -> tuple[dict[str, str], dict[str, str]]:
        projects = self.hub.execute("SELECT id::text, name FROM projects").fetchall()
        return dict(projects), dict(self.hub.execute("SELECT id::text, name FROM storytellers").fetchall())

    def until_told(self) -> None:
        until(lambda: self.shown() == self.at_hub(), 120, what="Notion as the hub")
        self.office.mirrored.until("SELECT count(*) FROM placemat.queue", [(0,)], 60)


@pytest.fixture
def outage(office: Office) -> Iterator[Outage]:
    mirrored = office.mirrored
    site, targets = mirrored.site, mirrored.site.values["targets"]
    targets[mirrored.name]["entities"]["tellers"] = {
        "table": "public.storytellers", "data_source": office.notion.sources["Places"].id,
        "fields": {"name": {"property": "title"}},
    }  # fmt: skip
    targets[mirrored.name]["poll_seconds"] = 10
    url, server = site.ledger, psycopg.conninfo.conninfo_to_dict(site.ledger)
    targets[f"l{site.uid}"] = {
        "url": f"postgresql://placemat_apply:{PASSWORD}@{server['host']}:{server.get('port', 5432)}/{server['dbname']}",
        "source": site.source,
        "tables": {"public.storytellers": {"local": ["updated_at"]}},
    }  # fmt: skip
    site.write()
    mirrored.init()
    settings, now = site.settings, [0.0]
    push = services.push_worker(settings, mirrored.name, lambda: now[0])
    others = [one for one in wiring.workers(settings, wiring.choose(settings, ())) if one.name != push.name]
    far = [push, *(one for one in others if one.name == f"fetch:{mirrored.name}")]
    near = [one for one in others if one not in far]
    with psycopg.connect(url, autocommit=True) as ledger, Supervised(*near) as first, Supervised(*far) as second:
        ledger.execute("INSERT INTO workspaces (id, name, slug) VALUES (%s, 'Commons', 'commons')", [WORKSPACE])
        yield Outage(office, ledger, first, second, now, random.Random(SEED))


@pytest.mark.timeout(600)
def test_nobody_waits_for_notion_and_then_it_is_told_with_no_more_calls_than_rows(outage: Outage) -> None:
    notion, hub = outage.office.notion, outage.hub
    for at in range(PROJECTS):
        outage.office.project(name=f"project {at}")
    for at in range(TELLERS):
        made(hub, "storytellers", workspace_id=WORKSPACE, name=f"teller {at}")
    outage.until_told()
    outage.until_confirmed()
    _, restart = outage.slot()

    for step in range(STEPS):
        if step == 0:
            notion.stop()
        elif step == STEPS // 3:
            notion.start()
            notion.faults.add(Fault("failed", times=None))
        elif step == 2 * STEPS // 3:
            notion.faults.clear()
            notion.faults.add(Fault("cut_before", times=None))
        outage.load()
        outage.until_in_step()
        outage.until_confirmed()
        outage.advance(STEP_SECONDS)
    hub.execute("CHECKPOINT")
    hub.execute("SELECT pg_log_standby_snapshot()")
    made(hub, "storytellers", workspace_id=WORKSPACE, name="the last")
    outage.until_in_step()
    until(lambda: outage.slot()[1] > restart, 60, what="the slot lets go of what is behind")
    until(lambda: "the service does not answer" in outage.far.details, 30, what="the breaker has opened, and says so")
    assert outage.near.count("waiting") == outage.near.count("failed") == 0, outage.near.details

    for key in outage.passing:
        hub.execute("DELETE FROM projects WHERE id = %s", [key])
    outage.until_in_step()
    notion.faults.clear()
    before = len(notion.log)
    outage.advance(STEP_SECONDS)
    outage.until_told()
    calls = notion.log[before:]
    assert len(calls) <= len(outage.touched) + 1, [one.route for one in calls]
