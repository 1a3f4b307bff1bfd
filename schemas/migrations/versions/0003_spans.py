"""Which commits are captured into which topic.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "spans",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("since_timeline", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column(
            "since_lsn",
            sa.Numeric(precision=20, scale=0),
            nullable=False,
            comment="first commit that goes to the topic",
        ),
        sa.Column("until_timeline", sa.Integer(), nullable=True),
        sa.Column(
            "until_lsn",
            sa.Numeric(precision=20, scale=0),
            nullable=True,
            comment="first commit that does not any more",
        ),
        sa.ForeignKeyConstraint(
            ["source", "topic"],
            ["placemat.topics.source", "placemat.topics.topic"],
            name=op.f("spans_source_topic_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("source", "topic", "since_timeline", "since_lsn", name=op.f("spans_pkey")),
        schema="placemat",
        comment="which commits are captured into which topic, whatever the configuration says by now",
    )
    op.execute(
        "INSERT INTO placemat.spans (source, topic, since_timeline, since_lsn) SELECT source, topic, 0, 0"
        " FROM placemat.topics WHERE topic NOT IN"
        " ('placemat.' || source || '.transactions', 'placemat.' || source || '.requests')"
    )


def downgrade() -> None:
    op.drop_table("spans", schema="placemat")
