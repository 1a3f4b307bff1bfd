"""The demo's script of changes on both sides, at small scale: both databases and the queue are as its ledger says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from daemon.embedded.demo_site import RULES
from daemon.embedded.postgres import PostgresServer
from daemon.embedded.sample import load_sample
from daemon.embedded.scenario.act import Played, Stage, perform
from schemas import domain
from tests.fix_linked import Linked, made_linked
from tests.fix_servers import FAST, VERSION, Kafka
from tests.waiting import until

SEED = 7
ROWS = 150
SKEW_SECONDS = 0.2
COLUMNS = """
SELECT array_agg(attname::text ORDER BY attnum) FROM pg_attribute
WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attname <> 'updated_at'
"""


@pytest.fixture(scope="module")
def linked(kafka_server: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Linked]:
    """At work, with sample data on both sides, on a server that notes when each transaction was committed."""
    with (
        PostgresServer(version=VERSION, settings={**FAST, "track_commit_timestamp": "on"}) as server,
        made_linked(server, kafka_server, tmp_path_factory.mktemp("scenario")) as linked,
    ):
        load_sample(linked.hub)
        linked.site.set(f"targets.{linked.spoke_name}.skew_seconds", SKEW_SECONDS)
        for table, rules in RULES.items():
            linked.route(table, rules=dict(rules))
        linked.init()
        with linked.running():
            until(lambda: linked.equal("story_media", "id"), 60)
            linked.rest(60)
            yield linked


@pytest.fixture(scope="module")
def played(linked: Linked) -> Played:
    columns = {}
    for table in domain.ROUTED_TABLES:
        (columns[table],) = linked.hub.execute(COLUMNS, [table]).fetchone() or ([],)
    stage = Stage(
        linked.site.primary, linked.site.ledger, columns, RULES, SKEW_SECONDS, linked.held, lambda: linked.rest(60)
    )
    return perform(stage, SEED, ROWS)


def test_both_sides_and_the_queue_are_as_the_ledger_says(played: Played) -> None:
    assert [str(one) for one in played.report.mismatches] == []
    assert played.report.queue_found == played.report.queue_predicted > 0
    assert set(played.report.conflicts) == {"latest", "hub", "target", "manual", "merge"}
