"""The main job, with real workers: what is done in the primary is done in Empathy Ledger, in whole transactions."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.command import REPOSITORY
from tests.crash.stage import APPLY, Stage, stage_at_work
from tests.waiting import until

LARGE_TRANSACTION = 20_000
VERY_LARGE_TRANSACTION = 500_000


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Servers, sample data, and both workers, caught up."""
    with stage_at_work(tmp_path_factory.mktemp("pipeline")) as found:
        yield found


@pytest.fixture
def primary(pipeline: Stage) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(pipeline.primary, autocommit=True) as connection:
        yield connection


@pytest.fixture
def ledger(pipeline: Stage) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(pipeline.ledger, autocommit=True) as connection:
        yield connection


def placemat(found: Stage, *arguments: str) -> tuple[int, Any]:
    """Exit status and JSON of the real command."""
    done = subprocess.run(
        [sys.executable, "-m", "daemon", "--config", found.config, *arguments, "--json"],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, json.loads(done.stdout or "null")


def workspace(connection: psycopg.Connection[Any]) -> uuid.UUID:
    row = connection.execute("SELECT id FROM workspaces ORDER BY id LIMIT 1").fetchone()
    assert row is not None
    found = row[0]
    assert isinstance(found, uuid.UUID)
    return found


def value(connection: psycopg.Connection[Any], query: str, *values: object) -> Any:
    row = connection.execute(query.encode(), values).fetchone()
    return row[0] if row else None


def test_the_initial_copy_is_equal_in_every_field(pipeline: Stage) -> None:
    status, report = placemat(pipeline, "verify")
    assert (status, report["differences"]) == (0, 0)


def test_a_storyteller_a_story_and_its_media_of_one_transaction_arrive(
    pipeline: Stage, primary: psycopg.Connection[Any], ledger: psycopg.Connection[Any]
) -> None:
    with primary.transaction():
        teller = value(
            primary,
            "INSERT INTO storytellers (workspace_id, name) VALUES (%s, 'A teller') RETURNING id",
            workspace(primary),
        )
        story = value(
            primary,
            "INSERT INTO stories (workspace_id, storyteller_id, title, slug)"
            " VALUES (%s, %s, 'One', %s) RETURNING id",
            workspace(primary), teller, str(teller),
        )  # fmt: skip
    pipeline.settle()
    assert value(ledger, "SELECT title FROM stories WHERE id = %s AND storyteller_id = %s", story, teller) == "One"


def test_two_rows_swap_a_unique_value_in_one_transaction(
    pipeline: Stage, primary: psycopg.Connection[Any], ledger: psycopg.Connection[Any]
) -> None:
    (one, a), (two, b) = primary.execute("SELECT id, slug FROM workspaces ORDER BY id LIMIT 2").fetchall()
    with primary.transaction():
        primary.execute("UPDATE workspaces SET slug = 'between' WHERE id = %s", [one])
        primary.execute("UPDATE workspaces SET slug = %s WHERE id = %s", [a, two])
        primary.execute("UPDATE workspaces SET slug = %s WHERE id = %s", [b, one])
    pipeline.settle()
    assert value(ledger, "SELECT slug FROM workspaces WHERE id = %s", one) == b
    assert value(ledger, "SELECT slug FROM workspaces WHERE id = %s", two) == a


def test_a_stored_value_that_was_not_touched_stays(
    pipeline: Stage, primary: psycopg.Connection[Any], ledger: psycopg.Connection[Any]
) -> None:
    story = value(primary, "SELECT id FROM stories WHERE pg_column_size(content) > 4000 LIMIT 1")
    content = value(primary, "SELECT content FROM stories WHERE id = %s", story)
    primary.execute("UPDATE stories SET title = 'Only the title' WHERE id = %s", [story])
    pipeline.settle()
    found = ledger.execute("SELECT title, content FROM stories WHERE id = %s", [story]).fetchone()
    assert found == ("Only the title", content)


def test_a_changed_key_moves_the_row(
    pipeline: Stage, primary: psycopg.Connection[Any], ledger: psycopg.Connection[Any]
) -> None:
    old, new = value(primary, "SELECT id FROM story_media ORDER BY id LIMIT 1"), uuid.uuid4()
    primary.execute("UPDATE story_media SET id = %s WHERE id = %s", [new, old])
    pipeline.settle()
    assert value(ledger, "SELECT count(*) FROM story_media WHERE id = %s", old) == 0
    assert value(ledger, "SELECT count(*) FROM story_media WHERE id = %s", new) == 1


def test_a_truncate_between_writes_empties_the_table_there_and_only_there(
    pipeline: Stage, primary: psycopg.Connection[Any], ledger: psycopg.Connection[Any]
) -> None:
    with primary.transaction():
        primary.execute("CREATE TEMP TABLE kept ON COMMIT DROP AS SELECT * FROM story_media LIMIT 10")
        primary.execute("UPDATE story_media SET caption = 'before'")
        primary.execute("TRUNCATE story_media")
        primary.execute("INSERT INTO story_media SELECT * FROM kept")
    primary.execute("UPDATE story_media SET caption = 'after'")
    pipeline.settle()
    assert ledger.execute("SELECT caption, count(*) FROM story_media GROUP BY 1").fetchall() == [("after", 10)]


def test_a_reader_never_sees_half_of_a_transaction(
    pipeline: Stage, primary: psycopg.Connection[Any], ledger: psycopg.Connection[Any]
) -> None:
    tellers = [row[0] for row in primary.execute("SELECT id FROM storytellers ORDER BY id LIMIT 50").fetchall()]
    primary.execute("UPDATE storytellers SET bio = '0' WHERE id = ANY (%s)", [tellers])
    pipeline.settle()
    seen: set[tuple[str, ...]] = set()
    over = threading.Event()

    def read() -> None:
        with psycopg.connect(pipeline.ledger, autocommit=True) as connection:
            while not over.is_set():
                rows = connection.execute("SELECT DISTINCT bio FROM storytellers WHERE id = ANY (%s)", [tellers])
                seen.add(tuple(row[0] for row in rows))

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(1, 101):
        with primary.transaction():
            for half in (tellers[:25], tellers[25:]):
                primary.execute("UPDATE storytellers SET bio = %s WHERE id = ANY (%s)", [str(number), half])
    pipeline.settle()
    over.set()
    reader.join()
    assert all(len(state) == 1 for state in seen), seen
    assert ("100",) in seen


def large_transaction(found: Stage, primary: psycopg.Connection[Any], rows: int) -> None:
    before = value(primary, "SELECT count(*) FROM storytellers")
    primary.execute(
        "INSERT INTO storytellers (workspace_id, name, bio) SELECT %s, 'Teller ' || g, repeat(md5(g::text), 10)"
        " FROM generate_series(1, %s) g",
        [workspace(primary), rows],
    )
    found.settle(seconds=300)
    with psycopg.connect(found.ledger) as connection:
        assert value(connection, "SELECT count(*) FROM storytellers") == before + rows


def test_a_large_transaction_arrives(pipeline: Stage, primary: psycopg.Connection[Any]) -> None:
    large_transaction(pipeline, primary, LARGE_TRANSACTION)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_transaction_of_half_a_million_rows_arrives(pipeline: Stage, primary: psycopg.Connection[Any]) -> None:
    large_transaction(pipeline, primary, VERY_LARGE_TRANSACTION)


def test_one_bad_row_of_ten_thousand_waits_and_the_others_arrive(
    pipeline: Stage, primary: psycopg.Connection[Any], ledger: psycopg.Connection[Any]
) -> None:
    ledger.execute("ALTER TABLE storytellers ADD CONSTRAINT no_bad_names CHECK (name <> 'Bad 777')")
    primary.execute(
        "INSERT INTO storytellers (workspace_id, name) SELECT %s, 'Bad ' || g FROM generate_series(1, 10000) g",
        [workspace(primary)],
    )
    pipeline.settle()
    assert value(ledger, "SELECT count(*) FROM storytellers WHERE name LIKE 'Bad %%'") == 9_999
    status, listed = placemat(pipeline, "dlq", "list")
    assert status == 0
    (parked,) = listed["parked"]
    assert (parked["table"], parked["kind"], parked["sqlstate"]) == ("public.storytellers", "refused", "23514")
    assert placemat(pipeline, "verify", "storytellers")[0] == 3
    ledger.execute("ALTER TABLE storytellers DROP CONSTRAINT no_bad_names")
    status, done = placemat(pipeline, "dlq", "redrive", str(parked["id"]))
    assert (status, done["done"]) == (0, [parked["id"]])
    status, report = placemat(pipeline, "verify", "storytellers")
    assert (status, report["differences"]) == (0, 0)


def test_after_all_this_nothing_is_lost_repeated_or_out_of_order(pipeline: Stage) -> None:
    pipeline.settle()
    assert pipeline.parked() == []
    assert pipeline.count().ok


def test_the_log_names_what_is_away(
    pipeline: Stage, primary: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    kafka, ledger, _ = pipeline.servers.embedded
    # So long that the worker keeps its place in the group while Kafka is away.
    monkeypatch.setitem(pipeline.environment, "PLACEMAT_TARGETS__EMPATHY_LEDGER__SESSION_TIMEOUT_SECONDS", "60")
    pipeline.kill(APPLY)
    log = pipeline.log(APPLY)
    old = log.stat().st_size

    def away() -> list[str]:
        return re.findall(r'"event": ?"(\w+ is unavailable)"', log.read_bytes()[old:].decode())

    pipeline.start(APPLY)
    pipeline.settle()
    assert away() == []
    ledger.stop()
    primary.execute("UPDATE projects SET name = name")
    until(away, what="a word about the target")
    kafka.stop()
    assert set(away()) == {"target is unavailable"}
    ledger.start()
    until(lambda: away()[-1] == "kafka is unavailable", 30, what="a word about Kafka")
    kafka.start()
    pipeline.settle()
    assert pipeline.processes[APPLY].poll() is None
