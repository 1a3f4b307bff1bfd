-- The daemon's own database: its role may make schemas there, and nothing more.
\getenv password STATE_PASSWORD
CREATE ROLE placemat LOGIN PASSWORD :'password';
GRANT CREATE, CONNECT ON DATABASE placemat_state TO placemat;
