"""The beginning of a repair: a new slot, topics as they are now, a new era, and a copy of every table to be done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
import sqlalchemy
from confluent_kafka.admin import AdminClient
from psycopg import sql
from sqlalchemy import Connection, delete, func, insert, update

from daemon import broker, seams
from daemon.capture import preflight, provision
from daemon.capture.provision import Identity
from daemon.config.settings import Settings
from daemon.errors import Gap, OperatorError
from daemon.resync import faults
from daemon.state import gaps, jobs, spans
from daemon.state.engine import alone
from schemas import tables
from schemas.topics import requests_topic, transactions_topic


def prepare(
    engine: sqlalchemy.Engine,
    connection: psycopg.Connection[Any],
    admin: AdminClient,
    settings: Settings,
    row: Mapping[str, Any],
    identity: Identity,
    found: Sequence[Gap],
    by: str | None,
) -> gaps.Gap:
    """Begin anew; `connection` is to the source, in autocommit mode. Safe to repeat after an interruption.

    A crash on the way leaves a slot that is ahead of what the state knows: no capture begins on it.
    Raises OperatorError when the source is being captured, or is not as a capture needs it.
    """
    name = row["name"]
    source = settings.sources[name]
    with alone(engine, provision.LOCK):
        faults.refuse_active(connection, row)
        for fault in preflight.check(connection, name, source):
            raise fault
        for fault in preflight.ensure_publication(connection, name, source):
            raise fault
        wanted = provision.wanted_topics(name, source, settings.kafka.partitions)
        topics = broker.ensure(admin, settings.kafka, wanted)
        provision.ensure_schema_changes(admin, settings.kafka)
        provision.check_single(name, topics)
        _drop_slot(connection, row, source.slot)
        start = provision.create_slot(connection, name, source)
        seams.seam(seams.AFTER_NEW_SLOT)
        places = [(topic.name, number) for topic in topics for number in range(topic.partitions)]
        newest = broker.offsets(admin, places, "latest")
        ends = {topic.name: [newest[topic.name, number] for number in range(topic.partitions)] for topic in topics}
        depths = provision.depths(provision.copied(connection, source.tables), provision.foreign_keys(connection))
        pins = {
            "system_identifier": identity.system_identifier,
            "timeline": identity.timeline,
            "cluster_id": broker.cluster_id(admin),
            "slot": source.slot,
            "publication": source.publication,
            "flush_lsn": start,
            "requests_offset": ends[requests_topic(name)][0],
        }
        with engine.begin() as state:
            era = _pin(state, name, pins, topics)
            copies = jobs.add(state, name, "resync", [jobs.Order(table, place=at) for table, at in depths.items()], by)
            return gaps.begin(
                state,
                {
                    "source": name,
                    "era": era,
                    "reason": " ".join(map(str, found)) or "Asked for.",
                    "kinds": list(dict.fromkeys(one.reason for one in found)),
                    "from_lsn": row["flush_lsn"],
                    "from_at": row["updated_at"],
                    "to_lsn": start,
                    "to_at": func.now(),
                    "ends": {topic: each for topic, each in ends.items() if topic != requests_topic(name)},
                    "jobs": copies,
                    "targets": [],
                    "deleted": {},
                    "settled": {},
                },
            )


def _drop_slot(connection: psycopg.Connection[Any], row: Mapping[str, Any], slot: str) -> None:
    """Raises OperatorError when a slot of that name is not ours."""
    for name in {row["slot"], slot}:
        query = "SELECT plugin, database, current_database() FROM pg_replication_slots WHERE slot_name = %s"
        found = connection.execute(query, [name]).fetchone()
        if found is None:
            continue
        plugin, database, ours = found
        if plugin != "pgoutput" or database != ours:
            raise OperatorError(
                f"Slot {name} of source {row['name']} is not ours (plugin {plugin}, database {database}).",
                f"Set sources.{row['name']}.slot to another name.",
            )
        try:
            connection.execute(sql.SQL("SELECT pg_drop_replication_slot({})").format(name))
        except psycopg.errors.ObjectInUse:
            raise OperatorError(
                f"Slot {name} of source {row['name']} is being read.",
                "Stop what reads it, the capture of the source, then run this again.",
            ) from None


def _pin(state: Connection, name: str, pins: Mapping[str, Any], topics: Sequence[broker.Topic]) -> int:
    """Fence every earlier capture, and begin a new era; its number. Copies that were on their way end with the old."""
    t, copies = tables.sources, tables.snapshots
    values = {**pins, "epoch": t.c.epoch + 1, "era": t.c.era + 1, "updated_at": func.now()}
    era = state.execute(update(t).where(t.c.name == name).values(values).returning(t.c.era)).scalar_one()
    state.execute(delete(tables.topics).where(tables.topics.c.source == name))
    state.execute(delete(tables.publications).where(tables.publications.c.source == name))
    state.execute(
        insert(tables.topics),
        [
            {"source": name, "topic": topic.name, "topic_id": topic.topic_id, "partitions": topic.partitions}
            for topic in topics
        ],
    )
    apart = (transactions_topic(name), requests_topic(name))
    spans.begin(state, name, [topic.name for topic in topics if topic.name not in apart])
    whole = (copies.c.source == name, copies.c.done_at.is_(None), copies.c.kind.in_(("initial", "resync")))
    state.execute(update(copies).where(*whole).values(done_at=func.now(), waiting=None))
    return int(era)
