"""Connections to services: their tokens, encrypted, and what they have used of their quotas."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

NAME = "name of the target"


def upgrade() -> None:
    op.create_table(
        "tokens",
        sa.Column("connection", sa.Text(), nullable=False, comment=NAME),
        sa.Column(
            "content", sa.LargeBinary(), comment="the token, encrypted; null while it is asked for the first time"
        ),
        sa.Column("broken", sa.Text(), comment="what the service has said when it refused to renew it"),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("connection", name=op.f("tokens_pkey")),
        schema="placemat",
        comment="tokens of services; who renews one locks its row",
    )
    op.create_table(
        "quotas",
        sa.Column("connection", sa.Text(), nullable=False, comment=NAME),
        sa.Column(
            "used",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default="{}",
            nullable=False,
            comment="what was granted, and until when nothing is",
        ),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("connection", name=op.f("quotas_pkey")),
        schema="placemat",
        comment="how much of a service's quota is used; who takes of it locks the row",
    )


def downgrade() -> None:
    op.drop_table("quotas", schema="placemat")
    op.drop_table("tokens", schema="placemat")
