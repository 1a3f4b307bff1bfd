-- The password of the role that captures, from the container's environment.
\getenv password CAPTURE_PASSWORD
ALTER ROLE placemat_capture PASSWORD :'password';
