"""Gaps of sources, and the era that begins after each."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "sources",
        sa.Column(
            "era", sa.Integer(), server_default="0", nullable=False, comment="raised by each resync; part of positions"
        ),
        schema="placemat",
    )
    op.create_table(
        "gaps",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("era", sa.Integer(), nullable=False, comment="that began after it"),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("from_lsn", sa.Numeric(20, 0), nullable=False, comment="last position known to be captured"),
        sa.Column("from_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("to_lsn", sa.Numeric(20, 0), nullable=False, comment="where the new slot begins"),
        sa.Column("to_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "ends",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="end of each partition by topic when the era began",
        ),
        sa.Column("jobs", postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment="ids of the copies"),
        sa.Column(
            "targets", postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment="those that go on from the ends"
        ),
        sa.Column(
            "deleted",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="rows that only a target had, by target",
        ),
        sa.Column("done_at", sa.DateTime(timezone=True)),
        sa.ForeignKeyConstraint(
            ["source"], ["placemat.sources.name"], name=op.f("gaps_source_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("gaps_pkey")),
        schema="placemat",
        comment="what was not captured, and how far it is repaired",
    )


def downgrade() -> None:
    op.drop_table("gaps", schema="placemat")
    op.drop_column("sources", "era", schema="placemat")
