-- Empathy Ledger: the five tables that are routed to it, with columns of its own beside them.
-- Run after roles.sql, once, in an empty database.

SET ROLE app_owner;

CREATE TYPE privacy_level AS ENUM ('public', 'community', 'private');

CREATE FUNCTION set_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$$;

CREATE FUNCTION current_workspace_id() RETURNS uuid LANGUAGE sql STABLE AS $$
    SELECT (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'workspace_id')::uuid
$$;

CREATE TABLE workspaces (
    id              uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    slug            text NOT NULL UNIQUE,
    name            text NOT NULL,
    theme_colour    text,
    migration_stage smallint NOT NULL DEFAULT 0 CHECK (migration_stage BETWEEN 0 AND 4),
    feature_flags   jsonb NOT NULL DEFAULT '{}',
    metadata        jsonb NOT NULL DEFAULT '{}',
    legacy_id       text UNIQUE,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now()
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
    preferred_contact   text,
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
    featured       boolean NOT NULL DEFAULT false,
    reading_count  bigint NOT NULL DEFAULT 0,
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
    alt_text     text,
    size_bytes   bigint CHECK (size_bytes >= 0),
    width        integer,
    height       integer,
    metadata     jsonb NOT NULL DEFAULT '{}',
    legacy_id    text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (workspace_id, legacy_id)
);

CREATE INDEX ON stories (storyteller_id);
CREATE INDEX ON stories (project_id);
CREATE INDEX ON story_media (story_id);

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

-- What the daemon may write, and the schema it keeps its own books in.
GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON workspaces, projects, storytellers, stories, story_media TO placemat_apply;

RESET ROLE;

CREATE SCHEMA placemat AUTHORIZATION placemat_apply;
