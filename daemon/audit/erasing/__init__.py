"""A row's values leave the audit log, and what hubs keep of it goes with them."""
