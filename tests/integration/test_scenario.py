"""The demo's script of changes on both sides, at small scale: both databases and the queue are as its ledger says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest

from daemon.embedded.demo_scenario import decided
from daemon.embedded.demo_site import RULES
from daemon.embedded.postgres import PostgresServer
from daemon.embedded.sample import load_sample
from daemon.embedded.scenario.act import Played, Stage, perform
from daemon.embedded.scenario.compare import Mismatch, compare_rows, expected_rows
from daemon.embedded.scenario.ledger import Prediction
from daemon.embedded.scenario.play import read_rows
from daemon.embedded.scenario.script import RowKey
from schemas import domain
from tests.fix_linked import Linked, made_linked
from tests.fix_servers import FAST, VERSION, Kafka
from tests.waiting import until

SEED = 7
ROWS = 150
SKEW_SECONDS = 0.2
FEWER = b"""
DELETE FROM storytellers WHERE id NOT IN (SELECT storyteller_id FROM stories JOIN story_media ON story_id = stories.id
    ORDER BY story_media.id LIMIT 60);
DELETE FROM stories WHERE id NOT IN (SELECT story_id FROM story_media);
DELETE FROM story_media WHERE id NOT IN (SELECT id FROM story_media ORDER BY id LIMIT 200)
"""
"""The sample has more rows than are needed."""
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
        linked.hub.execute(FEWER)
        linked.site.set(f"targets.{linked.spoke_name}.skew_seconds", SKEW_SECONDS)
        for table, rules in RULES.items():
            linked.route(table, rules=dict(rules))
        linked.init()
        with linked.running():
            until(lambda: linked.equal("story_media", "id"), 60)
            linked.rest(60)
            yield linked


@pytest.fixture(scope="module")
def stage(linked: Linked) -> Stage:
    columns = {}
    for table in domain.ROUTED_TABLES:
        (columns[table],) = linked.hub.execute(COLUMNS, [table]).fetchone() or ([],)
    site = linked.site
    return Stage(site.primary, site.ledger, columns, RULES, SKEW_SECONDS, linked.held, lambda: linked.rest(60))


def test_a_script_ends_as_its_ledger_says_and_the_queue_is_worked_off_by_command(linked: Linked, stage: Stage) -> None:
    played = perform(stage, SEED, ROWS)
    assert [str(one) for one in played.report.mismatches] == []
    assert played.report.queue_found == played.report.queue_predicted > 2
    assert set(played.report.conflicts) == {"latest", "hub", "target", "manual", "merge"}

    key = next(key for key, one in played.predictions.items() if not one.waiting and one.hub and "name" in one.hub)
    wrong = replace(played.predictions[key], hub={**(played.predictions[key].hub or {}), "name": "never given"})
    found = compare_with(stage, played, {key: wrong})
    assert [(one.where, one.key, one.what) for one in found] == [("primary", key[1], "name")]

    def placemat(*arguments: str) -> str:
        done = linked.site.placemat(*arguments)
        assert done.code == 0, done.err
        return done.out

    report = decided(stage, played, placemat, spoke=linked.spoke_name).report
    assert [str(one) for one in report.mismatches] == []
    assert (report.queue_decided, report.queue_left) == (report.queue_found, 0)
    assert report.ok


def compare_with(stage: Stage, played: Played, changed: Mapping[RowKey, Prediction]) -> list[Mismatch]:
    """Both databases against the ledger, of which some is changed."""
    hub, spoke = expected_rows(played.base, {**played.predictions, **changed})
    return [
        *compare_rows("primary", hub, read_rows(stage.hub_dsn, stage.columns)),
        *compare_rows("empathy_ledger", spoke, read_rows(stage.spoke_dsn, stage.columns)),
    ]
