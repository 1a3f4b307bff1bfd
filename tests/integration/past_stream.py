"""What tests of the past share: a world with a messages topic, and topics that retention has cut."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import orjson
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from daemon import broker
from daemon.config.audit import Audit
from schemas.position import Position
from schemas.topics import messages_topic, table_topic
from tests.fix_servers import Kafka
from tests.integration.apply_stream import Change, World


def past_world(kafka: Kafka, url: str, ddl: str, *tables: str, **route: Any) -> World:
    """A world whose source is the target's own database, as nothing captures it; without an audit log."""
    found = World(kafka, url, ddl, {table: dict(route) for table in tables})
    found.settings = found.settings.model_copy(update={"audit": Audit(enabled=False)})
    settings = found.settings.kafka
    broker.ensure(broker.reach(settings), settings, {messages_topic(found.source): 1})
    return found


def as_actor(world: World, name: str, *changes: Change | list[Change], content: bytes | None = None) -> int:
    """A transaction that tells who makes it."""
    told = {"prefix": "placemat.actor", "content": base64.b64encode(content or name.encode()).decode()}
    value = orjson.dumps({"op": "m", "transaction": {"id": "1"}, "message": told})
    position = Position(world.stream.timeline, world.stream.commit_lsn + 1_000, 0)
    world.stream.send(messages_topic(world.source), 0, b"{}", value, position)
    return world.stream.transaction(*changes)


def cut(world: World, table: str, before: Mapping[int, int] | None = None) -> None:
    """As retention does: the records before these offsets are gone, by partition; all of them if none are named."""
    topic = table_topic(world.source, *table.split(".", 1))
    admin = AdminClient({"bootstrap.servers": world.settings.kafka.bootstrap_servers})
    numbers = admin.list_topics(topic).topics[topic].partitions if before is None else before
    places = [TopicPartition(topic, number, -1 if before is None else before[number]) for number in numbers]
    for deleted in admin.delete_records(places).values():
        deleted.result()
