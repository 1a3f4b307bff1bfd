-- The mirror of Notion: a database of the daemon's own, and the role that owns it and follows its log. Run by a superuser
-- of the state's server; safe to run again, and the password is then the one that is given.
\getenv password MIRROR_PASSWORD
SELECT 'CREATE ROLE placemat_notion' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'placemat_notion') \gexec
ALTER ROLE placemat_notion LOGIN REPLICATION PASSWORD :'password';
SELECT 'CREATE DATABASE placemat_notion OWNER placemat_notion'
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'placemat_notion') \gexec
