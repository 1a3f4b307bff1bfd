"""Every reason of a gap, and what became of keys that were parked and have no row any more."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name, default, comment in (
        ("kinds", "[]", "reasons as the metric placemat_gap has them"),
        ("settled", "{}", "parked keys without a row, by target"),
    ):
        column = sa.Column(
            name, postgresql.JSONB(astext_type=sa.Text()), nullable=False, server_default=default, comment=comment
        )
        op.add_column("gaps", column, schema="placemat")


def downgrade() -> None:
    op.drop_column("gaps", "settled", schema="placemat")
    op.drop_column("gaps", "kinds", schema="placemat")
