"""What is not as the state knows it, on both sides of a capture: the reasons for a gap."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
import sqlalchemy
from confluent_kafka.admin import AdminClient

from daemon import broker
from daemon.capture import publication, slot
from daemon.capture.provision import Identity
from daemon.errors import Gap, OperatorError
from schemas import tables
from schemas.position import Position, in_era

_ACTIVE = "SELECT active_pid FROM pg_replication_slots WHERE slot_name = %s"


@dataclass(frozen=True, slots=True)
class _Server:
    """See `slot.Server`."""

    connection: psycopg.Connection[Any]

    def query(self, statement: str, values: Sequence[Any]) -> tuple[Any, ...] | None:
        return self.connection.execute(statement.encode(), values).fetchone()


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
    captured: Sequence[str],
    identity: Identity,
) -> list[Gap]:
    """Every fault; none when a capture of these tables could go on."""
    return [*_of_the_server(engine, connection, row, captured, identity), *_of_kafka(engine, admin, row)]


def refuse_active(connection: psycopg.Connection[Any], row: Mapping[str, Any]) -> None:
    """Raises OperatorError while something reads the slot."""
    found = connection.execute(_ACTIVE, [row["slot"]]).fetchone()
    if found is not None and found[0] is not None:
        raise OperatorError(
            f"Slot {row['slot']} of source {row['name']} is being read (process {found[0]} of that server).",
            "Stop what reads it, the capture of the source, then run this again.",
        )


def _of_the_server(
    engine: sqlalchemy.Engine,
    connection: psycopg.Connection[Any],
    row: Mapping[str, Any],
    captured: Sequence[str],
    identity: Identity,
) -> Iterator[Gap]:
    name, server = row["name"], _Server(connection)
    if row["system_identifier"] != identity.system_identifier:
        yield Gap(f"Source {name} is another server than the one that was captured.", "other_server")
        return
    checks: list[Callable[[], object]] = [
        lambda: _check_slot(engine, server, row),
        lambda: publication.check(server, name, row["publication"], captured, _published(engine, name)),
        lambda: _check_history(engine, row, identity),
    ]
    for check in checks:
        try:
            check()
        except Gap as gap:
            yield gap


def _check_slot(engine: sqlalchemy.Engine, server: _Server, row: Mapping[str, Any]) -> None:
    found = slot.look(server, row["slot"])
    slot.check(found, row["name"], row["slot"], int(known(engine, row["name"])["flush_lsn"]))


def _published(engine: sqlalchemy.Engine, name: str) -> Mapping[str, Any] | None:
    """The publication as a capture has last seen it."""
    t = tables.publications.c
    with engine.connect() as connection:
        return connection.execute(sqlalchemy.select(t.facts).where(t.source == name)).scalar_one_or_none()


def _check_history(engine: sqlalchemy.Engine, row: Mapping[str, Any], identity: Identity) -> None:
    t, era = tables.partitions.c, row["era"]
    of = slot.timeline_of(identity.timeline, identity.history)
    with engine.connect() as connection:
        query = sqlalchemy.select(t.timeline, t.commit_lsn, t.ordinal).where(t.source == row["name"])
        acked = [Position(timeline, int(lsn), ordinal) for timeline, lsn, ordinal in connection.execute(query)]
    slot.check_history(row["name"], acked, era, identity.timeline, lambda lsn: in_era(era, of(lsn)))


def _of_kafka(engine: sqlalchemy.Engine, admin: AdminClient, row: Mapping[str, Any]) -> Iterator[Gap]:
    name = row["name"]
    if (cluster := broker.cluster_id(admin)) != row["cluster_id"]:
        yield Gap(f"Kafka is cluster {cluster}, not {row['cluster_id']}.", "other_cluster")
        return
    with engine.connect() as connection:
        topics = connection.execute(sqlalchemy.select(tables.topics).where(tables.topics.c.source == name)).all()
        acked = connection.execute(sqlalchemy.select(tables.partitions).where(tables.partitions.c.source == name)).all()
    present = broker.describe(admin, [topic.topic for topic in topics])
    whole = set()
    for topic in topics:
        found = present.get(topic.topic)
        if found is None:
            yield Gap(f"Topic {topic.topic} is gone.", "topic_gone")
        elif found.topic_id != topic.topic_id:
            yield Gap(f"Topic {topic.topic} was made anew.", "topic_made_anew")
        elif found.partitions != topic.partitions:
            sentence = f"Topic {topic.topic} has {found.partitions} partitions, not {topic.partitions}."
            yield Gap(sentence, "partitions_changed")
        else:
            whole.add(topic.topic)
    places = {(one.topic, one.partition): one.acked_offset for one in acked if one.topic in whole}
    ends = broker.offsets(admin, places, "latest") if places else {}
    for short in sorted({place[0] for place, end in ends.items() if end <= places[place]}):
        yield Gap(f"Topic {short} ends before what Kafka had acknowledged.", "topic_cut_off")
