"""From a service to its mirror: what people do there is read, and the capture of the mirror tells it to the hub."""
