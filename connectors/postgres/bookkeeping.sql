-- What the sink keeps in the target, in the target's own transactions. Safe to run again.

CREATE TABLE IF NOT EXISTS placemat.lanes (
    source text NOT NULL,
    lane text NOT NULL DEFAULT 'main',
    epoch bigint NOT NULL DEFAULT 0,
    transactions_offset bigint NOT NULL DEFAULT 0,
    timeline integer NOT NULL DEFAULT 0,
    commit_lsn numeric(20, 0) NOT NULL DEFAULT 0,
    applied_at timestamptz,
    PRIMARY KEY (source, lane)
);
COMMENT ON TABLE placemat.lanes IS 'through which commit each lane of tables is applied: main, and one for each paused table';
COMMENT ON COLUMN placemat.lanes.epoch IS 'of the main lane: raised by each worker that takes over, it fences those before';
COMMENT ON COLUMN placemat.lanes.transactions_offset IS 'next record of the transactions topic';

CREATE TABLE IF NOT EXISTS placemat.offsets (
    source text NOT NULL,
    topic text NOT NULL,
    partition integer NOT NULL,
    next_offset bigint NOT NULL,
    timeline integer NOT NULL DEFAULT 0,
    commit_lsn numeric(20, 0) NOT NULL DEFAULT 0,
    ordinal bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (source, topic, partition)
);
COMMENT ON TABLE placemat.offsets IS 'first record not taken, and highest position taken, by partition';

CREATE TABLE IF NOT EXISTS placemat.pauses (
    source text NOT NULL,
    table_name text NOT NULL,
    state text NOT NULL CHECK (state IN ('asked', 'paused', 'resuming')),
    paused_by text NOT NULL,
    reason text NOT NULL,
    advice text,
    asked_at timestamptz NOT NULL DEFAULT now(),
    paused_at timestamptz,
    timeline integer,
    commit_lsn numeric(20, 0),
    PRIMARY KEY (source, table_name)
);
COMMENT ON TABLE placemat.pauses IS 'tables that wait for an operator; their changes wait in Kafka, other tables flow';
COMMENT ON COLUMN placemat.pauses.commit_lsn IS 'the commit through which the table was applied when it was paused';

CREATE TABLE IF NOT EXISTS placemat.pins (
    source text NOT NULL,
    topic text NOT NULL,
    cluster_id text NOT NULL,
    topic_id text NOT NULL,
    partitions integer NOT NULL,
    PRIMARY KEY (source, topic)
);
COMMENT ON TABLE placemat.pins IS 'topics as they were when the stored offsets were taken: made anew, they are others';

CREATE TABLE IF NOT EXISTS placemat.parked (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source text NOT NULL,
    table_name text NOT NULL,
    key text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('refused', 'needs_full_row')),
    sqlstate text,
    reason text NOT NULL,
    parked_at timestamptz NOT NULL DEFAULT now(),
    attempts integer NOT NULL DEFAULT 1,
    request text CHECK (request IN ('redrive', 'discard')),
    requested_by text,
    UNIQUE (source, table_name, key)
);
ALTER TABLE placemat.parked ADD COLUMN IF NOT EXISTS listed bigint;
ALTER TABLE placemat.parked ADD COLUMN IF NOT EXISTS notified_at timestamptz;
ALTER TABLE placemat.parked ADD COLUMN IF NOT EXISTS tried bigint NOT NULL DEFAULT 0;
COMMENT ON TABLE placemat.parked IS 'keys that wait: later events of a parked key queue behind it, other keys flow';
COMMENT ON COLUMN placemat.parked.request IS 'what an operator asked for; the worker does it';
COMMENT ON COLUMN placemat.parked.listed IS 'at a hub: the entry of placemat.conflict_log that tells of it';
COMMENT ON COLUMN placemat.parked.notified_at IS 'at a hub: when somebody was told that it waits';
COMMENT ON COLUMN placemat.parked.tried IS 'place of the last event that was there when all were tried again, in vain';

CREATE TABLE IF NOT EXISTS placemat.parked_events (
    parked_id bigint NOT NULL REFERENCES placemat.parked ON DELETE CASCADE,
    place bigint NOT NULL,
    topic text NOT NULL,
    partition integer NOT NULL,
    "offset" bigint NOT NULL,
    event text NOT NULL,
    PRIMARY KEY (parked_id, place)
);
COMMENT ON TABLE placemat.parked_events IS 'the events of a refused key, in order, as they stand in the topic';

CREATE TABLE IF NOT EXISTS placemat.holds (
    source text NOT NULL,
    lane text NOT NULL,
    first_timeline integer NOT NULL,
    first_lsn numeric(20, 0) NOT NULL,
    timeline integer NOT NULL,
    commit_lsn numeric(20, 0) NOT NULL,
    tables jsonb NOT NULL,
    held_at timestamptz NOT NULL DEFAULT now(),
    answer text CHECK (answer IN ('confirmed', 'rejected')),
    answered_by text,
    reason text,
    answered_at timestamptz,
    PRIMARY KEY (source, lane)
);
COMMENT ON TABLE placemat.holds IS 'deletes that wait for an operator, as they are more than the target may lose unasked';
COMMENT ON COLUMN placemat.holds.commit_lsn IS 'the last commit that the answer is for; first_lsn is the first one';

CREATE TABLE IF NOT EXISTS placemat.deletes (
    source text NOT NULL,
    table_name text NOT NULL,
    minute timestamptz NOT NULL,
    deleted bigint NOT NULL,
    PRIMARY KEY (source, table_name, minute)
);
COMMENT ON TABLE placemat.deletes IS 'rows that were deleted in the last hours without being asked about';

CREATE TABLE IF NOT EXISTS placemat.rejected (
    source text NOT NULL,
    table_name text NOT NULL,
    key text NOT NULL,
    PRIMARY KEY (source, table_name, key)
);
COMMENT ON TABLE placemat.rejected IS 'rows that were kept when their delete was rejected, until they are back in the source';
COMMENT ON COLUMN placemat.rejected.key IS 'the record key; empty where the table was truncated: every row that is here';

CREATE TABLE IF NOT EXISTS placemat.outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source text NOT NULL,
    lane text NOT NULL,
    ends_from bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    events text NOT NULL
);
COMMENT ON TABLE placemat.outbox IS 'what became of the events of each transaction, until the audit log has it';
COMMENT ON COLUMN placemat.outbox.ends_from IS 'next record of the transactions topic when the transaction began';
COMMENT ON COLUMN placemat.outbox.events IS 'places and outcomes as JSON, no values: schemas/outbox.py';
