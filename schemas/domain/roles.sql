-- The roles of both databases, without passwords: whoever installs sets those (ALTER ROLE … PASSWORD).
-- Run by a superuser, in every database of the domain, before its tables. Safe to run again.

DO $$
DECLARE
    wanted record;
BEGIN
    FOR wanted IN
        SELECT * FROM (VALUES
            -- the project's own roles, named as Supabase names them
            ('anon', 'NOLOGIN'),
            ('authenticated', 'NOLOGIN'),
            ('app_owner', 'LOGIN'),
            -- the daemon's roles: neither superuser nor owner
            ('placemat_capture', 'LOGIN REPLICATION BYPASSRLS'),
            ('placemat_apply', 'LOGIN BYPASSRLS')
        ) AS roles (name, attributes)
    LOOP
        BEGIN
            EXECUTE format('CREATE ROLE %I %s', wanted.name, wanted.attributes);
        EXCEPTION
            -- roles belong to the cluster: the other database, or a run beside this one, may have made it
            WHEN duplicate_object OR unique_violation THEN NULL;
        END;
    END LOOP;
    EXECUTE format('GRANT CREATE, CONNECT ON DATABASE %I TO app_owner', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO placemat_capture, placemat_apply', current_database());
END
$$;

GRANT USAGE, CREATE ON SCHEMA public TO app_owner;
GRANT USAGE ON SCHEMA public TO anon, authenticated, placemat_capture, placemat_apply;
