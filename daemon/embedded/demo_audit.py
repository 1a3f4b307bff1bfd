"""Whether every event of the demo has its entry in the audit log, at each target that it came to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import psycopg
from confluent_kafka.admin import AdminClient

from daemon import broker
from daemon.embedded.notion.site import ENTITIES
from daemon.embedded.settling import Wait
from schemas import domain
from schemas.topics import table_topic


@dataclass(frozen=True, slots=True)
class Followed:
    """The source that a target follows, the tables of it, and the database in which the target keeps its books."""

    source: str
    tables: Sequence[str]
    books: str


TARGETS = {
    "empathy_ledger": Followed("primary", domain.ROUTED_TABLES, "empathy_ledger"),
    "primary": Followed("empathy_ledger", domain.ROUTED_TABLES, "primary"),
}
NOTION_TARGETS = {
    "notion": Followed("primary", [one.table for one in ENTITIES.values()], "notion"),
    "primary_notion": Followed("notion", [one.table for one in ENTITIES.values() if one.both_ways], "primary"),
}
_ENTERED = """
SELECT count(*), count(DISTINCT (topic, partition, "offset")) FROM placemat.audit_entries
WHERE kind = 'event' AND target = %s AND topic = ANY (%s)
"""
_WAITING = "SELECT 1 FROM placemat.outbox LIMIT 1"


@dataclass(frozen=True, slots=True)
class Audited:
    """Records of rows in the topics, those of them without an entry, and entries beyond one."""

    events: int
    missing: int
    twice: int

    @property
    def ok(self) -> bool:
        return not self.missing and not self.twice


def audited(
    dsns: Mapping[str, str], bootstrap_servers: str, placemat: Callable[..., str], wait: Wait,
    targets: Mapping[str, Followed],
) -> Audited:  # fmt: skip
    """Counts when all is entered, and lets `placemat audit verify` look at the chain.

    Raises OperatorError where that is not whole.
    """
    for books in {one.books for one in targets.values()}:
        with psycopg.connect(dsns[books], autocommit=True) as connection:
            wait("the audit log", lambda c=connection: c.execute(_WAITING).fetchone() is None)  # type: ignore[misc]
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    events = missing = twice = 0
    with psycopg.connect(dsns["state"]) as state:
        for target, followed in targets.items():
            topics = [table_topic(followed.source, "public", table) for table in followed.tables]
            published = _records(admin, topics)
            row = state.execute(_ENTERED, [target, topics]).fetchone()
            entries, places = row if row is not None else (0, 0)
            events += published
            missing += published - places
            twice += entries - places
    placemat("audit", "verify")
    return Audited(events, missing, twice)


def _records(admin: AdminClient, topics: list[str]) -> int:
    known = admin.list_topics(timeout=10).topics
    partitions = [(topic, number) for topic in topics for number in known[topic].partitions]
    begins, ends = (broker.offsets(admin, partitions, which) for which in ("earliest", "latest"))
    return sum(ends[key] - begins[key] for key in partitions)
