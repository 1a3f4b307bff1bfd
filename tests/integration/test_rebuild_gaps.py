"""What a rebuild does not know, it names: over a stream made by hand, cut as retention cuts it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from daemon.errors import OperatorError
from daemon.history.formats import lines
from daemon.history.reading import Question
from daemon.history.rebuild import rebuild as run
from daemon.recover.window import Commit, Moment
from schemas.position import in_era
from tests.fix_servers import Kafka
from tests.integration.apply_stream import World, absent, delete, insert, move, oversize, read, truncate, update
from tests.integration.past_stream import cut, past_world

A = "public.a"
DDL = "CREATE TABLE a (id int PRIMARY KEY, n int, long text)"


@pytest.fixture
def world(kafka_server: Kafka, database_factory: Callable[[str], str]) -> World:
    return past_world(kafka_server, database_factory("past"), DDL, A)


def row(id_: int, n: int, long: str = "l") -> dict[str, Any]:
    return {"id": id_, "n": n, "long": long}


def rebuild(world: World, at: Commit | Moment, *keys: str, era: int = 0) -> tuple[dict[int, Any], Any]:
    """The rows by id, and the whole."""
    question = Question(world.source, [A], at, keys=keys)
    with run(world.settings, era, question) as found:
        rows = [msgspec.json.decode(line) for line in lines(found, "json")]
        return {one["key"]["id"]: one for one in rows}, msgspec.json.decode(msgspec.json.encode(found.to_json()))


def test_a_commit_counts_whole_or_not_at_all(world: World) -> None:
    first = world.stream.transaction(insert(A, row(1, 1)), insert(A, row(2, 1)))
    second = world.stream.transaction(update(A, row(1, 2)), delete(A, {"id": 2}))
    assert {id_: one["row"]["n"] for id_, one in rebuild(world, Commit(first))[0].items()} == {1: 1, 2: 1}
    assert {id_: one["row"]["n"] for id_, one in rebuild(world, Commit(second - 1))[0].items()} == {1: 1, 2: 1}
    assert {id_: one["row"]["n"] for id_, one in rebuild(world, Commit(second))[0].items()} == {1: 2}


def test_a_time_ends_before_the_first_commit_that_is_later(world: World) -> None:
    world.stream.transaction(insert(A, row(1, 1)), age_seconds=300)
    world.stream.transaction(update(A, row(1, 2)), age_seconds=200)
    world.stream.transaction(update(A, row(1, 3)), age_seconds=100)
    now = world_time(world)
    found = [rebuild(world, Moment(now - age * 1_000_000))[0] for age in (350, 250, 150, 0)]
    assert [[one["row"]["n"] for one in rows.values()] for rows in found] == [[], [1], [2], [3]]


def test_what_retention_took_is_named_by_partition_and_by_key(world: World) -> None:
    world.stream.transaction(*[insert(A, row(n, 1)) for n in range(1, 9)])
    cut(world, A)
    world.stream.transaction(update(A, {"id": 1, "n": 2}, ["long"]), update(A, row(2, 2)))
    at = world.stream.transaction(insert(A, row(9, 1)))
    world.stream.transaction(
        update(A, {**row(3, 2)}), delete(A, {"id": 4}), read(A, row(5, 1)), insert(A, row(10, 1)),
    )  # fmt: skip
    rows, whole = rebuild(world, Commit(at))
    assert set(rows) == {1, 2, 3, 4, 9}
    assert (rows[1]["row"], rows[1]["unknown"]) == ({"id": 1, "n": 2}, ["long"])
    assert (rows[2]["unknown"], rows[9]["unknown"]) == ([], [])
    assert (rows[3]["row"], rows[3]["unknown"], rows[3]["known_since"] is not None) == ({"id": 3}, ["n", "long"], True)
    assert rows[4]["row"] == {"id": 4}
    assert (whole["complete"], whole["partial"], whole["untold"]) == (False, 3, 1)
    assert sorted(one["key"]["id"] for one in whole["listed"]) == [1, 3, 4, 5]
    assert set(whole["lost"]) == {"0", "1", "2"}


def test_the_old_row_of_a_later_event_tells_the_row_of_then(world: World) -> None:
    world.stream.transaction(insert(A, row(1, 1)))
    cut(world, A)
    at = world.stream.transaction(insert(A, row(2, 1)))
    later = update(A, row(1, 2))
    later.content["before"] = row(1, 1, "as it was")
    world.stream.transaction(later)
    rows, whole = rebuild(world, Commit(at))
    assert (rows[1]["row"], rows[1]["unknown"]) == (row(1, 1, "as it was"), [])
    assert rows[1]["known_since"] is not None
    assert whole["partial"] == 1


def test_a_row_too_large_to_publish_is_named_and_never_emptied(world: World) -> None:
    world.stream.transaction(insert(A, row(1, 1)), insert(A, row(2, 1)))
    at = world.stream.transaction(oversize(A, {"id": 1}, 99_000_000))
    rows, whole = rebuild(world, Commit(at))
    assert (rows[1]["row"], rows[1]["unknown"], rows[1]["oversize"]) == ({"id": 1}, ["n", "long"], 99_000_000)
    assert (whole["complete"], whole["partial"]) == (False, 1)


def test_a_stored_value_follows_its_row_to_another_key_and_partition(world: World) -> None:
    world.stream.transaction(*[insert(A, row(n, n, f"long {n}")) for n in (1, 2, 3)])
    for old, new in ((1, 11), (11, 12), (12, 13), (2, 1)):
        moved = {"id": new, "n": old}
        world.stream.transaction(move(A, {"id": old}, moved, ["long"]))
    at = world.stream.transaction(update(A, {"id": 13, "n": 99}, ["long"]))
    rows, whole = rebuild(world, Commit(at))
    assert {id_: one["row"] for id_, one in rows.items()} == {
        13: row(13, 99, "long 1"), 1: row(1, 2, "long 2"), 3: row(3, 3, "long 3"),
    }  # fmt: skip
    assert whole["complete"]


def test_an_emptied_table_has_no_rows(world: World) -> None:
    full = world.stream.transaction(*[insert(A, row(n, 1)) for n in range(9)])
    empty = world.stream.transaction(truncate(A))
    world.stream.transaction(insert(A, row(3, 2)))
    assert [len(rebuild(world, Commit(at))[0]) for at in (full, empty, empty + 1_000)] == [9, 0, 1]


def test_after_a_gap_only_what_was_copied_since_counts(world: World) -> None:
    world.stream.transaction(*[insert(A, row(n, 1)) for n in (1, 2)], age_seconds=300)
    world.stream.timeline, world.stream.commit_lsn = in_era(1, 1), 500
    world.stream.transaction(read(A, row(1, 2)), absent(A, {"id": 7}), kind="snapshot", age_seconds=200)
    copied = world.stream.transaction(read(A, row(3, 2)), kind="snapshot", age_seconds=100)
    now = world_time(world)
    rows, whole = rebuild(world, Commit(copied), era=1)
    assert ({id_: one["row"]["n"] for id_, one in rows.items()}, whole["complete"]) == ({1: 2, 3: 2}, True)
    rows, whole = rebuild(world, Moment(now - 150_000_000), era=1)
    assert ({id_: one["row"]["n"] for id_, one in rows.items()}, whole["complete"]) == ({1: 2, 3: 2}, True), "as copied"
    rows, _ = rebuild(world, Moment(now - 250_000_000), era=1)
    assert {id_: one["row"]["n"] for id_, one in rows.items()} == {1: 1, 2: 1}


def test_one_key_is_rebuilt_by_itself(world: World) -> None:
    at = world.stream.transaction(*[insert(A, row(n, n)) for n in range(20)])
    rows, whole = rebuild(world, Commit(at), "7")
    assert ({id_: one["row"]["n"] for id_, one in rows.items()}, whole["rows"]) == ({7: 7}, 1)


def test_a_table_without_a_key_is_refused_with_a_sentence(world: World) -> None:
    keyless = insert(A, row(1, 1))
    world.stream.transaction(type(keyless)(A, b"", keyless.content, 0))
    with pytest.raises(OperatorError, match="no primary key"):
        rebuild(world, Commit(world.stream.commit_lsn))


def world_time(world: World) -> int:
    """Microseconds since 1970, by the clock that the stream's commits have."""
    ((now,),) = world.rows("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")
    return int(now)
