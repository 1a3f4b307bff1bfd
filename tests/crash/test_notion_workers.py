"""Two processes tell Notion of the same rows: they share its quota, and one makes good what another has left."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import pytest

from connectors.notion.simulator import Fault
from tests.crash.notion_places import Places, places
from tests.fix_servers import Kafka, Postgres
from tests.waiting import until

PER_MINUTE, MINUTES = 180, 5
"""What Notion lets a connection do: request 181 within 60 seconds is refused."""
SHARE = 0.95
SEED = 20261123
ROWS, FREEZES = 60, 4


def owners(found: Places) -> int:
    """How many workers have keys now."""
    held = "SELECT count(DISTINCT leased_by) FROM placemat.queue WHERE leased_until > clock_timestamp()"
    return int(found.mirrored.run(held)[0][0])


@pytest.mark.long
@pytest.mark.timeout(900)
def test_two_workers_use_nearly_all_of_the_quota_and_are_never_refused(
    postgres_server: Postgres, kafka_server: Kafka, tmp_path: Path
) -> None:
    """As many requests as five minutes allow, after the first one, take hardly longer, wherever their window begins."""
    allowed = PER_MINUTE * MINUTES
    with places(postgres_server, kafka_server, tmp_path, PER_MINUTE) as found:
        found.mirrored.site.spawn("run", f"fetch:{found.mirrored.name}")
        found.add(allowed + 2 * PER_MINUTE)
        first = len(found.notion.log)
        for _ in range(2):
            found.spawn()
        until(lambda: owners(found) == 2, 60, what="both at work")
        until(lambda: len(found.notion.log) > first + allowed, 60 * MINUTES / SHARE + 60, what="that many requests")
        times = sorted(one.at for one in found.notion.log[first : first + allowed + 1])
        share = 60 * MINUTES / (times[-1] - times[0]).total_seconds()
        assert found.notion.statuses()[429] == 0
        assert share >= SHARE, f"{share:.1%} of the rate"
        assert found.mirrored.run("SELECT count(*) > 0 FROM placemat.queue") == [(True,)], "there was always more to do"
        made = found.notion.store.by_key("Places", in_trash=None)
        assert all(len(pages) == 1 for pages in made.values()), "none twice"


@pytest.mark.long
@pytest.mark.timeout(900)
def test_what_a_worker_was_about_to_write_that_stood_still_does_no_harm_when_it_goes_on(
    postgres_server: Postgres, kafka_server: Kafka, tmp_path: Path
) -> None:
    chance = random.Random(SEED)
    with places(postgres_server, kafka_server, tmp_path, per_minute=6_000) as found:
        run, notion = found.mirrored.run, found.notion
        found.add(ROWS)
        for number in range(FREEZES):
            notion.faults.add(Fault("slow_before", times=None, probability=0.5, seconds=0.2))
            frozen, before = found.spawn(), len(notion.log)
            until(lambda before=before: len(notion.log) > before + 12, 60, what="requests")  # type: ignore[misc]
            until(lambda: run("SELECT count(*) > 0 FROM placemat.intents") == [(True,)], 60, what="a request")
            frozen.send_signal(signal.SIGSTOP)
            notion.faults.clear()
            run("UPDATE wanted.places SET name = name || ' again' WHERE right(id::text, 1) < '8'")
            run("UPDATE placemat.queue SET leased_until = clock_timestamp()")
            with found.mirrored.running(f"push:{found.mirrored.name}"):
                found.mirrored.until("SELECT count(*) FROM placemat.queue", [(0,)], seconds=240)
                found.check()
                frozen.send_signal(signal.SIGCONT)
                run("UPDATE wanted.places SET name = %s || id::text", [f"round {number} {chance.random()} "])
                found.mirrored.until("SELECT count(*) FROM placemat.queue", [(0,)], seconds=240)
                found.check()
            assert frozen.poll() is None, "it has gone on"
            run("UPDATE wanted.places SET name = name || ' alone'")
            found.mirrored.until("SELECT count(*) FROM placemat.queue", [(0,)], seconds=240)
            found.check()
            frozen.kill()
            frozen.wait()
            found.add(5)
            run("UPDATE wanted.places SET name = name || ' anew'")
