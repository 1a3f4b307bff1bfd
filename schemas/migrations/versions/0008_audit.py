"""The audit log: a chain of entries, their values apart from it, and what seals it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

TABLES = (
    "audit_configuration", "audit_places", "audit_relays", "audit_segments", "audit_checkpoints", "audit_values",
    "audit_entries", "audit_head",
)  # fmt: skip

GUARD = """
CREATE FUNCTION placemat.audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is never changed: % of % is refused', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER audit_guard BEFORE UPDATE OR DELETE ON placemat.audit_entries
    FOR EACH ROW EXECUTE FUNCTION placemat.audit_refuse();
CREATE TRIGGER audit_guard_all BEFORE TRUNCATE ON placemat.audit_entries
    FOR EACH STATEMENT EXECUTE FUNCTION placemat.audit_refuse();
CREATE TRIGGER audit_guard BEFORE UPDATE ON placemat.audit_values
    FOR EACH ROW EXECUTE FUNCTION placemat.audit_refuse();
CREATE TRIGGER audit_guard_all BEFORE TRUNCATE ON placemat.audit_values
    FOR EACH STATEMENT EXECUTE FUNCTION placemat.audit_refuse();
CREATE TRIGGER audit_guard BEFORE UPDATE OR DELETE ON placemat.audit_checkpoints
    FOR EACH ROW EXECUTE FUNCTION placemat.audit_refuse();
CREATE TRIGGER audit_guard_all BEFORE TRUNCATE ON placemat.audit_checkpoints
    FOR EACH STATEMENT EXECUTE FUNCTION placemat.audit_refuse();
CREATE TRIGGER audit_guard BEFORE UPDATE OR DELETE ON placemat.audit_segments
    FOR EACH ROW EXECUTE FUNCTION placemat.audit_refuse();
CREATE TRIGGER audit_guard_all BEFORE TRUNCATE ON placemat.audit_segments
    FOR EACH STATEMENT EXECUTE FUNCTION placemat.audit_refuse();
"""
ALWAYS = """
ALTER TABLE placemat.{table} ENABLE ALWAYS TRIGGER audit_guard;
ALTER TABLE placemat.{table} ENABLE ALWAYS TRIGGER audit_guard_all;
"""
MONTH = """
CREATE FUNCTION placemat.audit_month(day date) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    parent text;
    part text;
BEGIN
    FOREACH parent IN ARRAY ARRAY['audit_entries', 'audit_values'] LOOP
        part := parent || to_char(day, '_YYYY_MM');
        CONTINUE WHEN to_regclass('placemat.' || part) IS NOT NULL;
        EXECUTE format('CREATE TABLE placemat.%I PARTITION OF placemat.%I FOR VALUES IN (%L)', part, parent, day);
        EXECUTE format('CREATE TRIGGER audit_guard_all BEFORE TRUNCATE ON placemat.%I
                        FOR EACH STATEMENT EXECUTE FUNCTION placemat.audit_refuse()', part);
        EXECUTE format('ALTER TABLE placemat.%I ENABLE ALWAYS TRIGGER audit_guard', part);
        EXECUTE format('ALTER TABLE placemat.%I ENABLE ALWAYS TRIGGER audit_guard_all', part);
    END LOOP;
END
$$
"""


def upgrade() -> None:
    time, binary = sa.DateTime(timezone=True), sa.LargeBinary()
    op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("hash", binary, nullable=False),
        sa.Column("entered_at", time, server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="audit_head_pkey"),
        sa.CheckConstraint("id = 1", name=op.f("audit_head_one_row_check")),
        schema="placemat",
        comment="the newest entry of the audit log; whoever appends locks it",
    )
    op.create_table(
        "audit_entries",
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column(
            "month", sa.Date(), nullable=False, comment="first day of the month of entered_at; each is a partition"
        ),
        sa.Column("entered_at", time, nullable=False),
        sa.Column("happened_at", time, comment="commit in the source; null where nobody knows"),
        sa.Column(
            "kind",
            sa.Text(),
            nullable=False,
            comment="event, change without an event of its own, or action of a person",
        ),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("source", sa.Text()),
        sa.Column("target", sa.Text()),
        sa.Column("entity", sa.Text(), comment="schema.table"),
        sa.Column("key", sa.Text(), comment="record key, JSON"),
        sa.Column("op", sa.Text(), nullable=False, comment="as in the envelope; of an action, its name"),
        sa.Column("fields", sa.Text(), nullable=False, comment="JSON: names of the columns that were changed"),
        sa.Column("masked", sa.Text(), nullable=False, comment="JSON: names of columns whose values are not shown"),
        sa.Column("position", sa.Text()),
        sa.Column("topic", sa.Text()),
        sa.Column("partition", sa.Integer()),
        sa.Column("offset", sa.BigInteger()),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("rule", sa.Text()),
        sa.Column("conflict", sa.Text()),
        sa.Column("reason", sa.Text()),
        sa.Column("details", sa.Text(), nullable=False, comment="JSON: the rest, without values of rows"),
        sa.Column(
            "values_hash", binary, comment="SHA-256 of salt and content in audit_values; null where there are none"
        ),
        sa.Column("previous", binary, nullable=False, comment="hash of the entry before"),
        sa.Column("hash", binary, nullable=False, comment="SHA-256 of previous and all other columns"),
        sa.PrimaryKeyConstraint("sequence", "month", name="audit_entries_pkey"),
        sa.CheckConstraint("kind IN ('event', 'change', 'action')", name=op.f("audit_entries_kind_check")),
        sa.UniqueConstraint(
            "topic",
            "partition",
            "offset",
            "target",
            "month",
            name="audit_entries_topic_partition_offset_target_month_key",
        ),
        schema="placemat",
        comment="the audit log: every event by target, and what people did; never changed",
        postgresql_partition_by="LIST (month)",
    )
    op.create_index("audit_entries_key_idx", "audit_entries", ["entity", "key", "sequence"], schema="placemat")
    op.create_index(
        "audit_entries_who_idx", "audit_entries", ["who", "sequence"], schema="placemat",
        postgresql_where=sa.text("who <> 'unknown'::text"),
    )  # fmt: skip
    op.create_table(
        "audit_values",
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("salt", binary, nullable=False),
        sa.Column("content", sa.Text(), nullable=False, comment="JSON: before and after"),
        sa.PrimaryKeyConstraint("sequence", "month", name="audit_values_pkey"),
        schema="placemat",
        comment="values of the audit log apart from its chain: a person's can be erased",
        postgresql_partition_by="LIST (month)",
    )
    op.create_table(
        "audit_checkpoints",
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hash", binary, nullable=False),
        sa.Column("signed_at", time, nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False, comment="which key has signed"),
        sa.Column("signature", binary, nullable=False, comment="Ed25519"),
        sa.PrimaryKeyConstraint("sequence", name="audit_checkpoints_pkey"),
        schema="placemat",
        comment="signed heads of the audit log",
    )
    op.create_table(
        "audit_segments",
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("first_sequence", sa.BigInteger(), nullable=False),
        sa.Column("last_sequence", sa.BigInteger(), nullable=False),
        sa.Column("previous", binary, nullable=False, comment="hash of the entry before its first"),
        sa.Column("hash", binary, nullable=False, comment="hash of its last entry"),
        sa.Column("sealed_at", time, nullable=False),
        sa.Column("file", sa.Text(), nullable=False, comment="name of the file that holds its entries"),
        sa.Column("file_hash", binary, nullable=False, comment="SHA-256 of the file"),
        sa.Column("key_id", sa.Text()),
        sa.Column("signature", binary, comment="Ed25519; null where no key was set"),
        sa.PrimaryKeyConstraint("month", name="audit_segments_pkey"),
        schema="placemat",
        comment="months of the audit log that stand in files",
    )
    op.create_table(
        "audit_relays",
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False, comment="raised by each worker that takes over"),
        sa.Column(
            "relayed", postgresql.JSONB(astext_type=sa.Text()), server_default="[]", nullable=False,
            comment="outbox rows that may not be deleted yet",
        ),
        sa.PrimaryKeyConstraint("target", name="audit_relays_pkey"),
        schema="placemat",
        comment="who brings a target's outbox into the audit log, and what is done of it",
    )  # fmt: skip
    op.create_table(
        "audit_places",
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("next_offset", sa.BigInteger(), nullable=False, comment="first event without an entry"),
        sa.Column("since", sa.BigInteger(), nullable=False, comment="entry from which on no event is missing"),
        sa.PrimaryKeyConstraint("target", "topic", "partition", name="audit_places_pkey"),
        schema="placemat",
        comment="how far the audit log is, by partition: no event gets a second entry",
    )
    op.create_table(
        "audit_configuration",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column(
            "settings", postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment="by key, without secrets"
        ),
        sa.PrimaryKeyConstraint("id", name="audit_configuration_pkey"),
        sa.CheckConstraint("id = 1", name=op.f("audit_configuration_one_row_check")),
        schema="placemat",
        comment="the configuration as a daemon last started with it",
    )
    op.execute("INSERT INTO placemat.audit_head (id, sequence, hash) VALUES (1, 0, sha256('placemat audit'))")
    op.execute(GUARD)
    for table in ("audit_entries", "audit_values", "audit_checkpoints", "audit_segments"):
        op.execute(ALWAYS.format(table=table))
    op.execute(MONTH)


def downgrade() -> None:
    for table in TABLES:
        op.drop_table(table, schema="placemat")
    op.execute("DROP FUNCTION placemat.audit_month(date)")
    op.execute("DROP FUNCTION placemat.audit_refuse()")
