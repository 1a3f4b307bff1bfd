"""The daemon's own tables, in its own database. Migrations are in `schemas/migrations`."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

SCHEMA = "placemat"

metadata = MetaData(
    schema=SCHEMA,
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
        "ck": "%(table_name)s_%(constraint_name)s_check",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
    },
)

# LSNs are unsigned 64-bit numbers: bigint would lose the upper half of their range.
LSN = Numeric(20, 0)

sources = Table(
    "sources",
    metadata,
    Column("name", Text, primary_key=True),
    Column("system_identifier", Text, nullable=False),
    Column("timeline", Integer, nullable=False),
    Column("slot", Text, nullable=False),
    Column("publication", Text, nullable=False),
    Column("cluster_id", Text, nullable=False, comment="Kafka cluster that holds the topics"),
    Column("epoch", BigInteger, nullable=False, server_default="0", comment="raised by each capture that takes over"),
    Column("era", Integer, nullable=False, server_default="0", comment="raised by each resync; part of positions"),
    Column("flush_lsn", LSN, nullable=False, comment="highest position ever reported to the slot"),
    Column(
        "requests_offset", BigInteger, nullable=False, server_default="0", comment="next record of the requests topic"
    ),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    CheckConstraint("epoch >= 0", name="epoch"),
    comment="one row per captured database",
)

topics = Table(
    "topics",
    metadata,
    Column("source", Text, ForeignKey(sources.c.name, ondelete="CASCADE"), primary_key=True),
    Column("topic", Text, primary_key=True),
    Column("topic_id", Text, nullable=False, comment="changes when a topic is made anew"),
    Column("partitions", Integer, nullable=False),
    comment="topics as they were when init made or found them",
)

spans = Table(
    "spans",
    metadata,
    Column("source", Text, primary_key=True),
    Column("topic", Text, primary_key=True),
    Column("since_timeline", Integer, primary_key=True, autoincrement=False),
    Column("since_lsn", LSN, primary_key=True, comment="first commit that goes to the topic"),
    Column("until_timeline", Integer),
    Column("until_lsn", LSN, comment="first commit that does not any more"),
    ForeignKeyConstraint(["source", "topic"], [topics.c.source, topics.c.topic], ondelete="CASCADE"),
    comment="which commits are captured into which topic, whatever the configuration says by now",
)

partitions = Table(
    "partitions",
    metadata,
    Column("source", Text, primary_key=True),
    Column("topic", Text, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("acked_offset", BigInteger, nullable=False, comment="of the newest record that Kafka acknowledged"),
    Column("timeline", Integer, nullable=False),
    Column("commit_lsn", LSN, nullable=False),
    Column("ordinal", BigInteger, nullable=False),
    ForeignKeyConstraint(["source", "topic"], [topics.c.source, topics.c.topic], ondelete="CASCADE"),
    comment="newest acknowledged record by partition, for partitions that retention has emptied",
)

snapshots = Table(
    "snapshots",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("source", Text, ForeignKey(sources.c.name, ondelete="CASCADE"), nullable=False),
    Column("table_name", Text, nullable=False, comment="schema.table"),
    Column("kind", Text, nullable=False, server_default="initial", comment="why it is copied"),
    Column("condition", Text, comment="SQL over the table's columns; null for every row"),
    Column("from_key", JSONB, comment="key to begin with, as texts in key order; null for the first"),
    Column("place", Integer, nullable=False, comment="depth below other tables: parents before children"),
    Column(
        "last_key", JSONB, comment="last key of the last finished chunk, as texts in key order; null before the first"
    ),
    Column(
        "key_columns",
        JSONB,
        comment="name and type of each column of from_key and last_key; null before there is either",
    ),
    Column("rows", BigInteger, nullable=False, server_default="0"),
    Column("chunks", BigInteger, nullable=False, server_default="0"),
    Column("estimate", BigInteger, comment="rows that the planner of the source expects"),
    Column("requested_by", Text),
    Column("requested_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("started_at", DateTime(timezone=True), comment="before its first SELECT"),
    Column("waiting", Text, comment="sentence on what it waits for"),
    Column("error", Text, comment="sentence on why it has failed; done_at says when"),
    Column("done_at", DateTime(timezone=True), comment="its end, also when it has failed"),
    CheckConstraint("kind IN ('initial', 'asked', 'needed', 'resync')", name="kind"),
    Index("snapshots_open_idx", "source", postgresql_where=text("done_at IS NULL")),
    comment="copies of tables: the initial ones, and those that were asked for",
)

gaps = Table(
    "gaps",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("source", Text, ForeignKey(sources.c.name, ondelete="CASCADE"), nullable=False),
    Column("era", Integer, nullable=False, comment="that began after it"),
    Column("reason", Text, nullable=False),
    Column("kinds", JSONB, nullable=False, server_default="[]", comment="reasons as the metric placemat_gap has them"),
    Column("from_lsn", LSN, nullable=False, comment="last position known to be captured"),
    Column("from_at", DateTime(timezone=True), nullable=False),
    Column("to_lsn", LSN, nullable=False, comment="where the new slot begins"),
    Column("to_at", DateTime(timezone=True), nullable=False),
    Column("ends", JSONB, nullable=False, comment="end of each partition by topic when the era began"),
    Column("jobs", JSONB, nullable=False, comment="ids of the copies"),
    Column("targets", JSONB, nullable=False, comment="those that go on from the ends"),
    Column("deleted", JSONB, nullable=False, comment="rows that only a target had, by target"),
    Column("settled", JSONB, nullable=False, server_default="{}", comment="parked keys without a row, by target"),
    Column("done_at", DateTime(timezone=True)),
    comment="what was not captured, and how far it is repaired",
)

relations = Table(
    "relations",
    metadata,
    Column("source", Text, ForeignKey(sources.c.name, ondelete="CASCADE"), primary_key=True),
    Column("table_name", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("commit_lsn", LSN, nullable=False, comment="first transaction that used this version"),
    Column("shape", JSONB, nullable=False, comment="columns with type, typmod and key flag; replica identity"),
    Column("recorded_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    comment="every version of a captured table's columns",
)

publications = Table(
    "publications",
    metadata,
    Column("source", Text, ForeignKey(sources.c.name, ondelete="CASCADE"), primary_key=True),
    Column("facts", JSONB, nullable=False, comment="object numbers of the publication and its tables"),
    comment="publications as the capture last saw them: another number means that changes were left out",
)

workers = Table(
    "workers",
    metadata,
    Column("name", Text, primary_key=True, comment="capture:<source> or apply:<target>"),
    Column("instance", Text, primary_key=True, comment="host and process"),
    Column("state", Text, nullable=False),
    Column("detail", Text, comment="sentence for the operator, when it does not run"),
    Column("started_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("seen_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    CheckConstraint("state IN ('starting', 'standby', 'running', 'waiting', 'stopped', 'failed')", name="state"),
    comment="what runs, as told by the workers themselves",
)

audit_head = Table(
    "audit_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("sequence", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("entered_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    CheckConstraint("id = 1", name="one_row"),
    comment="the newest entry of the audit log; whoever appends locks it",
)

audit_entries = Table(
    "audit_entries",
    metadata,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("month", Date, primary_key=True, comment="first day of the month of entered_at; each is a partition"),
    Column("entered_at", DateTime(timezone=True), nullable=False),
    Column("happened_at", DateTime(timezone=True), comment="commit in the source; null where nobody knows"),
    Column("kind", Text, nullable=False, comment="event, change without an event of its own, or action of a person"),
    Column("who", Text, nullable=False),
    Column("source", Text),
    Column("target", Text),
    Column("entity", Text, comment="schema.table"),
    Column("key", Text, comment="record key, JSON"),
    Column("op", Text, nullable=False, comment="as in the envelope; of an action, its name"),
    Column("fields", Text, nullable=False, comment="JSON: names of the columns that were changed"),
    Column("masked", Text, nullable=False, comment="JSON: names of columns whose values are not shown"),
    Column("position", Text),
    Column("topic", Text),
    Column("partition", Integer),
    Column("offset", BigInteger),
    Column("outcome", Text, nullable=False),
    Column("rule", Text),
    Column("conflict", Text),
    Column("reason", Text),
    Column("details", Text, nullable=False, comment="JSON: the rest, without values of rows"),
    Column(
        "values_hash", LargeBinary, comment="SHA-256 of salt and content in audit_values; null where there are none"
    ),
    Column("previous", LargeBinary, nullable=False, comment="hash of the entry before"),
    Column("hash", LargeBinary, nullable=False, comment="SHA-256 of previous and all other columns"),
    CheckConstraint("kind IN ('event', 'change', 'action')", name="kind"),
    UniqueConstraint("topic", "partition", "offset", "target", "position", "month"),
    Index("audit_entries_key_idx", "entity", "key", "sequence"),
    Index("audit_entries_who_idx", "who", "sequence", postgresql_where=text("who <> 'unknown'::text")),
    postgresql_partition_by="LIST (month)",
    comment="the audit log: every event by target, and what people did; never changed",
)

audit_values = Table(
    "audit_values",
    metadata,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("month", Date, primary_key=True),
    Column("salt", LargeBinary, nullable=False),
    Column("content", Text, nullable=False, comment="JSON: before and after"),
    postgresql_partition_by="LIST (month)",
    comment="values of the audit log apart from its chain: a person's can be erased",
)

audit_checkpoints = Table(
    "audit_checkpoints",
    metadata,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("hash", LargeBinary, nullable=False),
    Column("signed_at", DateTime(timezone=True), nullable=False),
    Column("key_id", Text, nullable=False, comment="which key has signed"),
    Column("signature", LargeBinary, nullable=False, comment="Ed25519"),
    comment="signed heads of the audit log",
)

audit_segments = Table(
    "audit_segments",
    metadata,
    Column("month", Date, primary_key=True),
    Column("first_sequence", BigInteger, nullable=False),
    Column("last_sequence", BigInteger, nullable=False),
    Column("previous", LargeBinary, nullable=False, comment="hash of the entry before its first"),
    Column("hash", LargeBinary, nullable=False, comment="hash of its last entry"),
    Column("sealed_at", DateTime(timezone=True), nullable=False),
    Column("file", Text, nullable=False, comment="name of the file that holds its entries"),
    Column("file_hash", LargeBinary, nullable=False, comment="SHA-256 of the file"),
    Column("key_id", Text),
    Column("signature", LargeBinary, comment="Ed25519; null where no key was set"),
    comment="months of the audit log that stand in files",
)

audit_relays = Table(
    "audit_relays",
    metadata,
    Column("target", Text, primary_key=True),
    Column("epoch", BigInteger, nullable=False, comment="raised by each worker that takes over"),
    Column("relayed", JSONB, nullable=False, server_default="[]", comment="outbox rows that may not be deleted yet"),
    Column(
        "era",
        Integer,
        nullable=False,
        server_default="0",
        comment="era of the source whose events are entered: places of another one are forgotten",
    ),
    comment="who brings a target's outbox into the audit log, and what is done of it",
)

audit_places = Table(
    "audit_places",
    metadata,
    Column("target", Text, primary_key=True),
    Column("topic", Text, primary_key=True),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("next_offset", BigInteger, nullable=False, comment="first event without an entry"),
    Column("since", BigInteger, nullable=False, comment="entry from which on no event is missing"),
    comment="how far the audit log is, by partition: no event gets a second entry",
)

audit_configuration = Table(
    "audit_configuration",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("settings", JSONB, nullable=False, comment="by key, without secrets"),
    Column("secrets", Text, comment="JSON: by key, salt and hash; null before they were first kept"),
    CheckConstraint("id = 1", name="one_row"),
    comment="the configuration as a daemon last started with it",
)

tokens = Table(
    "tokens",
    metadata,
    Column("connection", Text, primary_key=True, comment="name of the target"),
    Column("content", LargeBinary, comment="the token, encrypted; null while it is asked for the first time"),
    Column("broken", Text, comment="what the service has said when it refused to renew it"),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    comment="tokens of services; who renews one locks its row",
)

quotas = Table(
    "quotas",
    metadata,
    Column("connection", Text, primary_key=True, comment="name of the target"),
    Column("used", JSONB, nullable=False, server_default="{}", comment="what was granted, and until when nothing is"),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    comment="how much of a service's quota is used; who takes of it locks the row",
)
