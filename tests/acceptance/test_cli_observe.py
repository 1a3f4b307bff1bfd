"""`placemat status`, `lag` and `tail`, on what the test puts into state and topics."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import orjson
import psycopg
import pytest
from confluent_kafka import Producer

from daemon import broker
from daemon.observe.board import Board
from daemon.observe.recorder import Recorder
from daemon.state import engine as state
from daemon.state import workers
from daemon.state.workers import Told, WorkerState
from schemas.position import Position
from schemas.topics import POSITION_HEADER, transactions_topic
from tests.fix_site import Site
from tests.waiting import until


@pytest.fixture
def ready(site: Site) -> Site:
    ended = site.placemat("init")
    assert ended.code == 0, ended.err
    return site


@pytest.fixture
def producer(ready: Site) -> Iterator[Producer]:
    made = Producer(broker.options(ready.settings.kafka))
    yield made
    assert made.flush(10) == 0


def told(state_: WorkerState, detail: str | None = None) -> Told:
    return Told(state_, detail, datetime.now(UTC))


def publish(
    producer: Producer, site: Site, op: str, before: dict[str, Any] | None, after: dict[str, Any] | None
) -> None:
    """One event of a story, as capture writes it as far as `tail` reads it."""
    now_ms = time.time_ns() // 1_000_000
    producer.produce(
        f"placemat.{site.source}.public.stories",
        orjson.dumps({"op": op, "before": before, "after": after, "source": {"ts_ms": now_ms}}),
        orjson.dumps({"id": "1"}),
        0,
        headers={POSITION_HEADER: Position(1, 2, 3).to_header()},
    )
    assert producer.flush(10) == 0


def test_status_shows_what_never_ran_and_what_is_still_to_be_copied(ready: Site) -> None:
    found = ready.placemat("status", "--json").json
    assert found["workers"] == [
        {"name": f"capture:{ready.source}", "state": "never started"},
        {"name": "apply:empathy_ledger", "state": "never started"},
        {"name": "audit:empathy_ledger", "state": "never started"},
    ]
    source = found["sources"][ready.source]
    assert source["slot"] == ready.slot
    assert source["tables"]["public.stories"] == {"rows": 0, "done_at": None}
    assert "initial copy of public.workspaces" in ready.placemat("status").out


def test_status_tells_a_worker_that_runs_from_one_whose_process_is_gone(ready: Site) -> None:
    with state.opened(ready.state) as engine:
        workers.tell(engine, "here:1", {"apply:empathy_ledger": told("running")})
        workers.tell(engine, "here:1", {"audit:empathy_ledger": told("running")})
        workers.tell(engine, "there:2", {f"capture:{ready.source}": told("running")})
        workers.tell(engine, "there:3", {f"capture:{ready.source}": told("failed", "The slot is gone.")})
    ready.run_sql(
        ready.state, "UPDATE placemat.workers SET seen_at = now() - interval '1 minute' WHERE instance = 'there:2'"
    )
    states = {row["instance"]: row["state"] for row in ready.placemat("status", "--json").json["workers"]}
    assert states == {"here:1": "running", "there:2": "gone", "there:3": "failed"}
    assert f"capture:{ready.source}: The slot is gone." in ready.placemat("status").out


def test_a_new_process_forgets_what_gone_ones_left_and_keeps_what_others_do(ready: Site) -> None:
    with state.opened(ready.state) as engine:
        states: dict[str, WorkerState] = {"a:1": "failed", "b:2": "stopped", "c:3": "standby", "d:4": "running"}
        for instance, one in states.items():
            workers.tell(engine, instance, {"apply:empathy_ledger": told(one)})
        ready.run_sql(ready.state, "UPDATE placemat.workers SET seen_at = '-infinity' WHERE instance = 'd:4'")
        workers.forget_gone(engine, ["apply:empathy_ledger"])
        assert [row.instance for row in workers.read(engine)] == ["c:3"]


def test_a_process_started_again_under_its_old_name_shows_its_new_start(ready: Site) -> None:
    """As a container is, which keeps host name and process number."""
    worker = "apply:empathy_ledger"

    def started_at() -> datetime:
        [row] = [row for row in ready.placemat("status", "--json").json["workers"] if row["name"] == worker]
        return datetime.fromisoformat(row["started_at"])

    with state.opened(ready.state) as engine:
        for _ in range(2):
            before = datetime.now(UTC)
            board = Board()
            board.enter(worker, None)
            with Recorder(engine, board, [worker]):
                board.report(worker, "running")
            assert before <= started_at() <= datetime.now(UTC)


def test_status_needs_a_prepared_state(site: Site) -> None:
    ended = site.placemat("status")
    assert (ended.code, ended.err) == (1, "Error: The state database is not prepared.\nTry: Run: placemat init\n")


def test_lag_counts_what_is_published_and_not_applied(ready: Site, producer: Producer) -> None:
    assert ready.placemat("lag", "--json").json["targets"]["empathy_ledger"]["records"] == 0
    publish(producer, ready, "c", None, {"id": "1"})
    committed_us = time.time_ns() // 1_000 - 30_000_000
    finish = {"kind": "tx", "timeline": 1, "commit_lsn": 5, "ts_us": committed_us, "xid": 1, "epoch": 1}
    counts = {f"placemat.{ready.source}.public.stories": {"0": 1}}
    producer.produce(transactions_topic(ready.source), orjson.dumps({**finish, "counts": counts}), b"", 0)
    assert producer.flush(10) == 0
    found = ready.placemat("lag", "--json").json
    target = found["targets"]["empathy_ledger"]
    assert (target["records"], target["known_from"]) == (1, "beginning")
    assert target["seconds"] == pytest.approx(30, abs=2)
    assert found["sources"][ready.source]["active"] is False
    assert "target empathy_ledger" in ready.placemat("lag").out


def test_lag_followed_gives_one_object_after_the_other(ready: Site) -> None:
    process = ready.spawn("lag", "--follow", "--interval", "0.1", "--json")
    assert process.stdout is not None
    times = [json.loads(process.stdout.readline())["at"] for _ in range(3)]
    assert times == sorted(set(times))
    process.send_signal(2)
    assert process.wait(10) == 130
    assert process.stderr is not None
    assert process.stderr.read() == ""


def test_tail_shows_events_without_their_values_unless_asked(ready: Site, producer: Producer) -> None:
    publish(producer, ready, "c", None, {"id": "1", "title": "Told in private"})
    publish(producer, ready, "u", {"id": "1", "title": "Told"}, {"id": "1", "title": "Told again"})
    publish(producer, ready, "d", {"id": "1"}, None)
    quiet = ready.placemat("tail", "stories", "--from-beginning", "--limit", "3")
    assert quiet.code == 0
    lines = quiet.out.splitlines()
    assert all(abs(datetime.fromisoformat(line[:23]).timestamp() - time.time()) < 60 for line in lines)
    assert [line.split()[3:] for line in lines] == [
        ["c", "id=1", "id,", "title"],
        ["u", "id=1", "title"],
        ["d", "id=1"],
    ]
    assert "private" not in quiet.out
    producer.produce(f"placemat.{ready.source}.transactions", b"{}", None, 0)
    assert producer.flush(10) == 0
    [end] = ready.placemat(
        "tail", f"placemat.{ready.source}.transactions", "--from-beginning", "--limit", "1"
    ).out.splitlines()
    assert abs(datetime.fromisoformat(end[:23]).timestamp() - time.time()) < 60, "when the record was written"
    loud = ready.placemat("tail", "--from-beginning", "--limit", "1", "--values", "--json").json
    assert loud["after"] == {"id": "1", "title": "Told in private"}
    assert (loud["op"], loud["key"], loud["offset"]) == ("c", {"id": "1"}, 0)
    assert loud["position"] == "00000001-0000000000000002-0000000003"


def test_tail_shows_numbers_with_all_their_digits(ready: Site, producer: Producer) -> None:
    number = "12345678901234567890.123456780"
    publish(producer, ready, "c", None, {"id": "1", "themes": orjson.Fragment(f'{{"n":{number}}}')})
    for words in ((), ("--json",)):
        assert number in ready.placemat("tail", "stories", "--from-beginning", "--limit", "1", "--values", *words).out


def test_tail_begins_with_what_comes_next(ready: Site, producer: Producer) -> None:
    publish(producer, ready, "c", None, {"id": "1"})
    process = ready.spawn("tail", "--json", "--limit", "1")

    def passes() -> bool:
        publish(producer, ready, "u", None, {"id": "1"})
        return process.poll() is not None

    until(passes, 20, what="an event passing")
    out, err = process.communicate()
    assert (json.loads(out)["op"], err) == ("u", "")


def test_a_topic_that_is_none_is_named_with_those_that_are(ready: Site) -> None:
    ended = ready.placemat("tail", "poems")
    assert ended.code == 2
    assert ended.err.startswith("Error: There is no topic poems.\nTry: Choose one of: placemat.")


def test_a_database_that_is_away_costs_only_its_own_line(ready: Site) -> None:
    ready.set(f"sources.{ready.source}.url", "postgresql://x@127.0.0.1:1/none")
    found = ready.placemat("lag", "--json")
    assert (found.code, found.json["sources"][ready.source]["bytes"]) == (0, None)
    assert found.json["targets"]["empathy_ledger"]["records"] == 0


def test_parked_keys_are_counted_in_lag(ready: Site) -> None:
    with psycopg.connect(ready.ledger) as connection:
        connection.execute("INSERT INTO placemat.lanes (source) VALUES (%s)", [ready.source])
        connection.execute(
            "INSERT INTO placemat.parked (source, table_name, key, kind, reason)"
            """ VALUES (%s, 'public.stories', '{"id":"1"}', 'refused', 'no')""",
            [ready.source],
        )
    assert ready.placemat("lag", "--json").json["targets"]["empathy_ledger"]["parked"] == 1
