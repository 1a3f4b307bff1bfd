"""What `placemat init` makes for a source: its topics, its slot, and the state that pins both.

The slot is made once in a source's life, and its state row right after it; neither is ever made again here,
because whatever was committed without a slot would be missing without a word.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
import sqlalchemy
from confluent_kafka.admin import AdminClient
from psycopg import sql
from sqlalchemy.dialects.postgresql import insert

from daemon import broker
from daemon.capture.catalog import find_table
from daemon.config.kafka import Kafka
from daemon.config.source import Source
from daemon.database import reason
from daemon.errors import GAP_ADVICE, OperatorError
from daemon.state import jobs, spans
from daemon.state.engine import alone
from schemas import tables
from schemas.position import Lsn, format_lsn, parse_lsn
from schemas.topics import SCHEMA_CHANGES_TOPIC, messages_topic, requests_topic, table_topic, transactions_topic

SLOT_SECONDS = 60
LOCK = 0x706C616365696E69  # "placeini"
"""One init or resync at a time in a state database."""

_FOREIGN_KEYS = """
SELECT child_schema.nspname || '.' || child.relname, parent_schema.nspname || '.' || parent.relname
FROM pg_constraint
JOIN pg_class child ON child.oid = conrelid
JOIN pg_namespace child_schema ON child_schema.oid = child.relnamespace
JOIN pg_class parent ON parent.oid = confrelid
JOIN pg_namespace parent_schema ON parent_schema.oid = parent.relnamespace
WHERE contype = 'f'
"""
_SLOT = "SELECT plugin, database, wal_status, confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = %s"


@dataclass(frozen=True, slots=True)
class Identity:
    """Which server this is, and on which timeline its commits are."""

    system_identifier: str
    timeline: int
    history: str = ""
    """As the server has it: where the timelines before this one ended."""


@dataclass(frozen=True, slots=True)
class Provisioned:
    """What `init` found or made. `created` is true when the slot is new."""

    created: bool
    slot_lsn: Lsn
    topics: list[str]


def provision(
    engine: sqlalchemy.Engine,
    connection: psycopg.Connection[Any],
    admin: AdminClient,
    kafka: Kafka,
    name: str,
    source: Source,
) -> Provisioned:
    """Make what is missing and check what is there; `connection` is to the source, in autocommit mode.

    Raises OperatorError when the slot, the topics, the cluster or the server are not those of the first time.
    """
    identity = identify(source.url.get_secret_value(), name)
    with alone(engine, LOCK):
        known = _known(engine, name)
        cluster = broker.cluster_id(admin)
        if known is None:
            _refuse_foreign_slot(connection, name, source)
        else:
            _check_server(name, known, identity, cluster)
            _check_slot(connection, name, known)
        wanted = wanted_topics(name, source, kafka.partitions)
        topics = broker.ensure(admin, kafka, wanted)
        ensure_schema_changes(admin, kafka)
        _check_topics(engine, name, topics)
        places = depths(copied(connection, source.tables), foreign_keys(connection))
        if known is not None:
            _remember(engine, name, None, topics, places)
            return Provisioned(False, Lsn(int(known["flush_lsn"])), list(wanted))
        start = create_slot(connection, name, source)
        row = {
            "name": name,
            "system_identifier": identity.system_identifier,
            "timeline": identity.timeline,
            "slot": source.slot,
            "publication": source.publication,
            "cluster_id": cluster,
            "flush_lsn": start,
        }
        try:
            _remember(engine, name, row, topics, places)
        except BaseException:  # raised again: a slot that the state does not know would hold WAL for ever
            connection.execute("SELECT pg_drop_replication_slot(%s)", [source.slot])
            raise
    return Provisioned(True, start, list(wanted))


def identify(url: str, name: str) -> Identity:
    """Ask over a replication connection, as capture will; this also proves that one is let in.

    Raises OperatorError when it is not.
    """
    try:
        with psycopg.connect(url, autocommit=True, replication="database", connect_timeout=5) as connection:
            result = connection.pgconn.exec_(b"IDENTIFY_SYSTEM")
            system, timeline = result.get_value(0, 0), result.get_value(0, 1)
            history = connection.pgconn.exec_(b"TIMELINE_HISTORY " + (timeline or b"")).get_value(0, 1)
    except psycopg.Error as error:
        raise OperatorError(
            f"Source {name} does not let the daemon replicate: {reason(error)}.",
            f"Give sources.{name}.url the direct host (a pooler cannot replicate) and a role with REPLICATION.",
        ) from None
    assert system is not None
    assert timeline is not None
    # There is no such file of the first timeline: the answer is an error, without a value.
    return Identity(system.decode(), int(timeline), (history or b"").decode())


def wanted_topics(name: str, source: Source, partitions: int) -> dict[str, int]:
    """Topic to partitions."""
    of_tables = {table_topic(name, *table.split(".", 1)): partitions for table in source.tables}
    return {**of_tables, transactions_topic(name): 1, messages_topic(name): 1, requests_topic(name): 1}


def ensure_schema_changes(admin: AdminClient, kafka: Kafka) -> None:
    """One topic for all sources; its records are few, and are kept."""
    broker.ensure(admin, kafka, {SCHEMA_CHANGES_TOPIC: 1}, forever=True)


def copied(connection: psycopg.Connection[Any], names: Sequence[str]) -> list[str]:
    """Those of the tables that have a key: without one, a copied row and a changed one could not be told apart."""
    return [name for name, key in _keys(connection, names).items() if key]


def without_key(connection: psycopg.Connection[Any], names: Sequence[str]) -> list[str]:
    """The others of those that there are."""
    return [name for name, key in _keys(connection, names).items() if not key]


def _keys(connection: psycopg.Connection[Any], names: Sequence[str]) -> dict[str, Sequence[str]]:
    found = {name: find_table(connection, *name.split(".", 1)) for name in names}
    return {name: table.key for name, table in found.items() if table is not None}


def _single(name: str) -> tuple[str, str, str]:
    """Topics whose one partition keeps an order."""
    return transactions_topic(name), messages_topic(name), requests_topic(name)


def foreign_keys(connection: psycopg.Connection[Any]) -> list[tuple[str, str]]:
    """Pairs of child and parent."""
    return [(child, parent) for child, parent in connection.execute(_FOREIGN_KEYS).fetchall()]


def depths(names: Sequence[str], foreign_keys: Iterable[tuple[str, str]]) -> dict[str, int]:
    """How many tables stand above each: its parents have less (pairs: child, parent), but for cycles."""
    parents: dict[str, set[str]] = {name: set() for name in names}
    for child, parent in foreign_keys:
        if child in parents and parent in parents and child != parent:
            parents[child].add(parent)
    found: dict[str, int] = {}
    while left := [name for name in names if name not in found]:
        free = [name for name in left if parents[name] <= found.keys()]
        if not free:
            free = [_within_cycle(left[0], parents, set(found))]
        depth = 1 + max(found.values(), default=-1)
        found |= dict.fromkeys(free, depth)
    return found


def _within_cycle(name: str, parents: Mapping[str, set[str]], ordered: set[str]) -> str:
    """Where following the parents that are left comes round: no table that merely refers to a cycle."""
    seen: set[str] = set()
    while name not in seen:
        seen.add(name)
        name = min(parents[name] - ordered)
    return name


def _known(engine: sqlalchemy.Engine, name: str) -> Mapping[str, Any] | None:
    query = sqlalchemy.select(tables.sources).where(tables.sources.c.name == name)
    with engine.connect() as connection:
        found = connection.execute(query).mappings().one_or_none()
    return None if found is None else dict(found)


def _refuse_foreign_slot(connection: psycopg.Connection[Any], name: str, source: Source) -> None:
    if connection.execute(_SLOT, [source.slot]).fetchone():
        raise OperatorError(
            f"Source {name} has a slot {source.slot} already, and the state knows nothing of it.",
            f"If an interrupted init left it there, run on the source: SELECT pg_drop_replication_slot('{source.slot}')"
            f" and then placemat init; if it is another daemon's, set sources.{name}.slot to another name.",
        )


def _check_server(name: str, known: Mapping[str, Any], identity: Identity, cluster: str) -> None:
    if known["system_identifier"] != identity.system_identifier:
        raise OperatorError(
            f"Source {name} is another server than the one that was prepared"
            f" (system identifier {identity.system_identifier}, not {known['system_identifier']}).",
            f"Correct sources.{name}.url. If that server is gone: {GAP_ADVICE}",
        )
    if known["cluster_id"] != cluster:
        raise OperatorError(
            f"Kafka is cluster {cluster}, and source {name} was prepared on cluster {known['cluster_id']}.",
            f"Correct kafka.bootstrap_servers. If that cluster is gone: {GAP_ADVICE}",
        )


def _check_slot(connection: psycopg.Connection[Any], name: str, known: Mapping[str, Any]) -> None:
    slot = known["slot"]
    found = connection.execute(_SLOT, [slot]).fetchone()
    since = format_lsn(int(known["flush_lsn"]))
    if found is None or found[2] == "lost":
        raise OperatorError(
            f"Slot {slot} of source {name} {'is missing' if found is None else 'was invalidated'}:"
            f" changes after {since} may be lost.",
            GAP_ADVICE,
        )
    plugin, database = found[:2]
    if plugin != "pgoutput" or database != connection.info.dbname:
        raise OperatorError(
            f"Slot {slot} of source {name} is not the one that was prepared (plugin {plugin}, database {database}).",
            GAP_ADVICE,
        )


def _check_topics(engine: sqlalchemy.Engine, name: str, found: Sequence[broker.Topic]) -> None:
    query = sqlalchemy.select(tables.topics).where(tables.topics.c.source == name)
    with engine.connect() as connection:
        pinned = {row.topic: row for row in connection.execute(query)}
    for topic in found:
        row = pinned.get(topic.name)
        if row is not None and row.topic_id != topic.topic_id:
            raise OperatorError(
                f"Topic {topic.name} was made anew since it was prepared, and what stood in it is gone.",
                GAP_ADVICE,
            )
        if row is not None and row.partitions != topic.partitions:
            raise OperatorError(
                f"Topic {topic.name} has {topic.partitions} partitions, and was prepared with {row.partitions}:"
                " the order of a key's events would be lost.",
                GAP_ADVICE,
            )
    check_single(name, found)


def check_single(name: str, found: Sequence[broker.Topic]) -> None:
    """Raises OperatorError when a topic whose one partition keeps an order has more."""
    for topic in found:
        if topic.name in _single(name) and topic.partitions != 1:
            raise OperatorError(
                f"Topic {topic.name} has {topic.partitions} partitions, and must have one.",
                "Delete that topic, if nothing uses it, and run placemat init again.",
            )


def create_slot(connection: psycopg.Connection[Any], name: str, source: Source) -> Lsn:
    """Waits for the transactions that are open; the slot is gone again when that takes too long."""
    failover = sql.SQL(", failover => true") if connection.info.server_version >= 170_000 else sql.SQL("")
    statement = sql.SQL("SELECT lsn::text FROM pg_create_logical_replication_slot({}, 'pgoutput'{})").format(
        source.slot, failover
    )
    try:
        connection.execute(sql.SQL("SET statement_timeout = {}").format(f"{SLOT_SECONDS}s"))
        row = connection.execute(statement).fetchone()
        connection.execute("RESET statement_timeout")
    except psycopg.errors.QueryCanceled:
        raise OperatorError(
            f"Slot {source.slot} of source {name} could not be made within {SLOT_SECONDS} seconds:"
            " a transaction has been open for all of that time.",
            "End it (SELECT pid, xact_start FROM pg_stat_activity ORDER BY xact_start), then run placemat init again.",
        ) from None
    except psycopg.errors.ConfigurationLimitExceeded:
        raise OperatorError(
            f"All replication slots of source {name} are in use.",
            "Drop one that nobody needs, or raise max_replication_slots and restart that server.",
        ) from None
    except psycopg.Error as error:
        raise OperatorError(
            f"Slot {source.slot} of source {name} could not be made: {reason(error)}.",
            "Put that right, then run placemat init again.",
        ) from None
    assert row is not None
    return parse_lsn(row[0])


def _remember(
    engine: sqlalchemy.Engine,
    name: str,
    source_row: Mapping[str, Any] | None,
    topics: Sequence[broker.Topic],
    places: Mapping[str, int],
) -> None:
    """All of it in one transaction."""
    topic_rows = [
        {"source": name, "topic": topic.name, "topic_id": topic.topic_id, "partitions": topic.partitions}
        for topic in topics
    ]
    with engine.begin() as connection:
        if source_row is not None:
            connection.execute(tables.sources.insert(), source_row)
        connection.execute(insert(tables.topics).on_conflict_do_nothing(), topic_rows)
        jobs.add_initial(connection, name, places)
        if source_row is not None:
            apart = (transactions_topic(name), requests_topic(name))
            spans.begin(connection, name, [topic.name for topic in topics if topic.name not in apart])
