-- The password of the role that applies, from the container's environment.
\getenv password APPLY_PASSWORD
ALTER ROLE placemat_apply PASSWORD :'password';
