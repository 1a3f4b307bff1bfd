"""Credentials of a connection: a fixed token, and tokens that are obtained, kept and renewed."""
