-- What is kept of a service that has no transactions, beside the rows that it is to have. Safe to run again.

CREATE TABLE IF NOT EXISTS placemat.queue (
    table_name text NOT NULL,
    key text NOT NULL,
    since timestamptz NOT NULL DEFAULT clock_timestamp(),
    due timestamptz NOT NULL DEFAULT clock_timestamp(),
    changes bigint NOT NULL DEFAULT 1,
    bulk boolean NOT NULL DEFAULT true,
    attempts integer NOT NULL DEFAULT 0,
    leased_by integer,
    leased_until timestamptz,
    refused_at timestamptz,
    code text,
    reason text,
    request text CHECK (request IN ('redrive', 'discard')),
    requested_by text,
    number bigint,
    PRIMARY KEY (table_name, key)
);
CREATE INDEX IF NOT EXISTS queue_due ON placemat.queue (due);
COMMENT ON TABLE placemat.queue IS 'keys whose rows the service has yet to be told';
COMMENT ON COLUMN placemat.queue.changes IS 'raised by each change: what was told is what was there when it was taken';
COMMENT ON COLUMN placemat.queue.bulk IS 'no change of a person waits there, as those go first';
COMMENT ON COLUMN placemat.queue.leased_by IS 'the worker whose key it is, until leased_until, or until that worker''s session ends';
COMMENT ON COLUMN placemat.queue.refused_at IS 'when the service refused it: it waits for another change, or an operator';
COMMENT ON COLUMN placemat.queue.number IS 'of what was refused, what operators call it; no parked key has the same';

CREATE TABLE IF NOT EXISTS placemat.queue_events (
    topic text NOT NULL,
    partition integer NOT NULL,
    "offset" bigint NOT NULL,
    table_name text NOT NULL,
    key text NOT NULL,
    PRIMARY KEY (topic, partition, "offset", table_name, key)
);
CREATE INDEX IF NOT EXISTS queue_events_key ON placemat.queue_events (table_name, key);
COMMENT ON TABLE placemat.queue_events IS 'events that have led to what waits in the queue: they are told as what became of it';

CREATE TABLE IF NOT EXISTS placemat.remotes (
    table_name text NOT NULL,
    key text NOT NULL,
    remote_id text,
    version text,
    sent text,
    state text,
    alive boolean NOT NULL DEFAULT true,
    keyed boolean NOT NULL DEFAULT true,
    written_at timestamptz,
    read_at timestamptz,
    claim_due timestamptz,
    PRIMARY KEY (table_name, key)
);
CREATE UNIQUE INDEX IF NOT EXISTS remotes_id ON placemat.remotes (table_name, remote_id);
COMMENT ON TABLE placemat.remotes IS 'which record of the service is which row: one of each for the other';
COMMENT ON COLUMN placemat.remotes.sent IS 'by field a digest of what was written last, as JSON';
COMMENT ON COLUMN placemat.remotes.state IS 'of a row that goes both ways: what was written or agreed last, see schemas/resolution.py';
COMMENT ON COLUMN placemat.remotes.alive IS 'false: it is in the trash, or was; it is made the row again where the service can';
COMMENT ON COLUMN placemat.remotes.keyed IS 'false: people have made it there, and it does not hold the key of its row yet';
COMMENT ON COLUMN placemat.remotes.claim_due IS 'of one that is not keyed: when it is to be given its key';
COMMENT ON COLUMN placemat.remotes.read_at IS 'when it was last read, or known to be as it was';

CREATE TABLE IF NOT EXISTS placemat.intents (
    table_name text NOT NULL,
    key text NOT NULL,
    operation text NOT NULL CHECK (operation IN ('create', 'update', 'delete')),
    changes bigint NOT NULL,
    remote_id text,
    content text NOT NULL,
    by integer NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (table_name, key)
);
COMMENT ON TABLE placemat.intents IS 'requests that were about to be made: whoever finds one asks the service first whether it was carried out';

CREATE TABLE IF NOT EXISTS placemat.cursors (
    name text PRIMARY KEY,
    state text NOT NULL,
    moved_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE placemat.cursors IS 'through what the service was read; moved in the transaction of what was read';

CREATE TABLE IF NOT EXISTS placemat.dirty (
    table_name text NOT NULL,
    remote_id text NOT NULL,
    since timestamptz NOT NULL DEFAULT clock_timestamp(),
    due timestamptz NOT NULL DEFAULT clock_timestamp(),
    changes bigint NOT NULL DEFAULT 1,
    told boolean NOT NULL DEFAULT false,
    PRIMARY KEY (table_name, remote_id)
);
COMMENT ON COLUMN placemat.dirty.told IS 'nobody but the service has said so, which tells of our own writes too';
COMMENT ON TABLE placemat.dirty IS 'records of the service that are to be read anew';

CREATE TABLE IF NOT EXISTS placemat.strays (
    table_name text NOT NULL,
    remote_id text NOT NULL,
    key text NOT NULL,
    ours boolean NOT NULL,
    why text NOT NULL,
    trashing boolean NOT NULL DEFAULT false,
    since timestamptz NOT NULL DEFAULT clock_timestamp(),
    due timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (table_name, remote_id)
);
COMMENT ON TABLE placemat.strays IS 'records of the service that hold the key of a row whose record is another one';
COMMENT ON COLUMN placemat.strays.ours IS 'we have made it and nobody has touched it: it goes to the trash; all others wait for people';
COMMENT ON COLUMN placemat.strays.trashing IS 'that is about to be asked for: if it is in the trash afterwards, it was us';

CREATE TABLE IF NOT EXISTS placemat.deliveries (
    id text PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE placemat.deliveries IS 'webhooks that were taken, so that none is taken again';

CREATE TABLE IF NOT EXISTS placemat.kept (
    table_name text NOT NULL,
    key text NOT NULL,
    PRIMARY KEY (table_name, key)
);
COMMENT ON TABLE placemat.kept IS 'rows that stay at the service although nothing names them, until something does';

CREATE TABLE IF NOT EXISTS placemat.leaving (
    table_name text NOT NULL,
    key text NOT NULL,
    what text NOT NULL CHECK (what IN ('row', 'name')),
    xid xid8 NOT NULL DEFAULT pg_current_xact_id()
);
COMMENT ON TABLE placemat.leaving IS 'rows that have gone, or that nothing names any more, in the open transaction: counted and removed before it is committed';

CREATE OR REPLACE FUNCTION placemat.enqueue() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
-- Arguments: the table as the source calls it, and its key as JSON, an expression over a row r.
DECLARE
    rows text := 'SELECT ' || TG_ARGV[1] || ' AS key, to_jsonb(r) AS content FROM %s r';
    changed text := CASE TG_OP
        WHEN 'INSERT' THEN format(rows, 'new_rows')
        WHEN 'DELETE' THEN format(rows, 'old_rows')
        WHEN 'TRUNCATE' THEN format(rows, format('ONLY %I.%I', TG_TABLE_SCHEMA, TG_TABLE_NAME))
        ELSE format('(%s EXCEPT %s) UNION ALL (%2$s EXCEPT %1$s)', format(rows, 'new_rows'), format(rows, 'old_rows'))
    END;
BEGIN
    EXECUTE format(
        'INSERT INTO placemat.queue AS q (table_name, key) SELECT DISTINCT %L, c.key FROM (%s) c'
        ' ON CONFLICT (table_name, key) DO UPDATE SET changes = q.changes + 1,'
        ' due = CASE WHEN q.refused_at IS NULL THEN q.due ELSE clock_timestamp() END',
        TG_ARGV[0], changed
    );
    PERFORM pg_notify('placemat_queue', '');
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION placemat.enqueue_named() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
-- Arguments: the table whose rows are named, as the source calls it, its key, and the column here that names them.
-- Keys are queued that nothing here has named before and something does now, or the other way round.
DECLARE
    rows text := format('SELECT %I AS value, %%s FROM %%s', TG_ARGV[2]);
    here text := format('ONLY %I.%I', TG_TABLE_SCHEMA, TG_TABLE_NAME);
    came text := format(rows, '1 AS came, 0 AS went', 'new_rows');
    went text := format(rows, '0 AS came, 1 AS went', CASE TG_OP WHEN 'TRUNCATE' THEN here ELSE 'old_rows' END);
    moved text := CASE TG_OP WHEN 'INSERT' THEN came WHEN 'UPDATE' THEN came || ' UNION ALL ' || went ELSE went END;
    left_over text := format(
        '(SELECT count(*) FROM (SELECT FROM %s n WHERE n.%I = m.value LIMIT m.came + 1) f)', here, TG_ARGV[2]
    );
BEGIN
    EXECUTE format(
        'WITH m AS (SELECT value, sum(came) AS came, sum(went) AS went FROM (%s) r WHERE value IS NOT NULL GROUP BY value),'
        ' counted AS (SELECT value, came, went, %s AS now FROM m),'
        ' turned AS MATERIALIZED ('
        '  SELECT ''{'' || %L || '':'' || to_json(value)::text || ''}'' AS key, now > 0 AS named FROM counted'
        '  WHERE (now > 0) <> (now - came + went > 0)),'
        ' named AS (DELETE FROM placemat.kept k USING turned t WHERE k.table_name = %L AND k.key = t.key AND t.named),'
        ' unnamed AS (INSERT INTO placemat.leaving (table_name, key, what)'
        '  SELECT %4$L, key, ''name'' FROM turned WHERE NOT named)'
        ' INSERT INTO placemat.queue AS q (table_name, key) SELECT %4$L, key FROM turned'
        ' ON CONFLICT (table_name, key) DO UPDATE SET changes = q.changes + 1,'
        ' due = CASE WHEN q.refused_at IS NULL THEN q.due ELSE clock_timestamp() END',
        moved, CASE TG_OP WHEN 'TRUNCATE' THEN '0' ELSE left_over END, to_json(TG_ARGV[1])::text, TG_ARGV[0]
    );
    PERFORM pg_notify('placemat_queue', '');
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION placemat.note_leaving() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
-- Arguments: the table as the source calls it, and its key.
BEGIN
    EXECUTE format(
        'INSERT INTO placemat.leaving (table_name, key, what)'
        ' SELECT %L, ''{'' || %L || '':'' || to_json(%I)::text || ''}'', ''row'' FROM %s',
        TG_ARGV[0], to_json(TG_ARGV[1])::text, TG_ARGV[1],
        CASE TG_OP WHEN 'DELETE' THEN 'old_rows' ELSE format('ONLY %I.%I', TG_TABLE_SCHEMA, TG_TABLE_NAME) END
    );
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION placemat.enqueue_said() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
-- Of a row that goes both ways, the hub has said something, whether its own values have changed or not.
BEGIN
    INSERT INTO placemat.queue AS q (table_name, key, bulk)
    VALUES (NEW.table_name, NEW.key, NEW.state LIKE '%"copied":true%')
    ON CONFLICT (table_name, key) DO UPDATE SET changes = q.changes + 1, bulk = q.bulk AND EXCLUDED.bulk,
        due = CASE WHEN q.refused_at IS NULL THEN q.due ELSE clock_timestamp() END;
    PERFORM pg_notify('placemat_queue', '');
    RETURN NULL;
END $$;

CREATE OR REPLACE TRIGGER placemat_said AFTER INSERT OR UPDATE ON placemat.sides FOR EACH ROW
WHEN (NEW.state LIKE '%"backlog"%') EXECUTE FUNCTION placemat.enqueue_said();
