"""From a target's transactions to the entries of the audit log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from confluent_kafka import TopicPartition
from prometheus_client import REGISTRY

from connectors.postgres import conditions
from daemon import broker
from daemon.audit import chain
from daemon.audit.entry import Draft
from daemon.audit.erasing.erasable import Beside
from daemon.audit.erasing.erase import erase
from daemon.audit.ledger import Ledger
from daemon.errors import Fenced, Unavailable
from daemon.observe.meter import Meters
from daemon.routes import routings
from daemon.wiring import outbox, progress_reader
from schemas.topics import table_topic
from tests.fix_servers import Kafka
from tests.integration.apply_stream import World, delete, insert, move, oversize, read, running, update
from tests.integration.audit_world import CHILDREN, DDL, PARENTS, Audited, audited, relaying
from tests.waiting import until

Row = dict[str, Any]


@pytest.fixture
def here(kafka_server: Kafka, database_factory: Callable[..., str], state_template: str) -> Audited:
    routes: dict[str, dict[str, Any]] = {
        PARENTS: {"masks": {"secret": "hash"}, "actor": "updated_by"},
        CHILDREN: {},
    }
    world = World(kafka_server, database_factory("target"), DDL, routes, masking="0123456789abcdef")
    return audited(world, database_factory("state", state_template))


def parent(number: int, name: str = "n", **more: Any) -> Row:
    return {"id": number, "name": name, "note": None, "secret": "s3cret", "updated_by": None, **more}


def test_every_event_has_one_entry_with_what_it_changed(here: Audited) -> None:
    stream = here.world.stream
    with running(here.world), relaying(here):
        stream.transaction(insert(PARENTS, parent(1, "ada")), insert(CHILDREN, {"id": 1, "parent": 1, "note": "x"}))
        stream.transaction(update(PARENTS, parent(1, "grace", updated_by="hopper")))
        stream.transaction(delete(CHILDREN, {"id": 1}))
        here.world.applied_through()
        here.relayed()
    created, child, updated, deleted = here.entries()
    assert [one["sequence"] for one in (created, child, updated, deleted)] == [1, 2, 3, 4]
    assert (created["op"], created["entity"], created["key"]) == ("c", PARENTS, '{"id":1}')
    assert (created["source"], created["target"]) == (here.world.source, here.world.target)
    assert (created["outcome"], created["kind"]) == ("applied", "event")
    assert created["fields"] == ["id", "name", "note", "updated_by"]
    assert created["masked"] == ["secret"]
    assert created["content"]["before"] == {}
    assert created["content"]["after"]["name"] == "ada"
    assert updated["fields"] == ["name", "updated_by"]
    assert updated["content"]["before"] == {"name": "ada", "updated_by": None}
    assert (updated["content"]["after"]["name"], updated["who"]) == ("grace", "hopper")
    assert (deleted["op"], deleted["content"]) == ("d", {"before": {"id": 1, "parent": 1, "note": "x"}, "after": None})
    assert [one["who"] for one in (created, child, deleted)] == ["unknown"] * 3
    assert len({(one["topic"], one["partition"], one["offset"]) for one in here.entries()}) == 4
    assert "s3cret" not in str(here.entries())


def test_entries_come_also_where_records_are_small(here: Audited) -> None:
    kafka = here.settings.kafka.model_copy(update={"max_record_bytes": 65_536})
    here.settings = here.settings.model_copy(update={"kafka": kafka})
    with running(here.world), relaying(here):
        here.world.stream.transaction(insert(PARENTS, parent(1, "ada", updated_by="hopper")))
        here.world.applied_through()
        here.relayed()
    assert [one["who"] for one in here.entries()] == ["hopper"]


def test_what_was_before_is_left_out_where_nobody_tells(here: Audited) -> None:
    stream = here.world.stream
    with running(here.world), relaying(here):
        stream.transaction(update(PARENTS, {"id": 1, "name": "x"}, ["note"]))
        here.world.applied_through()
        stream.transaction(read(PARENTS, parent(1, "x", note="long")), kind="snapshot")
        stream.transaction(update(PARENTS, {"id": 1, "name": "y"}, ["note"]))
        stream.transaction(oversize(PARENTS, {"id": 1}, 99))
        stream.transaction(update(PARENTS, parent(1, "z", note="long")))
        here.world.applied_through()
        here.relayed()
    lacking, copied, changed, large, after = here.entries()
    assert (lacking["outcome"], lacking["content"]["before"]) == ("parked", {})
    assert (lacking["details"]["kind"], bool(lacking["reason"])) == ("needs_full_row", True)
    assert (copied["outcome"], copied["content"]["before"]) == ("applied", {})
    assert copied["fields"] == ["note", "updated_by"]
    assert (changed["fields"], changed["content"]["before"]) == (["name"], {"name": "x"})
    assert (large["content"], large["details"]["oversize"], large["outcome"]) == (None, 99, "parked")
    assert (after["content"]["before"], "name" in after["fields"]) == ({}, True)


def test_a_changed_key_is_followed(here: Audited) -> None:
    stream = here.world.stream
    with running(here.world), relaying(here):
        stream.transaction(insert(PARENTS, parent(1, "ada")))
        stream.transaction(move(PARENTS, {"id": 1}, parent(2, "ada", note="moved")))
        stream.transaction(update(PARENTS, parent(2, "grace", note="moved")))
        here.world.applied_through()
        here.relayed()
    _, gone, come, updated = here.entries()
    assert (gone["op"], gone["key"], gone["content"]["before"]["name"]) == ("d", '{"id":1}', "ada")
    assert (come["op"], come["key"], come["fields"]) == ("c", '{"id":2}', ["id", "note"])
    assert come["content"]["before"] == {"id": 1, "note": None}
    assert (updated["fields"], updated["content"]["before"]) == (["name"], {"name": "ada"})


def test_a_parked_event_and_its_redrive_are_entries_of_their_own(here: Audited) -> None:
    stream = here.world.stream
    with running(here.world), relaying(here):
        stream.transaction(insert(CHILDREN, {"id": 1, "parent": 7, "note": "x"}))
        here.world.applied_through()
        stream.transaction(update(CHILDREN, {"id": 1, "parent": 7, "note": "y"}))
        here.world.applied_through()
        stream.transaction(insert(PARENTS, parent(7)))
        here.world.applied_through()
        until(lambda: not here.world.parked(), 20, what="the child unparked")
        here.relayed()
    refused, queued, come, redriven = here.entries()
    assert (refused["outcome"], refused["details"]["sqlstate"]) == ("parked", "23503")
    assert (queued["outcome"], come["outcome"]) == ("queued", "applied")
    assert (redriven["kind"], redriven["outcome"], redriven["key"]) == ("change", "redriven", '{"id":1}')
    assert [place[2] for place in redriven["details"]["events"]] == [queued["offset"]]


def test_records_that_came_again_are_told_as_dropped(here: Audited) -> None:
    stream = here.world.stream
    with running(here.world), relaying(here):
        stream.transaction(insert(PARENTS, parent(1)))
        stream.transaction(update(PARENTS, parent(1, "new")))
        here.world.applied_through()
        stream.resend()
        stream.transaction(update(PARENTS, parent(1, "newest")))
        here.world.applied_through()
        here.relayed()
    entries = here.entries()
    assert [one["outcome"] for one in entries] == ["applied", "applied", "dropped", "dropped", "applied"]
    assert [one["content"] for one in entries if one["outcome"] == "dropped"] == [None, None]
    assert entries[-1]["content"]["before"] == {"name": "new"}


def test_a_large_transaction_is_told_in_parts(here: Audited, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.postgres.outcomes.SPILL_EVENTS", 200)
    monkeypatch.setattr("daemon.audit.relay.BATCH_EVENTS", 150)
    rows = 3_000
    with running(here.world):
        here.world.stream.transaction(
            [insert(CHILDREN, {"id": number, "parent": 1 if number % 100 == 0 else None, "note": "x"})
             for number in range(rows)]
        )  # fmt: skip
        here.world.applied_through()
    assert len(here.outbox()) > 3
    with relaying(here):
        here.relayed()
    entries = here.entries()
    assert len(entries) == len({(one["partition"], one["offset"]) for one in entries}) == rows
    assert sum(one["outcome"] == "parked" for one in entries) == rows / 100
    parked = {int(one["key"][6:-1]) for one in entries if one["outcome"] == "parked"}
    assert parked == set(range(0, rows, 100))


CONDITIONS = """
CREATE SCHEMA hub;
CREATE TABLE hub.tellers (id int PRIMARY KEY, name text, consent text);
CREATE TABLE hub.stories (id int PRIMARY KEY, teller_id int REFERENCES hub.tellers, level text, body text);
CREATE TABLE stories (LIKE hub.stories INCLUDING ALL);
"""
TELLERS, STORIES = "hub.tellers", "hub.stories"
SHOWN: dict[str, Any] = {
    "table": "public.stories",
    "where": "level = 'public' and teller.consent = 'given'",
    "parents": {"teller": TELLERS},
}


def teller(consent: str) -> Row:
    return {"id": 1, "name": "Mary", "consent": consent}


def story(number: int, level: str, body: str) -> Row:
    return {"id": number, "teller_id": 1, "level": level, "body": body}


def test_what_a_condition_keeps_out_has_an_entry_and_no_values(
    kafka_server: Kafka, database_factory: Callable[..., str], state_template: str
) -> None:
    url = database_factory("target")
    world = World(kafka_server, url, CONDITIONS, {STORIES: SHOWN}, captured=(STORIES, TELLERS))
    with psycopg.connect(url) as source, psycopg.connect(url) as target:
        conditions.remember(source, target, world.source, routings(world.settings, world.target))
    here = audited(world, database_factory("state", state_template))
    with running(world), relaying(here):
        world.stream.transaction(insert(TELLERS, teller("given")))
        world.stream.transaction(
            insert(STORIES, story(1, "public", "one")), insert(STORIES, story(2, "private", "two"))
        )
        world.applied_through()
        world.stream.transaction(update(STORIES, story(1, "private", "secret")))
        world.stream.transaction(update(STORIES, story(1, "public", "open")))
        world.applied_through()
        world.stream.transaction(update(TELLERS, teller("withdrawn")))
        world.applied_through()
        here.relayed()
    entries = here.entries()
    assert [(one["kind"], one["entity"], one["outcome"]) for one in entries] == [
        ("event", TELLERS, "remembered"),
        ("event", STORIES, "applied"),
        ("event", STORIES, "filtered"),
        ("event", STORIES, "deleted"),
        ("event", STORIES, "applied"),
        ("event", TELLERS, "remembered"),
        ("change", STORIES, "deleted"),
    ]
    gone = entries[3]["content"]
    assert (gone["before"]["body"], gone["after"]) == ("one", None)
    assert entries[-1]["key"] == '{"id":1}'
    assert not any(word in str(entries) for word in ("Mary", "withdrawn", "two", "secret"))


def test_a_relay_that_was_replaced_enters_nothing(here: Audited) -> None:
    draft = Draft("event", "c", "applied", "ada", target=here.world.target, topic="t", partition=0, offset=0)
    with chain.opened(here.state) as one, chain.opened(here.state) as other:
        frozen = Ledger(one, here.world.target)
        Ledger(other, here.world.target).append([draft], [1])
        with pytest.raises(Fenced):
            frozen.append([replace(draft, offset=1)], [2])
    assert [one["offset"] for one in here.entries()] == [0]


def test_an_event_has_no_second_entry_and_what_is_missing_ends_what_is_known(here: Audited) -> None:
    def draft(offset: int) -> Draft:
        content = '{"before":{},"after":{"a":1}}'
        return Draft("event", "c", "applied", "ada", target="t", entity="e", key="k", topic="x", partition=0,
                     offset=offset, content=content)  # fmt: skip

    unique = "audit_entries_topic_partition_offset_target_position_month_key"
    here.sql(
        f"ALTER TABLE placemat.audit_entries DROP CONSTRAINT {unique}"
    )  # it does not hold over the turn of a month
    with chain.opened(here.state) as connection:
        ledger = Ledger(connection, "t")
        ledger.append([draft(0), draft(1)], [])
        ledger.append([draft(1), draft(2)], [])
        assert ledger.recall({("e", "k"): ("x", 0)}) == {("e", "k"): {"a": b"1"}}
        assert ledger.recall({("e", "other"): ("x", 0)}) == {("e", "other"): None}
        ledger.append([replace(draft(9), entity="f")], [])
        assert ledger.recall({("e", "k"): ("x", 0)}) == {("e", "k"): None}
    assert [one["offset"] for one in here.entries()] == [0, 1, 2, 9]


def test_values_that_are_erased_while_they_are_needed_do_not_come_back(here: Audited) -> None:
    content = '{"before":{},"after":{"a":1}}'
    first = Draft("event", "c", "applied", "ada", target="t", entity="e", key='{"id":1}', topic="x", partition=0,
                  offset=0, content=content)  # fmt: skip
    with chain.opened(here.state) as connection:
        ledger = Ledger(connection, "t")
        ledger.append([first], [])
        ledger.recall({("e", '{"id":1}'): ("x", 0)})
        erase(here.settings, Beside(), "e", "1", "asked", dry_run=False)
        with pytest.raises(Unavailable, match="erased"):
            ledger.append([replace(first, offset=1)], [])
        assert ledger.recall({("e", '{"id":1}'): ("x", 0)}) == {("e", '{"id":1}'): None}
        ledger.append([replace(first, offset=1)], [])


def test_no_target_tells_anything_where_the_log_is_off(here: Audited) -> None:
    here.world.settings = here.settings.model_copy(
        update={"audit": here.settings.audit.model_copy(update={"enabled": False})}
    )
    with running(here.world):
        here.world.stream.transaction(insert(PARENTS, parent(1)))
        here.world.applied_through()
    assert here.outbox() == []


def test_events_that_kafka_has_lost_have_an_entry_that_says_so(here: Audited) -> None:
    with running(here.world):
        here.world.stream.transaction(insert(PARENTS, parent(1)))
        here.world.stream.transaction(insert(PARENTS, parent(2)))
        here.world.applied_through()
    topic = table_topic(here.world.source, "public", "parents")
    admin = broker.reach(here.settings.kafka)
    ends = broker.offsets(admin, [(topic, number) for number in range(3)], "latest")
    for done in admin.delete_records([TopicPartition(*key, end) for key, end in ends.items()]).values():
        done.result()
    with relaying(here):
        here.relayed()
    entries = here.entries()
    assert [(one["op"], one["entity"], one["outcome"], one["content"]) for one in entries] == [
        ("?", PARENTS, "applied", None)
    ] * 2
    assert {one["reason"] for one in entries} == {"Kafka does not hold the event any more"}


def test_what_the_log_lacks_is_measured(here: Audited) -> None:
    def gauge(name: str) -> float | None:
        return REGISTRY.get_sample_value(name, {"target": here.world.target})

    with running(here.world):
        here.world.stream.transaction(insert(PARENTS, parent(1)))
        here.world.applied_through()
    with Meters(here.settings, [f"apply:{here.world.target}", f"audit:{here.world.target}"], progress_reader, outbox):
        until(lambda: gauge("placemat_audit_lag_rows") == 1, what="a transaction without entries")
        assert (gauge("placemat_audit_lag_seconds") or 0) > 0
        with relaying(here):
            until(lambda: gauge("placemat_audit_lag_rows") == 0, what="no audit lag")
    assert gauge("placemat_audit_lag_rows") is None
