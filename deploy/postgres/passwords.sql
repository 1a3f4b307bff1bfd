-- The passwords of the roles that capture and apply, from the container's environment.
\getenv password CAPTURE_PASSWORD
ALTER ROLE placemat_capture PASSWORD :'password';
\getenv password APPLY_PASSWORD
ALTER ROLE placemat_apply PASSWORD :'password';
