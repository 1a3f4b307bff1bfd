"""`placemat history` over a stream made by hand, beside a live worker."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator
from typing import Any

import msgspec
import psycopg
import pytest

from connectors.event_outcomes import Outcome
from connectors.postgres.pauses import Pauses
from daemon import wiring
from daemon.errors import OperatorError
from daemon.history.row_history import RowHistory, row_history
from schemas.topics import partition_of
from tests.fix_servers import Kafka, Postgres, drop_database
from tests.integration.apply_stream import PARTITIONS, World, delete, insert, move, running, truncate, update
from tests.integration.past_stream import as_actor, cut, past_world
from tests.waiting import until

A = "public.a"
DDL = "CREATE TABLE a (id int PRIMARY KEY, n int CONSTRAINT positive CHECK (n > 0), long text, changed_by text)"


@pytest.fixture(scope="module")
def applied(postgres_server: Postgres, kafka_server: Kafka) -> Iterator[World]:
    name = f"history_{uuid.uuid4().hex[:10]}"
    with psycopg.connect(postgres_server.dsn(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    found = past_world(kafka_server, postgres_server.dsn(name), DDL, A, actor="changed_by")
    with running(found):
        yield found
    drop_database(postgres_server, name)


IDS = itertools.count(1)


@pytest.fixture
def world(applied: World) -> World:
    return applied


@pytest.fixture
def one() -> int:
    """A key that no other test has."""
    return next(IDS)


def history(world: World, key: object, field: str | None = None) -> RowHistory:
    world.applied_through()
    with wiring.outcomes(world.settings, world.source, A) as targets:
        return row_history(world.settings, world.source, A, str(key), targets, field=field)


def told(found: RowHistory) -> list[Any]:
    """As a reader of the JSON has it."""
    read: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(found.to_json()))
    return list(read["versions"])


def row(id_: int, n: int, long: str = "l", by: str | None = None) -> dict[str, Any]:
    return {"id": id_, "n": n, "long": long, "changed_by": by}


def test_every_version_tells_who_and_what_before_and_after_and_what_the_target_did(world: World, one: int) -> None:
    world.stream.transaction(insert(A, row(one, 1, by="ann")))
    as_actor(world, "ben", update(A, {"id": one, "n": 2, "changed_by": "ann"}, ["long"]))
    world.applied_through()  # what waits together is applied as one
    world.stream.transaction(update(A, row(one, -5)))
    found = told(history(world, one))
    assert [version["targets"][world.target]["outcome"] for version in found] == ["taken", "taken", "parked"]
    assert "positive" in found[2]["targets"][world.target]["detail"]
    world.stream.transaction(delete(A, {"id": one}))
    found = told(history(world, one))
    assert [(version["op"], version["who"]) for version in found] == [
        ("c", "ann"), ("u", "ben"), ("u", "unknown"), ("d", "unknown"),
    ]  # fmt: skip
    assert [{change["field"] for change in version["fields"]} for version in found] == [
        {"id", "n", "long", "changed_by"}, {"n"}, {"n", "changed_by"}, {"id", "n", "long", "changed_by"},
    ]  # fmt: skip
    assert (found[1]["fields"], found[1]["unchanged"]) == ([{"field": "n", "before": 1, "after": 2}], ["long"])
    assert found[0]["fields"][0] == {"field": "id", "after": one}
    positions = [version["position"] for version in found]
    assert positions == sorted(set(positions))


def test_only_versions_that_changed_a_field_and_only_that_field(world: World, one: int) -> None:
    world.stream.transaction(insert(A, row(one, 1)))
    world.stream.transaction(update(A, row(one, 2)))
    world.stream.transaction(update(A, row(one, 2, "m")))
    found = history(world, one, "long")
    assert [[change["field"] for change in version["fields"]] for version in found.to_json("long")["versions"]] == [
        ["long"]
    ] * 2


def test_a_changed_key_is_followed_over_partitions(world: World, one: int) -> None:
    other = next(n for n in IDS if _partition(n) != _partition(one))
    world.stream.transaction(insert(A, row(one, 1)))
    as_actor(world, "cay", move(A, {"id": one}, row(other, 2)))
    world.stream.transaction(update(A, row(other, 3)))
    for key in (one, other):
        found = told(history(world, key))
        assert [(version["op"], version["key"]["id"]) for version in found] == [
            ("c", one),
            ("d", one),
            ("c", other),
            ("u", other),
        ]
        assert (found[1]["moved_to"], found[2]["moved_from"]) == ({"id": other}, {"id": one})
        assert found[2]["fields"][:2] == [
            {"field": "id", "before": one, "after": other}, {"field": "n", "before": 1, "after": 2},
        ]  # fmt: skip
        assert found[2]["who"] == "cay"


def test_records_that_a_replaced_capture_appends_late_are_no_versions(world: World, one: int) -> None:
    first = len(world.stream.sent)
    world.stream.transaction(insert(A, row(one, 1)))
    world.stream.transaction(update(A, row(one, 2)))
    world.stream.resend(first)
    world.stream.transaction(update(A, row(one, 3)))
    assert [version["op"] for version in told(history(world, one))] == ["c", "u", "u"]


def test_an_emptied_table_ends_its_rows(world: World, one: int) -> None:
    world.stream.transaction(insert(A, row(one, 1)))
    world.stream.transaction(truncate(A))
    world.stream.transaction(insert(A, row(one, 2)))
    assert [version["op"] for version in told(history(world, f'{{"id": {one}}}'))][-3:] == ["c", "t", "c"]


def test_where_retention_has_cut_the_first_version_says_so(world: World, one: int) -> None:
    world.stream.transaction(insert(A, row(one, 1)))
    world.applied_through()
    cut(world, A)
    world.stream.transaction(update(A, {"id": one, "n": 2, "changed_by": None}, ["long"]))
    [version] = told(history(world, one))
    assert (version["known_since"], version["unknown"]) == (True, ["long"])
    assert {"field": "n", "after": 2} in version["fields"]


def test_a_paused_table_and_a_target_that_is_away_are_told(world: World, one: int) -> None:
    with psycopg.connect(world.url, autocommit=True) as connection:
        pauses = Pauses(connection, world.target, world.source, {A: set()})
        pauses.pause(A, "x", "Somebody looks at it")
        until(lambda: pauses.read()[0].state == "paused", what="the pause")
        world.stream.transaction(insert(A, row(one, 1)))
        with wiring.outcomes(world.settings, world.source, A) as targets:
            [version] = row_history(world.settings, world.source, A, str(one), targets).versions
        assert version.outcomes == {world.target: Outcome("paused", "Somebody looks at it")}
        pauses.resume(A)
    found = row_history(world.settings, world.source, A, str(one), {"gone": "It does not answer."})
    assert (found.versions[0].outcomes, found.away) == ({"gone": None}, {"gone": "It does not answer."})


def test_what_is_no_key_of_that_table_is_refused(world: World, one: int) -> None:
    world.stream.transaction(insert(A, row(one, 1)))
    with pytest.raises(OperatorError, match="is no key") as refused:
        history(world, '{"name": 1}')
    assert refused.value.exit_code == 2


def _partition(id_: int) -> int:
    return partition_of(b'{"id":%d}' % id_, PARTITIONS)
