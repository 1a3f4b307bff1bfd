"""What came beside the stream is killed at each of its seams too: versions, requests, pauses, replays, repairs."""

from __future__ import annotations

from collections import Counter

import psycopg
import pytest

from connectors.contract import Wanted
from daemon import seams
from daemon.apply.requests import RowRequests
from daemon.config.kafka import Kafka
from schemas.topics import table_topic
from tests.crash import kills
from tests.crash.both_ways import AUDIT_SEAMS
from tests.crash.kills import Kill, die_at
from tests.crash.stage import APPLY, CAPTURE, TARGET, Stage
from tests.crash.test_fetch_kills import FETCH_SEAMS
from tests.fix_capture import read_topics
from tests.waiting import until

KILLED = -9
PAUSED = "public.stories"
VERBS_SEAMS = (seams.AFTER_PUT_BACK, seams.AFTER_REKEY, seams.AFTER_ERASURE_ASKED, seams.AFTER_HUB_ERASED)
"""Of verbs, which are killed where they are tested."""
_DAMAGE = """
ALTER TABLE story_media DISABLE TRIGGER witness_row;
DELETE FROM story_media WHERE id IN (SELECT id FROM story_media ORDER BY id LIMIT 700);
UPDATE story_media SET caption = 'damaged' WHERE id IN (SELECT id FROM story_media ORDER BY id DESC LIMIT 50);
ALTER TABLE story_media ENABLE ALWAYS TRIGGER witness_row
"""

pytestmark = [pytest.mark.crash, pytest.mark.long, pytest.mark.timeout(600)]


def check(found: Stage, killed: list[Kill]) -> None:
    found.settle()
    assert found.parked() == []
    counted = found.count()
    assert counted.ok, (counted, killed)
    assert counted.journal_entries > 0


def ask_for_rows(found: Stage, first: int = 0, most: int = 30) -> list[bytes]:
    """As a target that lacks them would; their keys."""
    with psycopg.connect(found.primary) as primary:
        query = "SELECT id::text FROM stories ORDER BY id LIMIT %s OFFSET %s"
        keys = [b'{"id":"%b"}' % key.encode() for (key,) in primary.execute(query, [most, first])]
    requests = RowRequests(Kafka(bootstrap_servers=found.servers.kafka.bootstrap_servers), TARGET, "primary")
    requests.ask([Wanted("public.stories", key) for key in keys])
    requests.close()
    return keys


def answered(found: Stage) -> None:
    """Wait until all that was asked for has come: the row that is asked for last comes last, once nothing changes."""
    found.settle()
    before = rows_read(found)
    [last] = ask_for_rows(found, first=30, most=1)
    until(lambda: rows_read(found)[last] > before[last], 60, what="the answer to the last request")


def rows_read(found: Stage) -> Counter[bytes]:
    """How often each story was published as it was read from its table."""
    topic = table_topic("primary", "public", "stories")
    records = read_topics(found.servers.kafka.bootstrap_servers, [topic])
    return Counter(one.key for one in records if one.value.get("op") == "r")


@pytest.mark.parametrize("seam", kills.STORED_SEAMS)
@pytest.mark.parametrize("count", [1, 4])
def test_a_capture_killed_beside_what_it_stores_loses_and_repeats_nothing(
    crash_stage: Stage, seam: str, count: int
) -> None:
    with crash_stage.load(count):
        crash_stage.start(APPLY)
        killed = die_at(crash_stage, CAPTURE, seam, count)
        crash_stage.start(CAPTURE)
    check(crash_stage, [killed])


@pytest.mark.parametrize("seam", kills.REQUEST_SEAMS)
def test_a_capture_killed_while_it_answers_targets_loses_and_repeats_nothing(crash_stage: Stage, seam: str) -> None:
    crash_stage.start_dead()
    crash_stage.settle()
    with crash_stage.load(3):
        crash_stage.kill(CAPTURE)
        ask_for_rows(crash_stage)
        killed = die_at(crash_stage, CAPTURE, seam, 1)
        crash_stage.start(CAPTURE)
        ask_for_rows(crash_stage)  # again, as targets do until the rows come
    answered(crash_stage)
    check(crash_stage, [killed])


@pytest.mark.parametrize("seam", kills.PAUSE_SEAMS)
def test_a_worker_killed_while_a_table_leaves_the_main_lane_or_comes_back_loses_and_repeats_nothing(
    crash_stage: Stage, seam: str
) -> None:
    crash_stage.start_dead()
    crash_stage.settle()
    with crash_stage.load(4):
        if seam == seams.AFTER_REGROUP:
            crash_stage.kill(APPLY)
            crash_stage.ends_well("pause", TARGET, PAUSED, "--wait", "0")
            killed = die_at(crash_stage, APPLY, seam, 1)
            crash_stage.start(APPLY)
            crash_stage.ends_well("resume", TARGET, PAUSED)
        else:
            crash_stage.ends_well("pause", TARGET, PAUSED)
            crash_stage.kill(APPLY)
            crash_stage.ends_well("resume", TARGET, PAUSED, "--wait", "0")
            killed = die_at(crash_stage, APPLY, seam, 1)
            crash_stage.start(APPLY)
    until(lambda: paused(crash_stage) == 0, 60, what="the table in the main lane again")
    check(crash_stage, [killed])


@pytest.mark.parametrize("seam", kills.REPLAY_SEAMS)
def test_a_replay_that_was_killed_is_run_again_and_completes_the_target(crash_stage: Stage, seam: str) -> None:
    crash_stage.start_dead()
    crash_stage.settle()
    with psycopg.connect(crash_stage.ledger) as ledger:
        ledger.execute(_DAMAGE)
    again = ("replay", "--target", TARGET, "--from", "beginning")
    with crash_stage.load(5):
        assert crash_stage.command(*again, seam=f"{seam}:2").wait(120) == KILLED
        crash_stage.ends_well(*again)
    crash_stage.settle()
    crash_stage.ends_well("verify", *tables())


@pytest.mark.parametrize("seam", kills.RESYNC_SEAMS)
def test_a_repair_that_was_killed_is_run_again_and_closes_the_gap(crash_stage: Stage, seam: str) -> None:
    crash_stage.start_dead()
    crash_stage.settle()
    crash_stage.stop()
    with psycopg.connect(crash_stage.primary, autocommit=True) as primary:
        free = "SELECT 1 FROM pg_replication_slots WHERE slot_name = 'placemat' AND NOT active"
        until(lambda: primary.execute(free).fetchone(), what="the release of the slot")
        primary.execute("SELECT pg_drop_replication_slot('placemat')")
        primary.execute("DELETE FROM story_media WHERE id IN (SELECT id FROM story_media ORDER BY id LIMIT 100)")
    first = crash_stage.command("resync", "primary", seam=seam)
    if seam not in kills.BEGUN_SEAMS:
        until(lambda: gaps(crash_stage) == 1, 60, what="the beginning of the repair")
        crash_stage.start_dead()
    assert first.wait(180) == KILLED
    repair = crash_stage.command("resync", "primary")
    until(lambda: gaps(crash_stage) == 1, 60, what="the beginning of the repair")
    with crash_stage.load(6):
        crash_stage.start_dead()
        assert repair.wait(180) == 0, crash_stage.log("resync").read_text()
    crash_stage.settle()
    crash_stage.ends_well("verify", *tables())
    assert gaps(crash_stage) == 1


def test_every_seam_has_its_kill() -> None:
    named = {value for name, value in vars(seams).items() if name.isupper() and name != "VARIABLE"}
    covered = {
        *kills.STREAM_SEAMS, *kills.COPY_SEAMS, *kills.APPLY_SEAMS, *kills.STORED_SEAMS, *kills.REQUEST_SEAMS,
        *kills.PAUSE_SEAMS, *kills.REPLAY_SEAMS, *kills.RESYNC_SEAMS, *AUDIT_SEAMS, *VERBS_SEAMS,
        *FETCH_SEAMS,
    }  # fmt: skip
    assert named == covered


def paused(found: Stage) -> int:
    with psycopg.connect(found.ledger) as ledger:
        [count] = ledger.execute("SELECT count(*) FROM placemat.lanes WHERE lane <> 'main'").fetchone() or (0,)
    return int(count)


def gaps(found: Stage) -> int:
    with psycopg.connect(found.state) as state:
        [count] = state.execute("SELECT count(*) FROM placemat.gaps").fetchone() or (0,)
    return int(count)


def tables() -> list[str]:
    return ["workspaces", "projects", "storytellers", "stories", "story_media"]
