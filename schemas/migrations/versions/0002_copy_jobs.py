"""Copies of tables are jobs: several of one table, over some of its rows, with an end of their own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_KINDS = "kind IN ('initial', 'asked', 'needed', 'resync')"


def upgrade() -> None:
    op.add_column(
        "sources",
        sa.Column(
            "requests_offset",
            sa.BigInteger(),
            server_default="0",
            nullable=False,
            comment="next record of the requests topic",
        ),
        schema="placemat",
    )
    op.drop_constraint(op.f("snapshots_pkey"), "snapshots", schema="placemat", type_="primary")
    for column in (
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("kind", sa.Text(), server_default="initial", nullable=False, comment="why it is copied"),
        sa.Column("condition", sa.Text(), comment="SQL over the table's columns; null for every row"),
        sa.Column(
            "from_key",
            postgresql.JSONB(astext_type=sa.Text()),
            comment="key to begin with, as texts in key order; null for the first",
        ),
        sa.Column("estimate", sa.BigInteger(), comment="rows that the planner of the source expects"),
        sa.Column("requested_by", sa.Text()),
        sa.Column("requested_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), comment="before its first SELECT"),
        sa.Column("waiting", sa.Text(), comment="sentence on what it waits for"),
        sa.Column("error", sa.Text(), comment="sentence on why it has failed; done_at says when"),
    ):
        op.add_column("snapshots", column, schema="placemat")
    op.create_primary_key(op.f("snapshots_pkey"), "snapshots", ["id"], schema="placemat")
    op.create_check_constraint(op.f("snapshots_kind_check"), "snapshots", _KINDS, schema="placemat")
    op.create_index(
        "snapshots_open_idx", "snapshots", ["source"], schema="placemat", postgresql_where=sa.text("done_at IS NULL")
    )
    op.execute("UPDATE placemat.snapshots SET started_at = now() WHERE chunks > 0")
    _comment(
        "place", "depth below other tables: parents before children", "order of the tables: parents before children"
    )
    _comment("done_at", "its end, also when it has failed", None)
    op.create_table_comment(
        "snapshots",
        "copies of tables: the initial ones, and those that were asked for",
        existing_comment="progress of the initial copy",
        schema="placemat",
    )


def downgrade() -> None:
    op.create_table_comment("snapshots", "progress of the initial copy", schema="placemat")
    _comment("done_at", None, "its end, also when it has failed")
    _comment(
        "place", "order of the tables: parents before children", "depth below other tables: parents before children"
    )
    op.execute("DELETE FROM placemat.snapshots WHERE kind <> 'initial'")
    op.drop_index("snapshots_open_idx", "snapshots", schema="placemat")
    op.drop_constraint(op.f("snapshots_kind_check"), "snapshots", schema="placemat", type_="check")
    op.drop_constraint(op.f("snapshots_pkey"), "snapshots", schema="placemat", type_="primary")
    for name in (
        *("error", "waiting", "started_at", "requested_at", "requested_by", "estimate"),
        *("from_key", "condition", "kind", "id"),
    ):
        op.drop_column("snapshots", name, schema="placemat")
    op.create_primary_key(op.f("snapshots_pkey"), "snapshots", ["source", "table_name"], schema="placemat")
    op.drop_column("sources", "requests_offset", schema="placemat")


def _comment(column: str, comment: str | None, before: str | None) -> None:
    op.alter_column("snapshots", column, comment=comment, existing_comment=before, schema="placemat")
