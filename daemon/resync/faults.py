"""What is not as the state knows it, on both sides of a capture: the reasons for a gap."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import psycopg
import sqlalchemy
from confluent_kafka.admin import AdminClient

from daemon import broker
from daemon.capture.provision import Identity
from daemon.errors import OperatorError
from schemas import tables
from schemas.position import format_lsn

_SLOT = """
SELECT wal_status, (confirmed_flush_lsn - '0/0')::bigint, active_pid FROM pg_replication_slots WHERE slot_name = %s
"""


def known(engine: sqlalchemy.Engine, name: str) -> Mapping[str, Any]:
    """The state's row of a source. Raises OperatorError when it has not been set up."""
    with engine.connect() as connection:
        query = sqlalchemy.select(tables.sources).where(tables.sources.c.name == name)
        row = connection.execute(query).mappings().one_or_none()
    if row is None:
        raise OperatorError(f"Source {name} has not been set up.", "Run: placemat init")
    return dict(row)


def find(
    engine: sqlalchemy.Engine,
    connection: psycopg.Connection[Any],
    admin: AdminClient,
    row: Mapping[str, Any],
    identity: Identity,
) -> list[str]:
    """A sentence for each fault; none when a capture could go on."""
    return [*_of_the_server(connection, row, identity), *_of_kafka(engine, admin, row)]


def refuse_active(connection: psycopg.Connection[Any], row: Mapping[str, Any]) -> None:
    """Raises OperatorError while something reads the slot."""
    found = connection.execute(_SLOT, [row["slot"]]).fetchone()
    if found is not None and found[2] is not None:
        raise OperatorError(
            f"Slot {row['slot']} of source {row['name']} is being read (process {found[2]} of that server).",
            "Stop every worker of the source, then run this again.",
        )


def _of_the_server(connection: psycopg.Connection[Any], row: Mapping[str, Any], identity: Identity) -> Iterator[str]:
    if row["system_identifier"] != identity.system_identifier:
        yield "It is another server than the one that was captured."
        return
    found = connection.execute(_SLOT, [row["slot"]]).fetchone()
    if found is None or found[0] == "lost":
        yield f"Slot {row['slot']} {'is missing' if found is None else 'was invalidated'}."
    elif found[1] > int(row["flush_lsn"]):
        yield f"Slot {row['slot']} was moved to {format_lsn(found[1])} by something else."


def _of_kafka(engine: sqlalchemy.Engine, admin: AdminClient, row: Mapping[str, Any]) -> Iterator[str]:
    name = row["name"]
    if (cluster := broker.cluster_id(admin)) != row["cluster_id"]:
        yield f"Kafka is cluster {cluster}, not {row['cluster_id']}."
        return
    with engine.connect() as connection:
        topics = connection.execute(sqlalchemy.select(tables.topics).where(tables.topics.c.source == name)).all()
        acked = connection.execute(sqlalchemy.select(tables.partitions).where(tables.partitions.c.source == name)).all()
    present = broker.describe(admin, [topic.topic for topic in topics])
    whole = set()
    for topic in topics:
        found = present.get(topic.topic)
        if found is None or found.topic_id != topic.topic_id:
            yield f"Topic {topic.topic} {'is gone' if found is None else 'was made anew'}."
        elif found.partitions != topic.partitions:
            yield f"Topic {topic.topic} has {found.partitions} partitions, not {topic.partitions}."
        else:
            whole.add(topic.topic)
    places = {(one.topic, one.partition): one.acked_offset for one in acked if one.topic in whole}
    ends = broker.offsets(admin, places, "latest") if places else {}
    for short in sorted({place[0] for place, end in ends.items() if end <= places[place]}):
        yield f"Topic {short} ends before what Kafka had acknowledged."
