"""The daemon's own database: the engine, and one module per group of tables."""
