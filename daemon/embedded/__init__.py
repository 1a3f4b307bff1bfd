"""Real servers that come from package registries: PostgreSQL and Kafka for the demo, `dev` and the tests."""
