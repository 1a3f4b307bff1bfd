-- What the daemon needs of the primary for Notion, beyond what the Empathy Ledger is given. Run after primary.sql, once.

SET ROLE app_owner;

-- A page has one title and one address; the table has names in parts, and any number of addresses.
ALTER TABLE contacts ADD COLUMN full_name text, ADD COLUMN email text;

CREATE FUNCTION set_shown_contact() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.full_name := nullif(concat_ws(' ', NEW.given_name, NEW.family_name), '');
    NEW.email := NEW.emails[1];
    RETURN NEW;
END
$$;

CREATE TRIGGER set_shown BEFORE INSERT OR UPDATE ON contacts FOR EACH ROW EXECUTE FUNCTION set_shown_contact();
UPDATE contacts SET full_name = full_name;

-- What goes both ways is judged by what a row held before a change, and by what a deleted one held.
ALTER TABLE opportunities REPLICA IDENTITY FULL;

GRANT SELECT ON organisations, opportunities, contacts, project_contacts, interactions, actions, artifacts, places
    TO placemat_capture;
ALTER PUBLICATION placemat
    ADD TABLE organisations, opportunities, contacts, project_contacts, interactions, actions, artifacts, places;
GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON opportunities TO placemat_apply;

RESET ROLE;
