"""The audit log's places count within an era of the source: a topic that was made anew has its offsets once more."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

PLACE = "audit_entries_topic_partition_offset_target_month_key"
PLACE_AND_POSITION = "audit_entries_topic_partition_offset_target_position_month_key"


def upgrade() -> None:
    comment = "era of the source whose events are entered: places of another one are forgotten"
    op.add_column(
        "audit_relays", sa.Column("era", sa.Integer(), server_default="0", nullable=False, comment=comment),
        schema="placemat",
    )  # fmt: skip
    op.drop_constraint(PLACE, "audit_entries", schema="placemat")
    op.create_unique_constraint(
        PLACE_AND_POSITION, "audit_entries", ["topic", "partition", "offset", "target", "position", "month"],
        schema="placemat",
    )  # fmt: skip
    secrets = sa.Column("secrets", sa.Text(), comment="JSON: by key, salt and hash; null before they were first kept")
    op.add_column("audit_configuration", secrets, schema="placemat")


def downgrade() -> None:
    op.drop_column("audit_configuration", "secrets", schema="placemat")
    op.drop_constraint(PLACE_AND_POSITION, "audit_entries", schema="placemat")
    op.create_unique_constraint(
        PLACE, "audit_entries", ["topic", "partition", "offset", "target", "month"], schema="placemat"
    )
    op.drop_column("audit_relays", "era", schema="placemat")
