"""Who caused a transaction, read from the messages of a source that is captured."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer

from daemon import broker
from daemon.actors import Actors, Commit, Named, Place
from daemon.broker import KafkaUnavailable
from daemon.config.kafka import Kafka
from schemas.topics import messages_topic
from tests.fix_capture import Rig
from tests.integration.test_capture_messages import KILLED


@pytest.fixture
def actors(capture: Rig) -> Iterator[Actors]:
    found = Actors(capture.site.settings.kafka, capture.site.source)
    yield found
    found.close()


def change(rig: Rig, number: int, *messages: tuple[str, str], transactional: bool = True) -> None:
    emitted = "".join(
        f"SELECT pg_logical_emit_message({transactional}, '{prefix}', '{content}');" for prefix, content in messages
    )
    rig.sql(f"BEGIN; {emitted} INSERT INTO items VALUES ({number}); COMMIT")


def commits(rig: Rig) -> list[Commit]:
    """Of every transaction with rows, as its end counts them."""
    topic = messages_topic(rig.site.source)
    return [
        Commit((end.value["timeline"], end.value["commit_lsn"]), end.value["ts_us"] // 1_000,
               sum(end.value["counts"].get(topic, {}).values()))
        for end in rig.ends()
        if end.value["kind"] == "tx" and any(name.endswith(".items") for name in end.value["counts"])
    ]  # fmt: skip


def names(found: dict[Place, Named], asked: list[Commit]) -> list[str | None]:
    return [found[one.place][0][1] if one.place in found else None for one in asked]


@pytest.mark.parametrize("most", [1, 65_536, 524_288, 1_048_576, 16 * 1_048_576])
@pytest.mark.parametrize("limit", [65_536, 1_048_576, 16 * 1_048_576])
def test_a_consumer_can_be_made_whatever_the_limit_of_records(limit: int, most: int) -> None:
    kafka = Kafka(bootstrap_servers="127.0.0.1:1", max_record_bytes=limit)
    options = {**broker.options(kafka), "group.id": "test", **broker.fetch_sizes(kafka, most)}
    Consumer(options, logger=broker.SILENT).close()


def test_an_actor_is_found_where_records_are_small(capture: Rig) -> None:
    with capture.start():
        capture.copied()
        change(capture, 1, ("placemat.actor", "ada"))
        capture.caught_up()
    small = capture.site.settings.kafka.model_copy(update={"max_record_bytes": 65_536})
    found = Actors(small, capture.site.source)
    try:
        asked = commits(capture)
        assert names(found.find(asked), asked) == ["ada"]
    finally:
        found.close()


def test_an_actor_is_found_by_its_transaction_in_any_order(capture: Rig, actors: Actors) -> None:
    with capture.start():
        capture.copied()
        change(capture, 1, ("placemat.actor", "ada"))
        change(capture, 2)
        change(capture, 3, ("app", "x"), ("placemat.actor", '{"actor": "grace"}'))
        change(capture, 4, ("app", "x"))
        change(capture, 5, ("placemat.actor", "not of a transaction"), transactional=False)
        capture.caught_up()
    asked = commits(capture)
    expected = ["ada", None, "grace", None, None]
    assert [one.messages for one in asked] == [1, 0, 2, 1, 0]
    assert names(actors.find(asked), asked) == expected
    again = [actors.find([one]) for one in reversed(asked)]
    assert [names(found, [one])[0] for found, one in zip(again, reversed(asked), strict=True)] == expected[::-1]
    untold = [one._replace(messages=None) for one in asked]
    assert names(actors.find(untold), asked) == expected
    assert names({**actors.find(asked[:2]), **actors.find(asked[2:])}, asked) == expected


def test_what_comes_after_a_look_up_is_found_by_the_next(capture: Rig, actors: Actors) -> None:
    with capture.start():
        capture.copied()
        for number in range(1, 6):
            change(capture, number, ("placemat.actor", f"person {number}"))
            capture.caught_up()
            newest = commits(capture)[-1]
            assert names(actors.find([newest]), [newest]) == [f"person {number}"]


def test_actors_are_found_where_a_kill_has_sent_messages_again(capture: Rig, actors: Actors) -> None:
    with capture.start():
        capture.copied()
    for number in range(1, 8):
        change(capture, number, ("placemat.actor", f"person {number}"))
    for seam in ("after_ack:5", "before_confirm:1"):
        assert capture.spawn(seam).wait(30) == KILLED
    with capture.start():
        capture.caught_up()
    asked = commits(capture)
    assert names(actors.find(asked), asked) == [f"person {number}" for number in range(1, 8)]


def test_a_message_that_its_transaction_counts_is_waited_for(
    capture: Rig, actors: Actors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.actors.READ_SECONDS", 0.3)
    with capture.start():
        capture.copied()
        change(capture, 1, ("placemat.actor", "ada"))
        capture.caught_up()
        (commit,) = commits(capture)
        with pytest.raises(KafkaUnavailable, match="have not come yet"):
            actors.find([commit._replace(messages=2)])
        assert actors.find([commit._replace(messages=2, ts_ms=0)])
        change(capture, 2, ("placemat.actor", "grace"))
        capture.caught_up()
        assert names(actors.find([commit._replace(messages=2)]), [commit]) == ["ada"]
