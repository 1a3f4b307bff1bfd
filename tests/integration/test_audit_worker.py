"""The worker `audit:TARGET` enters events whatever becomes of the heads, and leaves no entry without one at its end."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from prometheus_client import REGISTRY

from daemon import broker
from daemon.audit.heads import kept as heads
from daemon.audit.heads.topic import HeadsTopic, Published
from tests.fix_servers import Kafka
from tests.integration.apply_stream import World, insert, running
from tests.integration.audit_world import CHILDREN, DDL, PARENTS, Audited, audited, relaying
from tests.waiting import until

MakeAudited = Callable[[float], Audited]
"""With heads published so often, in seconds."""


@pytest.fixture
def make_audited(kafka_server: Kafka, database_factory: Callable[..., str], state_template: str) -> MakeAudited:
    def make(publish_seconds: float) -> Audited:
        world = World(kafka_server, database_factory("target"), DDL, {PARENTS: {}, CHILDREN: {}})
        return audited(world, database_factory("state", state_template), publish_seconds=publish_seconds)

    return make


def add(here: Audited, number: int) -> None:
    """An event, and its entry."""
    row = {"id": number, "name": "n", "note": None, "secret": None, "updated_by": None}
    here.world.stream.transaction(insert(PARENTS, row))
    here.world.applied_through()
    here.relayed()


def told(here: Audited) -> list[int]:
    """Entries of which Kafka has heads."""
    found = HeadsTopic(here.settings.kafka, here.settings.audit.topic).newest(99)
    return [one.sequence for one in found if isinstance(one, Published)]


def test_events_are_entered_while_the_topic_of_the_heads_is_gone(
    make_audited: MakeAudited, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heads, "RETRY_SECONDS", 0.1)
    here = make_audited(0.1)
    topic, client = here.settings.audit.topic, broker.reach(here.settings.kafka)
    for done in client.delete_topics([topic]).values():
        done.result()
    until(lambda: topic not in broker.describe(client, [topic]), what="the topic deleted")

    def failing() -> float | None:
        return REGISTRY.get_sample_value("placemat_audit_heads_failing", {"target": here.world.target})

    with running(here.world), relaying(here) as relay:
        add(here, 1)
        until(lambda: failing() == 1, what="heads that are not published")
        for number in range(2, 5):
            add(here, number)
        until(lambda: any(relay.details), what="a report of that")
        assert set(relay.states) == {"running"}
        assert relay.details[-1] == (
            f"Heads are not published: topic {topic}, which has the heads of the audit log, is gone:"
            " see placemat init --new-audit-log"
        )
        broker.ensure(client, here.settings.kafka, {topic: 1})
        until(lambda: failing() == 0, what="heads that are published")
        until(lambda: relay.details[-1] is None, what="a report of that")
    assert told(here)[-1] == 4
    assert failing() is None


def test_a_worker_that_is_stopped_leaves_no_entry_untold(make_audited: MakeAudited) -> None:
    here = make_audited(3_600)
    with running(here.world), relaying(here):
        for number in range(1, 4):
            add(here, number)
        before = told(here)
    assert len(before) <= 1
    assert told(here)[-1] == 3
