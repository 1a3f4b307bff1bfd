"""First tables: sources, topics, partitions, snapshots, relations, workers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sources",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("system_identifier", sa.Text(), nullable=False),
        sa.Column("timeline", sa.Integer(), nullable=False),
        sa.Column("slot", sa.Text(), nullable=False),
        sa.Column("publication", sa.Text(), nullable=False),
        sa.Column("cluster_id", sa.Text(), nullable=False, comment="Kafka cluster that holds the topics"),
        sa.Column(
            "epoch",
            sa.BigInteger(),
            server_default="0",
            nullable=False,
            comment="raised by each capture that takes over",
        ),
        sa.Column(
            "flush_lsn",
            sa.Numeric(precision=20, scale=0),
            nullable=False,
            comment="highest position ever reported to the slot",
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("epoch >= 0", name=op.f("sources_epoch_check")),
        sa.PrimaryKeyConstraint("name", name=op.f("sources_pkey")),
        schema="placemat",
        comment="one row per captured database",
    )
    op.create_table(
        "workers",
        sa.Column("name", sa.Text(), nullable=False, comment="capture:<source> or apply:<target>"),
        sa.Column("instance", sa.Text(), nullable=False, comment="host and process"),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=True, comment="sentence for the operator, when it does not run"),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "state IN ('starting', 'standby', 'running', 'waiting', 'stopped', 'failed')",
            name=op.f("workers_state_check"),
        ),
        sa.PrimaryKeyConstraint("name", "instance", name=op.f("workers_pkey")),
        schema="placemat",
        comment="what runs, as told by the workers themselves",
    )
    op.create_table(
        "relations",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column(
            "commit_lsn",
            sa.Numeric(precision=20, scale=0),
            nullable=False,
            comment="first transaction that used this version",
        ),
        sa.Column(
            "shape",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="columns with type, typmod and key flag; replica identity",
        ),
        sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["source"], ["placemat.sources.name"], name=op.f("relations_source_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("source", "table_name", "version", name=op.f("relations_pkey")),
        schema="placemat",
        comment="every version of a captured table's columns",
    )
    op.create_table(
        "snapshots",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("table_name", sa.Text(), nullable=False, comment="schema.table"),
        sa.Column("place", sa.Integer(), nullable=False, comment="order of the tables: parents before children"),
        sa.Column(
            "last_key",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="last key of the last finished chunk, as texts in key order; null before the first",
        ),
        sa.Column("rows", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("chunks", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["source"], ["placemat.sources.name"], name=op.f("snapshots_source_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("source", "table_name", name=op.f("snapshots_pkey")),
        schema="placemat",
        comment="progress of the initial copy",
    )
    op.create_table(
        "topics",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("topic_id", sa.Text(), nullable=False, comment="changes when a topic is made anew"),
        sa.Column("partitions", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["source"], ["placemat.sources.name"], name=op.f("topics_source_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("source", "topic", name=op.f("topics_pkey")),
        schema="placemat",
        comment="topics as they were when init made or found them",
    )
    op.create_table(
        "partitions",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column(
            "acked_offset", sa.BigInteger(), nullable=False, comment="of the newest record that Kafka acknowledged"
        ),
        sa.Column("timeline", sa.Integer(), nullable=False),
        sa.Column("commit_lsn", sa.Numeric(precision=20, scale=0), nullable=False),
        sa.Column("ordinal", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["source", "topic"],
            ["placemat.topics.source", "placemat.topics.topic"],
            name=op.f("partitions_source_topic_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("source", "topic", "partition", name=op.f("partitions_pkey")),
        schema="placemat",
        comment="newest acknowledged record by partition, for partitions that retention has emptied",
    )


def downgrade() -> None:
    op.drop_table("partitions", schema="placemat")
    op.drop_table("topics", schema="placemat")
    op.drop_table("snapshots", schema="placemat")
    op.drop_table("relations", schema="placemat")
    op.drop_table("workers", schema="placemat")
    op.drop_table("sources", schema="placemat")
