-- What is kept beside the rows of tables that go both ways, in the transactions of the rows: at a spoke what was written
-- or agreed last, at the hub what is known of its own rows and of each spoke's. JSON, see schemas/resolution.py; values
-- stand there as digests of 8 bytes, but where a person or a rule needs them. Safe to run again.

CREATE TABLE IF NOT EXISTS placemat.sides (
    source text NOT NULL,
    table_name text NOT NULL,
    key text NOT NULL,
    state text NOT NULL,
    PRIMARY KEY (source, table_name, key)
);
COMMENT ON TABLE placemat.sides IS 'at a spoke: of each row what was written or agreed last, and through which hub position';

CREATE TABLE IF NOT EXISTS placemat.hub_rows (
    table_name text NOT NULL,
    key text NOT NULL,
    state text NOT NULL,
    PRIMARY KEY (table_name, key)
);
COMMENT ON TABLE placemat.hub_rows IS 'at the hub: of each row who changed which field when; kept over its deletion';

CREATE TABLE IF NOT EXISTS placemat.links (
    table_name text NOT NULL,
    key text NOT NULL,
    spoke text NOT NULL,
    state text NOT NULL,
    PRIMARY KEY (table_name, key, spoke)
);
COMMENT ON TABLE placemat.links IS 'at the hub: of each row in each spoke what its stream has shown, and what it has seen of the hub';

CREATE TABLE IF NOT EXISTS placemat.conflicts (
    table_name text NOT NULL,
    key text NOT NULL,
    state text NOT NULL,
    waits boolean NOT NULL,
    opened_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now(),
    notified_at timestamptz,
    PRIMARY KEY (table_name, key)
);
ALTER TABLE placemat.conflicts ADD COLUMN IF NOT EXISTS id bigint GENERATED ALWAYS AS IDENTITY;
CREATE UNIQUE INDEX IF NOT EXISTS conflicts_id ON placemat.conflicts (id);
COMMENT ON TABLE placemat.conflicts IS 'at the hub: keys that wait for a person, or have, with what each spoke has there';
CREATE INDEX IF NOT EXISTS conflicts_waiting ON placemat.conflicts (opened_at) WHERE waits;

CREATE TABLE IF NOT EXISTS placemat.conflict_log (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    spoke text NOT NULL,
    table_name text NOT NULL,
    key text NOT NULL,
    field text,
    kind text NOT NULL,
    rule text NOT NULL,
    resolution text NOT NULL,
    won text,
    base text,
    ours text,
    theirs text,
    ours_at timestamptz,
    theirs_at timestamptz,
    topic text NOT NULL,
    partition integer NOT NULL,
    "offset" bigint NOT NULL
);
ALTER TABLE placemat.conflict_log ADD COLUMN IF NOT EXISTS erased_at timestamptz;
CREATE INDEX IF NOT EXISTS conflict_log_key ON placemat.conflict_log (table_name, key);
COMMENT ON TABLE placemat.conflict_log IS 'at the hub: every conflict that was met, with both values and what became of it';
COMMENT ON COLUMN placemat.conflict_log.resolution IS 'agreed: it has waited, and both sides have the same since: theirs has won where the hub came to what the spoke had';
COMMENT ON COLUMN placemat.conflict_log.won IS 'ours: the hub''s value stands; theirs: the spoke''s; NULL: neither has lost, or a person decides';
COMMENT ON COLUMN placemat.conflict_log.erased_at IS 'when a person''s values were erased from it: base, ours and theirs are NULL since';

CREATE TABLE IF NOT EXISTS placemat.decisions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    conflict_id bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    decided_by text NOT NULL,
    reason text,
    table_name text NOT NULL,
    key text NOT NULL,
    action text NOT NULL,
    keeps_row boolean NOT NULL,
    fields text NOT NULL,
    before text NOT NULL,
    over text NOT NULL,
    version text NOT NULL,
    undone_at timestamptz,
    undone_by text,
    undone_reason text
);
ALTER TABLE placemat.decisions ADD COLUMN IF NOT EXISTS erased_at timestamptz;
CREATE INDEX IF NOT EXISTS decisions_key ON placemat.decisions (table_name, key);
CREATE INDEX IF NOT EXISTS decisions_conflict ON placemat.decisions (conflict_id, id);
CREATE INDEX IF NOT EXISTS decisions_pending ON placemat.decisions (version) WHERE version LIKE '"%';
COMMENT ON TABLE placemat.decisions IS 'at the hub: what people have decided of what waited, and who took it back';
COMMENT ON COLUMN placemat.decisions.fields IS 'by field the value that was decided, as in the resolver''s JSON';
COMMENT ON COLUMN placemat.decisions.before IS 'by field what the hub had; of a row that was deleted, all of it';
COMMENT ON COLUMN placemat.decisions.over IS 'what waited, as placemat.conflicts had it';
COMMENT ON COLUMN placemat.decisions.version IS 'of those fields since then: the mark of the transaction, then its position';
COMMENT ON COLUMN placemat.decisions.erased_at IS 'when its values were erased: fields, before and over name fields only since';
