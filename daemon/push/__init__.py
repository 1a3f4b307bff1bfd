"""From the mirror of a service to the service: what is queued there is told, once, whatever dies meanwhile."""
