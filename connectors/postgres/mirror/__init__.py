"""The mirror of a service: a database of ours that holds the rows as the hub wants them there, what the service was not
told yet, and what it was seen to have. The apply of a PostgreSQL target writes it; pushes and fetches work from it.
"""
