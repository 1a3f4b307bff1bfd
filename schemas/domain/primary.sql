-- The primary: everything the community platform knows. Run after roles.sql, once, in an empty database.

SET ROLE app_owner;

CREATE TYPE privacy_level AS ENUM ('public', 'community', 'private');

CREATE FUNCTION set_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$$;

-- The workspace of the signed-in person, as the API gateway puts it into the session.
CREATE FUNCTION current_workspace_id() RETURNS uuid LANGUAGE sql STABLE AS $$
    SELECT (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'workspace_id')::uuid
$$;

CREATE TABLE workspaces (
    id              uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name            text NOT NULL,
    slug            text NOT NULL UNIQUE,
    migration_stage smallint NOT NULL DEFAULT 0 CHECK (migration_stage BETWEEN 0 AND 4),
    feature_flags   jsonb NOT NULL DEFAULT '{}',
    metadata        jsonb NOT NULL DEFAULT '{}',
    legacy_id       text UNIQUE,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE organisations (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    workspace_id uuid NOT NULL REFERENCES workspaces (id),
    name         text NOT NULL,
    kind         text,
    abn          text,
    website      text,
    metadata     jsonb NOT NULL DEFAULT '{}',
    legacy_id    text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (workspace_id, legacy_id)
);

CREATE TABLE projects (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    workspace_id uuid NOT NULL REFERENCES workspaces (id),
    name         text NOT NULL,
    description  text,
    status       text NOT NULL DEFAULT 'planned' CHECK (status IN ('planned', 'active', 'paused', 'completed', 'archived')),
    area         text,
    lead         text,
    budget       numeric(14, 2) CHECK (budget >= 0),
    starts_on    date,
    ends_on      date,
    metadata     jsonb NOT NULL DEFAULT '{}',
    legacy_id    text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (workspace_id, legacy_id),
    CHECK (ends_on >= starts_on)
);

CREATE TABLE storytellers (
    id                  uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    workspace_id        uuid NOT NULL REFERENCES workspaces (id),
    name                text NOT NULL,
    bio                 text,
    cultural_background text,
    consent_given       boolean NOT NULL DEFAULT false,
    consent_given_at    timestamptz,
    metadata            jsonb NOT NULL DEFAULT '{}',
    legacy_id           text,
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now(),
    UNIQUE (workspace_id, legacy_id)
);

-- A storyteller who leaves takes their stories along; a project that ends does not.
CREATE TABLE stories (
    id             uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    workspace_id   uuid NOT NULL REFERENCES workspaces (id),
    storyteller_id uuid NOT NULL REFERENCES storytellers (id) ON DELETE CASCADE,
    project_id     uuid REFERENCES projects (id) ON DELETE SET NULL,
    title          text NOT NULL,
    slug           text,
    content        text,
    themes         text[] NOT NULL DEFAULT '{}',
    privacy        privacy_level NOT NULL DEFAULT 'private',
    published_at   timestamptz,
    metadata       jsonb NOT NULL DEFAULT '{}',
    legacy_id      text,
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now(),
    UNIQUE (workspace_id, slug),
    UNIQUE (workspace_id, legacy_id)
);

CREATE TABLE story_media (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    workspace_id uuid NOT NULL REFERENCES workspaces (id),
    story_id     uuid NOT NULL REFERENCES stories (id) ON DELETE CASCADE,
    kind         text NOT NULL,
    url          text NOT NULL,
    caption      text,
    size_bytes   bigint CHECK (size_bytes >= 0),
    width        integer,
    height       integer,
    metadata     jsonb NOT NULL DEFAULT '{}',
    legacy_id    text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (workspace_id, legacy_id)
);

CREATE TABLE opportunities (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    workspace_id uuid NOT NULL REFERENCES workspaces (id),
    project_id   uuid REFERENCES projects (id) ON DELETE SET NULL,
    funder_id    uuid REFERENCES organisations (id) ON DELETE SET NULL,
    name         text NOT NULL,
    stage        text NOT NULL DEFAULT 'identified'
                 CHECK (stage IN ('identified', 'preparing', 'submitted', 'won', 'lost', 'withdrawn')),
    amount       numeric(14, 2),
    probability  smallint CHECK (probability BETWEEN 0 AND 100),
    deadline     date,
    metadata     jsonb NOT NULL DEFAULT '{}',
    legacy_id    text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (workspace_id, legacy_id)
);

CREATE TABLE contacts (
    id                     uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    workspace_id           uuid NOT NULL REFERENCES workspaces (id),
    organisation_id        uuid REFERENCES organisations (id) ON DELETE SET NULL,
    given_name             text,
    family_name            text,
    emails                 text[] NOT NULL DEFAULT '{}',
    phone                  text,
    source                 text,
    linkedin_url           text,
    last_contacted_at      timestamptz,
    contact_frequency_days integer CHECK (contact_frequency_days > 0),
    metadata               jsonb NOT NULL DEFAULT '{}',
    legacy_id              text,
    created_at             timestamptz NOT NULL DEFAULT now(),
    updated_at             timestamptz NOT NULL DEFAULT now(),
    UNIQUE (workspace_id, legacy_id)
);

-- The people of a project; Notion shows only those contacts that have one, or an interaction.
CREATE TABLE project_contacts (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    project_id   uuid NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    contact_id   uuid NOT NULL REFERENCES contacts (id) ON DELETE CASCADE,
    workspace_id uuid NOT NULL REFERENCES workspaces (id),
    role         text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (project_id, contact_id)
);

CREATE TABLE interactions (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    workspace_id uuid NOT NULL REFERENCES workspaces (id),
    contact_id   uuid NOT NULL REFERENCES contacts (id) ON DELETE CASCADE,
    message_id   text NOT NULL,
    direction    text NOT NULL CHECK (direction IN ('inbound', 'outbound')),
    occurred_at  timestamptz NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (contact_id, message_id)
);

CREATE TABLE events (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    workspace_id uuid NOT NULL REFERENCES workspaces (id),
    project_id   uuid REFERENCES projects (id) ON DELETE SET NULL,
    title        text NOT NULL,
    description  text,
    place        text,
    starts_at    timestamptz NOT NULL,
    ends_at      timestamptz NOT NULL,
    all_day      boolean NOT NULL DEFAULT false,
    time_zone    text NOT NULL DEFAULT 'Australia/Brisbane',
    attendees    text[] NOT NULL DEFAULT '{}',
    metadata     jsonb NOT NULL DEFAULT '{}',
    legacy_id    text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (workspace_id, legacy_id),
    CHECK (ends_at >= starts_at)
);

CREATE TABLE invoices (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    workspace_id uuid NOT NULL REFERENCES workspaces (id),
    contact_id   uuid REFERENCES contacts (id),
    project_id   uuid REFERENCES projects (id) ON DELETE SET NULL,
    kind         text NOT NULL DEFAULT 'sales' CHECK (kind IN ('sales', 'purchase')),
    number       text,
    status       text NOT NULL DEFAULT 'draft' CHECK (status IN ('draft', 'submitted', 'authorised', 'paid', 'voided')),
    currency     char(3) NOT NULL DEFAULT 'AUD',
    issued_on    date,
    due_on       date,
    total        numeric(14, 2) NOT NULL DEFAULT 0,
    metadata     jsonb NOT NULL DEFAULT '{}',
    legacy_id    text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (workspace_id, kind, number),
    UNIQUE (workspace_id, legacy_id)
);

CREATE TABLE invoice_lines (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    workspace_id uuid NOT NULL REFERENCES workspaces (id),
    invoice_id   uuid NOT NULL REFERENCES invoices (id) ON DELETE CASCADE,
    line_number  integer NOT NULL CHECK (line_number > 0),
    description  text NOT NULL,
    quantity     numeric(12, 4) NOT NULL DEFAULT 1,
    unit_amount  numeric(14, 4) NOT NULL,
    tax_rate     numeric(5, 2) NOT NULL DEFAULT 10,
    account_code text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (invoice_id, line_number)
);

CREATE TABLE bank_transactions (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    workspace_id uuid NOT NULL REFERENCES workspaces (id),
    account      text NOT NULL,
    occurred_on  date NOT NULL,
    amount       numeric(14, 2) NOT NULL,
    currency     char(3) NOT NULL DEFAULT 'AUD',
    description  text,
    reconciled   boolean NOT NULL DEFAULT false,
    metadata     jsonb NOT NULL DEFAULT '{}',
    legacy_id    text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (workspace_id, legacy_id)
);

CREATE TABLE payments (
    id                  uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    workspace_id        uuid NOT NULL REFERENCES workspaces (id),
    invoice_id          uuid NOT NULL REFERENCES invoices (id),
    bank_transaction_id uuid REFERENCES bank_transactions (id) ON DELETE SET NULL,
    amount              numeric(14, 2) NOT NULL CHECK (amount > 0),
    paid_on             date NOT NULL,
    reference           text,
    legacy_id           text,
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now(),
    UNIQUE (workspace_id, legacy_id)
);

CREATE TABLE actions (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    workspace_id uuid NOT NULL REFERENCES workspaces (id),
    project_id   uuid REFERENCES projects (id) ON DELETE CASCADE,
    assignee_id  uuid REFERENCES contacts (id) ON DELETE SET NULL,
    title        text NOT NULL,
    status       text NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'in_progress', 'done', 'cancelled')),
    due_on       date,
    done_at      timestamptz,
    metadata     jsonb NOT NULL DEFAULT '{}',
    legacy_id    text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (workspace_id, legacy_id)
);

CREATE TABLE places (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    workspace_id uuid NOT NULL REFERENCES workspaces (id),
    name         text NOT NULL,
    region       text,
    latitude     double precision CHECK (latitude BETWEEN -90 AND 90),
    longitude    double precision CHECK (longitude BETWEEN -180 AND 180),
    metadata     jsonb NOT NULL DEFAULT '{}',
    legacy_id    text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (workspace_id, legacy_id)
);

CREATE TABLE artifacts (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    workspace_id uuid NOT NULL REFERENCES workspaces (id),
    project_id   uuid REFERENCES projects (id) ON DELETE SET NULL,
    place_id     uuid REFERENCES places (id) ON DELETE SET NULL,
    name         text NOT NULL,
    kind         text NOT NULL,
    url          text,
    metadata     jsonb NOT NULL DEFAULT '{}',
    legacy_id    text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (workspace_id, legacy_id)
);

CREATE INDEX ON stories (storyteller_id);
CREATE INDEX ON stories (project_id);
CREATE INDEX ON story_media (story_id);
CREATE INDEX ON opportunities (project_id);
CREATE INDEX ON contacts (organisation_id);
CREATE INDEX ON project_contacts (contact_id);
CREATE INDEX ON events (project_id);
CREATE INDEX ON invoices (contact_id);
CREATE INDEX ON payments (invoice_id);
CREATE INDEX ON actions (project_id);
CREATE INDEX ON artifacts (project_id);

-- Every table: updated_at kept by a trigger, row-level security on, and a member sees their own workspace only.
DO $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tableowner = 'app_owner'
    LOOP
        EXECUTE format('CREATE TRIGGER set_updated_at BEFORE UPDATE ON %I FOR EACH ROW EXECUTE FUNCTION set_updated_at()', name);
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO authenticated', name);
        IF name <> 'workspaces' THEN
            EXECUTE format(
                'CREATE POLICY members ON %I TO authenticated USING (workspace_id = current_workspace_id()) '
                'WITH CHECK (workspace_id = current_workspace_id())', name);
        END IF;
    END LOOP;
END
$$;

CREATE POLICY members ON workspaces TO authenticated USING (id = current_workspace_id()) WITH CHECK (id = current_workspace_id());

-- What anyone may read: stories that are public and published, and what belongs to them.
GRANT SELECT ON storytellers, stories, story_media TO anon;
CREATE POLICY public_stories ON stories FOR SELECT TO anon USING (privacy = 'public' AND published_at <= now());
CREATE POLICY public_media ON story_media FOR SELECT TO anon USING (EXISTS (SELECT FROM stories WHERE stories.id = story_id));
CREATE POLICY public_storytellers ON storytellers FOR SELECT TO anon
    USING (consent_given AND EXISTS (SELECT FROM stories WHERE stories.storyteller_id = storytellers.id));

-- What goes both ways is judged by what a row held before a change, and by what a deleted one held.
ALTER TABLE workspaces REPLICA IDENTITY FULL;
ALTER TABLE projects REPLICA IDENTITY FULL;
ALTER TABLE storytellers REPLICA IDENTITY FULL;
ALTER TABLE stories REPLICA IDENTITY FULL;
ALTER TABLE story_media REPLICA IDENTITY FULL;

-- What the daemon may read, and what it is sent.
GRANT SELECT ON workspaces, projects, storytellers, stories, story_media TO placemat_capture;
CREATE PUBLICATION placemat FOR TABLE workspaces, projects, storytellers, stories, story_media;

-- What the daemon may write, as people change it elsewhere, and the schema it keeps its own books in.
GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON workspaces, projects, storytellers, stories, story_media TO placemat_apply;

-- What would go with a project that is deleted elsewhere: it stays as long as it has any of them.
GRANT SELECT (project_id) ON project_contacts, actions TO placemat_apply;

RESET ROLE;

CREATE SCHEMA placemat AUTHORIZATION placemat_apply;
