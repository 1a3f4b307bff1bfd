"""Which columns the keys of a copy are of: a table's key may change before the copy has ended."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    comment = "name and type of each column of from_key and last_key; null before there is either"
    column = sa.Column("key_columns", postgresql.JSONB(astext_type=sa.Text()), comment=comment)
    op.add_column("snapshots", column, schema="placemat")


def downgrade() -> None:
    op.drop_column("snapshots", "key_columns", schema="placemat")
