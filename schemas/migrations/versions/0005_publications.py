"""The publication as it was last seen: what was left out of it for a while is a gap."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "publications",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column(
            "facts",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="object numbers of the publication and its tables",
        ),
        sa.ForeignKeyConstraint(
            ["source"], ["placemat.sources.name"], name=op.f("publications_source_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("source", name=op.f("publications_pkey")),
        schema="placemat",
        comment="publications as the capture last saw them: another number means that changes were left out",
    )


def downgrade() -> None:
    op.drop_table("publications", schema="placemat")
