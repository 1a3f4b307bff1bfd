-- What conditions of routes rest on: types of the source's columns, and of rows that others refer to the few columns
-- that are asked for; and by which routes rows were told. Safe to run again.

CREATE TABLE IF NOT EXISTS placemat.source_columns (
    source text NOT NULL,
    table_name text NOT NULL,
    column_name text NOT NULL,
    type text NOT NULL,
    labels text[],
    key_column text,
    PRIMARY KEY (source, table_name, column_name)
);
COMMENT ON TABLE placemat.source_columns IS 'types of the columns that conditions name, as placemat init found them';
COMMENT ON COLUMN placemat.source_columns.type IS 'without length; of a domain the type below';
COMMENT ON COLUMN placemat.source_columns.key_column IS 'of a column that refers to a parent: the key column there';

CREATE TABLE IF NOT EXISTS placemat.related (
    source text NOT NULL,
    table_name text NOT NULL,
    name text NOT NULL,
    key text NOT NULL,
    fields jsonb NOT NULL,
    links text[] NOT NULL,
    shown boolean NOT NULL DEFAULT false,
    wanted boolean NOT NULL DEFAULT false,
    PRIMARY KEY (source, table_name, name)
);
CREATE INDEX IF NOT EXISTS related_links ON placemat.related USING gin (links);
CREATE INDEX IF NOT EXISTS related_wanted ON placemat.related (source, table_name, name) WHERE wanted;
COMMENT ON TABLE placemat.related IS 'rows of tables whose conditions name parents, and of those parents: what the conditions ask for';
COMMENT ON COLUMN placemat.related.name IS 'text of the key column; of a key of several columns, the record key';
COMMENT ON COLUMN placemat.related.key IS 'the record key, JSON';
COMMENT ON COLUMN placemat.related.fields IS 'texts of the columns that conditions need; one that is not known is left out';
COMMENT ON COLUMN placemat.related.links IS 'table and name, with a tab between, of the rows that it refers to';
COMMENT ON COLUMN placemat.related.shown IS 'it passes the condition of its route';
COMMENT ON COLUMN placemat.related.wanted IS 'its row is asked for until it comes';

CREATE TABLE IF NOT EXISTS placemat.routes (
    source text NOT NULL,
    table_name text NOT NULL,
    digest text,
    there text,
    written text[] NOT NULL,
    left_out text[] NOT NULL,
    remembered text[] NOT NULL,
    PRIMARY KEY (source, table_name)
);
COMMENT ON TABLE placemat.routes IS 'by what the rows of each table are told: a table whose route is another one is asked for';
COMMENT ON COLUMN placemat.routes.digest IS 'of the route; NULL where only conditions need the table';
COMMENT ON COLUMN placemat.routes.there IS 'the table here';
COMMENT ON COLUMN placemat.routes.written IS 'columns here that the route names';
COMMENT ON COLUMN placemat.routes.left_out IS 'columns here that the route leaves out';
COMMENT ON COLUMN placemat.routes.remembered IS 'columns of the source that placemat.related holds of every row';
