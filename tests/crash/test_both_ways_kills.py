"""Kills across the two-way path: both sides end equal, nothing is lost unseen, and nothing is done twice."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.both_ways import LOG, Pair, done_twice, unseen
from tests.fix_linked import Linked, made_linked
from tests.fix_servers import Kafka, Postgres

pytestmark = pytest.mark.crash


@pytest.fixture
def pair(postgres_server: Postgres, kafka_server: Kafka, tmp_path: Path) -> Iterator[Pair]:
    """At work, with clocks that are trusted; both sides note every value and who gave it."""
    with made_linked(postgres_server, kafka_server, tmp_path) as linked:
        quicken(linked)
        for connection in (linked.hub, linked.spoke):
            connection.execute(LOG.encode())
        linked.init()
        found = Pair(linked, tmp_path)
        found.start_dead()
        found.populate()
        try:
            yield found
        finally:
            found.stop()


def quicken(linked: Linked) -> None:
    """Limits shortened, so that nothing has to be waited for; and of two edits the later one wins."""
    for target in linked.site.values["targets"].values():
        target["session_timeout_seconds"] = 2
    linked.site.values["targets"][linked.spoke_name]["skew_seconds"] = 0
    for source in linked.site.values["sources"].values():
        source["session_timeout_seconds"] = 1
    linked.site.write()


def check(pair: Pair, kills: list[str]) -> None:
    pair.start_dead()
    pair.linked.rest(120)
    print(*kills, sep="\n")  # noqa: T201 shown with a failure, and by pytest -s
    assert pair.linked.equal("storytellers", "id, name, bio")
    assert list(unseen(pair)) == []
    for url in (pair.linked.site.primary, pair.linked.site.ledger):
        assert done_twice(url) == []
    for connection in (pair.linked.hub, pair.linked.spoke):
        assert pair.linked.rows(connection, "placemat.parked", "table_name, key, reason") == []


@pytest.mark.timeout(240)
def test_kills_on_the_way_there_and_back_lose_nothing_and_do_nothing_twice(pair: Pair) -> None:
    rng = random.Random(20261122)
    kills: list[str] = []
    with pair.people(1, rate=60):
        for _ in range(6):
            kills.append(pair.kill_by_lot(rng))
            pair.start_dead()
    check(pair, kills)


@pytest.mark.long
@pytest.mark.timeout(3000)
def test_a_hundred_kills_on_the_way_there_and_back_lose_nothing_and_do_nothing_twice(pair: Pair) -> None:
    rng = random.Random(100)
    kills: list[str] = []
    with pair.people(100, rate=60):
        while len(kills) < 100:
            kills.append(pair.kill_by_lot(rng))
            pair.start_dead()
    check(pair, kills)
