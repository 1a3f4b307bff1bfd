"""`placemat replay` on the real pipeline: what a faulty sink has done to a target is put right under live traffic."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from daemon.recover.source import WIDE_KEYS
from schemas.topics import table_topic
from tests.asking import ask
from tests.command import REPOSITORY, command
from tests.crash.stage import TARGET, Stage, stage_at_work
from tests.waiting import until

STORIES, MEDIA = "public.stories", "public.story_media"


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Servers, sample data, and both workers, caught up."""
    with stage_at_work(tmp_path_factory.mktemp("replay")) as found:
        # Events that hold only a part of a row are what this is about.
        ask(found.primary, "ALTER TABLE stories REPLICA IDENTITY DEFAULT")
        yield found


def placemat(found: Stage, *arguments: str) -> tuple[int, list[Any]]:
    """Exit status, and one JSON object a line."""
    ended = command("--config", str(found.config), *arguments, "--json")
    return ended.code, [json.loads(line) for line in ended.out.splitlines()]


def replay(found: Stage, *arguments: str) -> tuple[int, list[Any], Any]:
    """Exit status, the rows, and the whole."""
    status, lines = placemat(found, "replay", "--target", TARGET, *arguments)
    assert lines, arguments
    return status, lines[:-1], lines[-1]


@contextmanager
def faulty_sink(found: Stage) -> Iterator[psycopg.Connection[Any]]:
    """A transaction of the target that carries the daemon's mark."""
    with psycopg.connect(found.ledger) as connection:
        connection.execute("""SELECT pg_logical_emit_message(true, 'placemat.origin', '{"origin": "primary"}')""")
        yield connection


def forget(found: Stage, table: str) -> None:
    """As when retention has passed over all that a topic held."""
    topic = table_topic("primary", "public", table)
    admin = AdminClient({"bootstrap.servers": found.servers.kafka.bootstrap_servers})
    everything = [TopicPartition(topic, number, -1) for number in admin.list_topics(topic).topics[topic].partitions]
    for deleted in admin.delete_records(everything).values():
        deleted.result()


def keys(url: str, query: str) -> set[str]:
    with psycopg.connect(url, autocommit=True) as connection:
        return {str(row[0]) for row in connection.execute(query.encode())}


def damaged(found: Stage) -> tuple[set[str], set[str]]:
    """Stories that still show the damage, and media that are still missing."""
    missing = keys(found.primary, "SELECT id FROM story_media") - keys(found.ledger, "SELECT id FROM story_media")
    return keys(found.ledger, "SELECT id FROM stories WHERE title LIKE '% (damaged)'"), missing


def test_an_emptied_table_and_altered_rows_are_named_and_come_back_under_live_traffic(pipeline: Stage) -> None:
    with pipeline.load(41, rate=60, largest=10):
        pipeline.settle()
        with faulty_sink(pipeline) as connection:
            connection.execute(
                "UPDATE stories SET title = title || ' (damaged)' WHERE id IN"
                " (SELECT id FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM stories) s WHERE n % 100 = 1)"
            )
            connection.execute("TRUNCATE story_media")
        before = damaged(pipeline)
        status, rows, whole = replay(pipeline, "--from", "beginning", "--dry-run")
        after = damaged(pipeline)
        named = tuple({row["key"]["id"] for row in rows if row["table"] == table} for table in (STORIES, MEDIA))
        # What the load has changed in the meantime has arrived whole, and is no difference any more.
        assert after[0] <= named[0] <= before[0]
        assert before[1] & after[1] <= named[1] <= before[1]
        assert len(after[0]) > 1
        assert len(before[1] & after[1]) > 100
        assert {tuple(row["fields"]) for row in rows if row["table"] == STORIES} == {("title",)}
        assert {row["change"] for row in rows if row["table"] == MEDIA} == {"insert"}
        assert {row["table"] for row in rows} == {STORIES, MEDIA}
        assert status == 3
        for table, restored in (("stories", before[0]), ("story_media", before[1])):
            status, rows, whole = replay(pipeline, "--table", table, "--from", "beginning")
            assert (status, whole["left"]) == (0, 0)
            assert {row["key"]["id"] for row in rows} <= restored
        status, [report] = placemat(pipeline, "verify")
        assert (status, report["differences"]) == (0, 0)
    pipeline.settle()
    assert pipeline.parked() == []


def test_a_replay_that_is_killed_is_run_again(pipeline: Stage) -> None:
    pipeline.settle()
    with faulty_sink(pipeline) as connection:
        connection.execute("TRUNCATE story_media")
    whole = keys(pipeline.primary, "SELECT id FROM story_media")
    process = subprocess.Popen(
        [sys.executable, "-m", "daemon", "--config", pipeline.config, "replay", "--target", TARGET,
         "--table", "story_media", "--from", "beginning", "--rate", "20"],
        cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        until(lambda: keys(pipeline.ledger, "SELECT id FROM story_media"), 60, what="the first rows")
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert 0 < len(keys(pipeline.ledger, "SELECT id FROM story_media")) < len(whole)
    status, _, report = replay(pipeline, "--table", "story_media", "--from", "beginning")
    assert (status, report["left"]) == (0, 0)
    assert keys(pipeline.ledger, "SELECT id FROM story_media") == whole


def test_a_missing_row_of_which_only_a_part_is_replayed_is_taken_from_the_source(pipeline: Stage) -> None:
    with psycopg.connect(pipeline.primary, autocommit=True) as primary:
        (story,) = primary.execute(
            "UPDATE stories SET content = (SELECT string_agg(md5(g::text), '') FROM generate_series(1, 2000) g)"
            " WHERE id = (SELECT id FROM stories ORDER BY id LIMIT 1) RETURNING id::text"
        ).fetchone() or ("",)
        (since,) = primary.execute("SELECT clock_timestamp()").fetchone() or (datetime.now(UTC),)
        primary.execute("UPDATE stories SET title = 'A part' WHERE id = %s", [story])
    pipeline.settle()
    with faulty_sink(pipeline) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("DELETE FROM stories WHERE id = %s", [story])
    start = ("--table", "stories", "--from", since.isoformat())
    status, rows, _ = replay(pipeline, *start, "--dry-run")
    fetch = {"table": STORIES, "key": {"id": story}, "change": "fetch", "fields": []}
    assert (status, rows) == (3, [fetch])
    status, rows, _ = replay(pipeline, *start)
    assert (status, rows) == (0, [fetch])
    assert placemat(pipeline, "verify", "stories")[0] == 0


def test_beyond_retention_it_says_so_and_takes_the_missing_rows_from_the_source(pipeline: Stage) -> None:
    pipeline.settle()
    forget(pipeline, "story_media")
    with faulty_sink(pipeline) as connection:
        connection.execute("DELETE FROM story_media WHERE id IN (SELECT id FROM story_media ORDER BY id LIMIT 30)")
        connection.execute(
            "UPDATE story_media SET caption = 'damaged' WHERE id IN (SELECT max(id::text)::uuid FROM story_media)"
        )
    gone = keys(pipeline.primary, "SELECT id FROM story_media") - keys(pipeline.ledger, "SELECT id FROM story_media")
    start = ("--table", "story_media", "--from", "beginning")
    status, rows, whole = replay(pipeline, *start, "--dry-run")
    assert (status, len(rows), {row["change"] for row in rows}) == (3, 31, {"fetch"})
    assert {row["key"]["id"] for row in rows if not row["fields"]} == gone
    assert whole["tables"][0]["lost"]
    status, rows, whole = replay(pipeline, *start)
    assert (status, whole["tables"][0]["fetched"]) == (0, 31)
    assert placemat(pipeline, "verify")[0] == 0


def test_an_emptied_table_whose_topic_has_lost_its_head_is_rebuilt_by_a_copy(pipeline: Stage) -> None:
    with psycopg.connect(pipeline.primary) as primary:
        primary.execute(
            "INSERT INTO story_media (id, workspace_id, story_id, kind, url) SELECT gen_random_uuid(), workspace_id,"
            " story_id, kind, 'https://example.org/' || g FROM generate_series(1, %s) g,"
            " (SELECT * FROM story_media LIMIT 1) one",
            [WIDE_KEYS + 500],
        )
    pipeline.settle()
    forget(pipeline, "story_media")
    with faulty_sink(pipeline) as connection:
        connection.execute("DELETE FROM story_media")
    with psycopg.connect(pipeline.primary) as primary:  # these come whole, and are all that the topic holds
        primary.execute("UPDATE story_media SET caption = 'since' WHERE id IN (SELECT id FROM story_media LIMIT 20)")
        ((rows,),) = primary.execute("SELECT count(*) FROM story_media")
    pipeline.settle()
    status, told, _ = replay(pipeline, "--table", "story_media", "--from", "beginning")
    assert (status, len({row["key"]["id"] for row in told})) == (0, rows - 20)
    with psycopg.connect(pipeline.state) as state:
        asked = state.execute("SELECT table_name, condition FROM placemat.snapshots WHERE kind = 'needed'").fetchall()
    assert asked == [(MEDIA, None)], "one copy of the table, and not a request a row"
    assert placemat(pipeline, "verify", "story_media")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Say from when, or which key"),
        (("--from", "beginning", "--key", "1"), "Say from when, or which key"),
        (("--from", "2026-03-01T09:00"), "in which time zone"),
        (("--from", "beginning", "--table", "nobody"), "no route for table public.nobody"),
        (("--from", "offset:0:0"), "exactly one table"),
    ],
)
def test_what_cannot_be_asked_for_is_said_in_a_sentence(pipeline: Stage, arguments: tuple[str, ...], said: str) -> None:
    ended = command("--config", str(pipeline.config), "replay", "--target", TARGET, *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err


def test_a_dry_run_names_rows_and_fields_for_people_too(pipeline: Stage) -> None:
    with faulty_sink(pipeline) as connection:
        ((key,),) = connection.execute(
            "UPDATE stories SET title = 'damaged'"
            " WHERE id = (SELECT max(id::text)::uuid FROM stories) RETURNING id::text"
        )
    replay_it = ("--config", str(pipeline.config), "replay", "--target", TARGET, "--table", "stories", "--key", key)
    dry = command(*replay_it, "--dry-run")
    assert (dry.code, dry.out.splitlines()[0]) == (3, f"public.stories  id={key}: update title")
    done = command(*replay_it)
    assert (done.code, "1 updated" in done.out) == (0, True)
    assert placemat(pipeline, "verify", "stories")[0] == 0


def test_a_key_without_events_is_told(pipeline: Stage) -> None:
    replay_it = ("replay", "--target", TARGET, "--table", "stories", "--key", "00000000-0000-0000-0000-000000000000")
    ended = command("--config", str(pipeline.config), *replay_it, "--dry-run")
    assert (ended.code, "no event of what was asked for" in ended.out) == (0, True), ended
