"""Heads of the audit log outside the state database: in a table, signed, and in a topic of Kafka."""
