"""The worker that tells Notion is killed again and again, while Notion loses replies: each row has one page at last."""

from __future__ import annotations

import random
import threading
from collections import Counter
from pathlib import Path

import pytest

from tests.crash.notion_faults import LOSSES, slow
from tests.crash.notion_places import places
from tests.fix_servers import Kafka, Postgres
from tests.waiting import until
from tests.working import beside

KILLS = 100
SEED = 20261122
KEYS = 60
FAULTS = (*LOSSES, *slow(0.5, 1.0, 0.3))


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_worker_killed_again_and_again_makes_no_page_twice_and_leaves_none_out(
    postgres_server: Postgres, kafka_server: Kafka, tmp_path: Path
) -> None:
    with places(postgres_server, kafka_server, tmp_path, per_minute=60_000) as found:
        notion, run = found.notion, found.mirrored.run
        chance, in_flight = random.Random(SEED), Counter[bool]()
        notion.faults.add(*FAULTS)
        with beside(lambda stop: found.write(stop, SEED, KEYS)):
            for _ in range(KILLS):
                before = len(notion.log)
                worker = found.spawn()
                until(lambda before=before: len(notion.log) > before + 2, 60, what="requests")  # type: ignore[misc]
                threading.Event().wait(chance.random() * 0.5)
                worker.kill()
                worker.wait()
                in_flight[run("SELECT count(*) FROM placemat.intents") != [(0,)]] += 1
        notion.faults.clear()
        with found.mirrored.running(f"push:{found.mirrored.name}"):
            found.mirrored.until("SELECT count(*) FROM placemat.queue", [(0,)], seconds=240)
        found.check()
        assert in_flight[True] > KILLS / 4, "a good part of the kills met a request on its way"
